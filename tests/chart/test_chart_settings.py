"""What the chart tells each process is what that process takes: by the rendered manifests."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cipherward_chain.endpoints import Endpoints
from cipherward_client.canaries.config import CanaryConfig
from cipherward_client.doctor.targets import targets_of_release
from cipherward_client.trial.config import TrialConfig
from cipherward_compute.config import ComputeConfig
from cipherward_compute.jobs.config import WorkerConfig
from cipherward_contract.config import ContractConfig
from cipherward_identity.config import IdentityConfig
from cipherward_kit.process import unknown_settings
from cipherward_ledger.config import LedgerConfig
from cipherward_storage.config import StorageConfig
from tools.chart_calls import TARGET, calls, document

ROOT = Path(__file__).resolve().parents[2]
RENDERED = ROOT / "deploy/helm/rendered"
PROFILES = ("embedded", "production")
CONFIGS: dict[str, Any] = {
    "contract": ContractConfig,
    "ledger": LedgerConfig,
    "identity": IdentityConfig,
    "storage": StorageConfig,
    "compute": ComputeConfig,
    "worker": WorkerConfig,
    "canary": CanaryConfig,
    "test": TrialConfig,
}
UNCALLED = {"worker", "canary", "test"}
# Pods of the release that call as `client`; production is backed up, and puts stores back.
OWN_SYSTEMS = {"embedded": {"canary", "test"}, "production": {"canary", "restore", "test"}}
COMPONENT = "app.kubernetes.io/component"


def manifests(profile: str, *kinds: str) -> dict[str, Any]:
    """Return the rendered manifests of these kinds, by component."""
    text = (RENDERED / f"{profile}.yaml").read_text()
    found = [one for one in yaml.safe_load_all(text) if one and one["kind"] in kinds]
    return {one["metadata"]["labels"][COMPONENT]: one for one in found}


def workloads(profile: str) -> dict[str, Any]:
    pods = {component: one["spec"] for component, one in manifests(profile, "Pod").items()}
    return pods | {
        component: one["spec"]["template"]["spec"]
        for component, one in manifests(profile, "StatefulSet", "Deployment").items()
    }


def settings_of(pod: Any) -> dict[str, str]:
    return {one["name"]: one["value"] for one in pod["containers"][0]["env"]}


CASES = [(profile, component) for profile in PROFILES for component in workloads(profile)]
WATCHED = [(profile, component) for profile, component in CASES if component != "test"]


def foreign_certificate() -> bytes:
    """Return a certificate of no development authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hospital-a authority")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_both_profiles_run_every_service() -> None:
    assert set(workloads("embedded")) == set(CONFIGS) - {"worker"}
    assert set(workloads("production")) == set(CONFIGS)


@pytest.mark.parametrize(("profile", "component"), CASES)
def test_a_process_takes_the_settings_that_the_chart_gives_it(
    profile: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(workloads(profile)[component])
    certificate, uri = tmp_path / "tls.crt", tmp_path / "mongo.uri"
    certificate.write_bytes(foreign_certificate())
    uri.write_text("mongodb://member:password@mongo.example/?tls=true")
    uri.chmod(0o600)
    settings |= {
        name: str(tmp_path / Path(value).name)
        for name, value in settings.items()
        if name in ("CIPHERWARD_TLS_CERTIFICATE", "CIPHERWARD_MONGO_URI_FILE")
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert unknown_settings(CONFIGS[component], settings) == []
    config = CONFIGS[component].model_validate({})
    assert config.member == "hospital-a"
    assert config.profile == profile or component == "test"  # it ends by itself, and serves nobody


@pytest.mark.parametrize(("profile", "component"), CASES)
def test_every_file_that_a_setting_names_is_mounted(profile: str, component: str) -> None:
    pod = workloads(profile)[component]
    mounts = {one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    given: set[str] = set()
    for volume in pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            items = source.get("secret", {}).get("items", [])
            given |= {f"/keys/{item['path']}" for item in items}
    paths = {value for value in settings_of(pod).values() if value.startswith("/")}
    assert {f"/{path.split('/')[1]}" for path in paths} <= mounts
    assert {path for path in paths if path.startswith("/keys/")} == given


@pytest.mark.parametrize(("profile", "component"), CASES)
def test_a_pod_fits_the_restricted_standard(profile: str, component: str) -> None:
    pod = workloads(profile)[component]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(("profile", "component"), WATCHED)
def test_a_pod_is_given_longer_to_end_than_its_process_takes(profile: str, component: str) -> None:
    pod = workloads(profile)[component]
    settings = settings_of(pod)
    drain = float(settings["CIPHERWARD_DRAIN_SECONDS"])
    grace = float(settings.get("CIPHERWARD_GRACE_SECONDS", "0"))
    assert pod["terminationGracePeriodSeconds"] > drain + grace


@pytest.mark.parametrize("profile", PROFILES)
def test_services_find_each_other_by_the_endpoints_file(profile: str) -> None:
    raw = manifests(profile, "ConfigMap")["alliance"]["data"]["alliance.json"]
    endpoints = Endpoints.parse(raw.encode())
    services = manifests(profile, "Service")
    for component in set(CONFIGS) - UNCALLED:
        host, port = endpoints.of("hospital-a", component).listen.split(":")
        name = services[component]["metadata"]["name"].removesuffix("-outside")
        assert (host, port) == (f"{name}.hospital.svc", "7000")
    assert json.loads(raw)["ledger_member"] == "hospital-a"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_doctor_finds_the_release_from_the_canaries_pod(profile: str, tmp_path: Path) -> None:
    raw = manifests(profile, "ConfigMap")["alliance"]["data"]["alliance.json"]
    endpoints_file = tmp_path / "alliance.json"
    endpoints_file.write_text(raw)
    told = settings_of(workloads(profile)["canary"])
    told["CIPHERWARD_ENDPOINTS_FILE"] = str(endpoints_file)
    own, *services = targets_of_release(told)
    assert (own.name, own.text("TLS_CERTIFICATE")) == ("hospital-a/client", "/tls/tls.crt")
    assert {one.service: one.text("METRICS_LISTEN") for one in services} == {
        service: f"cw-cipherward-{service}.hospital.svc:7003" for service in set(CONFIGS) - UNCALLED
    }


def test_the_charts_call_graph_is_that_of_the_protos() -> None:
    assert TARGET.read_text(encoding="utf-8") == document(), "run `make chart`"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_network_policy_lets_in_whom_the_protos_name_and_nobody_else(profile: str) -> None:
    policies = manifests(profile, "NetworkPolicy")
    for service, declared in calls().items():
        reached: dict[int, set[str]] = {7000: set(), 7001: set(), 7003: set()}
        for rule in policies[service]["spec"]["ingress"]:
            for peer in rule.get("from", []):
                if "podSelector" in peer:
                    named = set(peer["podSelector"]["matchExpressions"][0]["values"])
                    reached[rule["ports"][0]["port"]] |= named
                elif rule["ports"][0]["port"] == 7000:
                    assert declared["peers"], f"no other member may call {service}"
        own = declared["own"]
        assert isinstance(own, list)
        assert reached[7000] == set(own) - {"client"} | OWN_SYSTEMS[profile]
        assert reached[7003] == {"canary"}  # the doctor
        assert (
            reached[7001] <= OWN_SYSTEMS[profile]
        )  # where people from outside are not let in anyway
    denied = policies["alliance"]["spec"]
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(denied)


def test_an_embedded_release_is_reached_from_nowhere_outside() -> None:
    for policy in manifests("embedded", "NetworkPolicy").values():
        for rule in policy["spec"].get("ingress", []):
            assert not [peer for peer in rule.get("from", []) if "ipBlock" in peer]
            if "from" not in rule:
                assert rule["ports"] == [{"port": 7002, "protocol": "TCP"}]
