# CipherWard: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Compiled bytecode cuts the start of 14 processes from about 15 s to about 5 s.
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
# Hospitals often sit behind a proxy with an authority of its own: trust what the machine trusts.
export UV_SYSTEM_CERTS := 1
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

UV := .uv/bin/uv
RUN := .venv/bin
PROTOS := $(shell find protos -name '*.proto')
PYPROJECTS := pyproject.toml uv.lock $(wildcard libs/*/pyproject.toml services/*/pyproject.toml)
PYTEST := $(RUN)/python -m pytest
EMBEDDED := $(PYTEST) -q -m 'not soak and not servers'
SERVERS := $(PYTEST) -q -m 'servers and not soak'
# Tests' stores sync at every step, which is no test of theirs: no machine loses its power here. In
# memory they cost a sixth less, at half a gigabyte a process; without the room they are on the disk.
IN_MEMORY := $(shell [ "$$(df --output=avail -m /dev/shm 2>/dev/null | tail -1)" -gt 4000 ] 2>/dev/null && echo TMPDIR=/dev/shm)

.PHONY: help setup gen fmt lint type test install-servers servers test-servers soak check alerts-fire dashboards chart check-chart test-kube images test-images sbom dev-cluster demo study-table bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(UV):
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'

.make/setup: $(PYPROJECTS) | $(UV)
	@mkdir -p .make libs/protos/src/cipherward
	$(UV) sync --quiet --frozen --all-packages
	@touch $@

.make/gen: $(PROTOS) tools/gen.py .make/setup
	$(RUN)/python tools/gen.py
	@touch $@

setup: .make/setup .make/gen ## install everything into .venv

gen: .make/gen ## generate the stubs from protos/

fmt: .make/gen ## format code and protos
	$(RUN)/ruff check --quiet --fix-only . && $(RUN)/ruff format --quiet .
	$(RUN)/buf format -w protos

lint: .make/gen ## ruff, buf and the import contracts
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/buf lint
	$(RUN)/buf format --diff --exit-code protos > /dev/null
	$(RUN)/lint-imports --no-cache

type: .make/gen ## pyright, strict
	$(RUN)/pyright

# Every test, in parts that are processes of their own, four side by side: one alone spends half
# its time waiting for the services that it runs. Whoever is done takes the next: the longest are
# first, and what computes is mixed with what waits. A new folder of tests is in the rest. What
# provokes the refusals that a service promises is in one part with the test of its promises.
PARTS := compute studies keys sdk services alliances e2e client libs rest
PART_keys := $(addprefix services/compute/tests/,ceremony resharing)
PART_compute := $(wildcard services/compute/tests/test_*.py) $(filter-out $(PART_keys) %/__pycache__,$(patsubst %/,%,$(wildcard services/compute/tests/*/)))
PART_studies := tests/integration/studies
PART_sdk := tests/integration/sdk
PART_e2e := tests/e2e
PART_services := $(filter-out services/compute %.py %/__pycache__,$(wildcard services/*))
PART_alliances := $(filter-out $(PART_studies) $(PART_sdk) %/production.py %/__pycache__,$(wildcard tests/integration/*))
PART_client := libs/client
PART_libs := $(filter-out $(PART_client) %.py %/__pycache__,$(wildcard libs/*))
PART_rest := $(filter-out $(PART_e2e) %/integration %/soak %/kube %/images %/vectors %/__init__.py %/conftest.py %/every_test.py %/__pycache__,$(wildcard tests/*))

test: .make/gen ## every embedded test (at most 10 minutes on 2 cores)
	$(if $(ARGS),$(IN_MEMORY) $(EMBEDDED) $(ARGS),$(MAKE) --no-print-directory --keep-going -j4 --output-sync=target $(PARTS:%=test-part-%))

.PHONY: $(PARTS:%=test-part-%)
$(PARTS:%=test-part-%): test-part-%: .make/gen
	$(IN_MEMORY) $(EMBEDDED) $(PART_$*)

install-servers: .make/gen ## CometBFT, Kafka, MongoDB's protocol and Prometheus into .servers/
	$(RUN)/python -m tests.servers install

servers: install-servers ## run Kafka, MongoDB and Prometheus for `cipherward dev`, until Ctrl-C
	@exec $(RUN)/python -m tests.servers run $(ARGS)

# They wait more than they compute: all side by side.
SERVER_PARTS := alliances ledger services stories
SERVERS_alliances := tests/integration
SERVERS_ledger := services/ledger
SERVERS_services := $(filter-out $(SERVERS_ledger) %.py %/__pycache__,$(wildcard services/*)) $(filter-out %.py %/__pycache__,$(wildcard libs/*)) $(addprefix tests/,byzantine reference servers soak) $(wildcard tests/test_*.py)
SERVERS_stories := tests/e2e tests/observability

test-servers: install-servers ## every test with real servers (at most 10 minutes on 2 cores)
	$(if $(ARGS),$(IN_MEMORY) $(SERVERS) $(ARGS),$(MAKE) --no-print-directory --keep-going -j4 --output-sync=target $(SERVER_PARTS:%=test-servers-%))

.PHONY: $(SERVER_PARTS:%=test-servers-%)
$(SERVER_PARTS:%=test-servers-%): test-servers-%: install-servers
	$(IN_MEMORY) $(SERVERS) $(SERVERS_$*)

soak: .make/gen ## kills and long histories (not in CI)
	$(PYTEST) -q -m soak $(ARGS)

check: lint type ## what must be clean before a commit

alerts-fire: install-servers ## every alert, by its cause, on a running alliance (not in CI)
	GRPC_VERBOSITY=NONE $(RUN)/python -m tools.alerts fire $(ARGS)

dashboards: .make/gen ## write the dashboards into deploy/dashboards
	$(RUN)/python -m tools.dashboards

chart: dashboards ## render the chart into deploy/helm/rendered
	$(RUN)/python -m tools.chart render

check-chart: .make/gen ## lint, unit tests, schemas and rendered manifests of the chart
	$(RUN)/python -m tools.chart check

test-kube: .make/gen ## install, upgrade, roll back on a real Kubernetes API server (builds it once)
	$(RUN)/python -m tools.kube
	$(RUN)/python -m pytest -q tests/kube $(ARGS)

# docker or buildah, whichever is there; SERVICES="ledger" builds one. BUILD_ARGS go to the builder:
# other base images, say, where no registry of images is reached (docs/kubernetes.md).
SERVICES := contract ledger identity storage compute client
VERSION := 0.1.0
images: .make/gen ## build the images with docker or buildah
	@build="$$(if docker info > /dev/null 2>&1; then echo docker build; \
	  elif command -v buildah > /dev/null; then echo buildah bud --ignorefile deploy/images/Dockerfile.dockerignore; \
	  else echo 'make images needs buildah, or docker with its daemon' >&2; exit 1; fi)" && \
	for service in $(SERVICES); do $$build -f deploy/images/Dockerfile $(BUILD_ARGS) \
	  --build-arg SERVICE=$$service --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$$(git rev-parse HEAD) -t cipherward/$$service:$(VERSION) . || exit 1; done

test-images: .make/gen ## start the built images as the chart does (buildah, root)
	$(RUN)/python -m pytest -q tests/images $(ARGS)

sbom: .make/gen ## what is in each image, from the lock, into build/sbom
	$(RUN)/python -m tools.chart sbom

dev-cluster: .make/gen ## keys of an alliance of one member into the cluster, then build and deploy
	kubectl create namespace cipherward --dry-run=client -o yaml | kubectl apply -f -
	$(RUN)/python -m tools.one_member .make/one-member | kubectl -n cipherward apply -f -
	skaffold dev --port-forward

demo: .make/gen ## the whole story: four hospitals, real patients, on this machine
	$(RUN)/cipherward demo $(ARGS)

study-table: .make/gen ## every statistic on real patients, four hospitals; writes docs/studies.md
	$(RUN)/python -m bench.study_table

bench: .make/gen ## measure; ONLY=name runs one; writes bench/results.json
	$(RUN)/python -m bench $(if $(ONLY),--only $(ONLY),)

clean: ## remove everything that make has made
	rm -rf .venv .uv .make .servers libs/protos/src .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
