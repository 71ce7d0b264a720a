"""A release's life on a real API server: installed, upgraded, rolled back, uninstalled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cipherward_client.alliance.manifests import ALLIANCE, KEYS
from tests.kube.cluster import Cluster, CommandFailed
from tools.chart import CHART
from tools.one_member import manifests

RELEASE = "cw"
FULL = "cw-cipherward"  # the release's full name, which its objects begin with
OURS = f"app.kubernetes.io/instance={RELEASE}"
WAITING = ("--wait", "--timeout=5m")
STATEFUL = ("contract", "ledger", "identity", "storage", "compute", "canary")


@dataclass(frozen=True)
class Profile:
    """How a profile is installed, and what runs then."""

    arguments: Sequence[str]
    pods: int


EMBEDDED = Profile(
    (f"--set=keys.existingSecret={KEYS}", f"--set=alliance.existingConfigMap={ALLIANCE}"),
    pods=len(STATEFUL),
)
# Scaled by load: the autoscaler has no figures here, so each begins with its minimum of two.
# Helm waits for the addresses of load balancers, which nobody gives here.
PRODUCTION = Profile(
    (f"--values={CHART / 'values-production.yaml'}", "--set=exposure.type=NodePort"),
    pods=len(STATEFUL) + 3,
)


@dataclass(frozen=True)
class Release:
    """A release in its namespace."""

    cluster: Cluster
    namespace: str
    profile: Profile

    def helm(self, command: str, *arguments: str) -> str:
        """Run Helm on the release, waiting for what it does."""
        place = [f"--namespace={self.namespace}", RELEASE]
        chart = [str(CHART)] if command in ("install", "upgrade") else []
        values = [*self.profile.arguments] if chart else []
        return self.cluster.helm(command, *place, *chart, *values, *WAITING, *arguments)

    def objects(self, kinds: str) -> list[Any]:
        """Return the release's objects of some kinds."""
        return self.cluster.objects(self.namespace, kinds, OURS)

    def require_running(self, drain_seconds: str) -> None:
        """Hold that every pod is ready, and told to drain for so long."""
        pods = [pod for pod in self.objects("pods") if "deletionTimestamp" not in pod["metadata"]]
        assert len(pods) == self.profile.pods
        for pod in pods:
            ready = [one for one in pod["status"]["conditions"] if one["type"] == "Ready"]
            assert ready[0]["status"] == "True"
            environment = pod["spec"]["containers"][0]["env"]
            drain = {"name": "CIPHERWARD_DRAIN_SECONDS", "value": drain_seconds}
            assert drain in environment

    def warnings(self) -> list[str]:
        """Return what the controllers could not do, in their own words."""
        events = self.cluster.objects(self.namespace, "events")
        return [
            f"{event['reason']}: {event['message']}"
            for event in events
            if event["type"] == "Warning" and not _expected(event)
        ]


def _expected(event: Any) -> bool:
    """Say whether an event is about figures that nobody gathers here, or is no fault."""
    # Until a volume is bound; a job that a person made from a CronJob.
    passing = {"FailedScheduling", "UnexpectedJob"}
    return event["involvedObject"]["kind"] == "HorizontalPodAutoscaler" or (
        event["reason"] in passing
    )


def embedded_release(cluster: Cluster, namespace: str, folder: Path) -> Release:
    """Return a release whose keys, genesis and certificates are in the namespace."""
    cluster.kubectl("-n", namespace, "apply", "-f", "-", given=manifests(folder, FULL))
    return Release(cluster, namespace, EMBEDDED)


def production_release(cluster: Cluster, namespace: str) -> Release:
    """Return a member's release with claims and keys; no program reads what is in them here."""
    state = {"engine": "cometbft", "members": [{"id": "hospital-a"}, {"id": "hospital-b"}]}
    genesis = json.dumps({"chain_id": "alliance", "app_state": state})
    keys = ("member", "consensus", "node", "issuer", "custodian", "ceremony", "dataset", "jobs")
    given = [
        *map(claim, ("slot-keys", "archives", "slot-key-archives")),
        named("ConfigMap", ALLIANCE, data={"genesis.json": genesis}),
        named("Secret", KEYS, stringData={f"{key}.key": key for key in keys}),
        named(
            "Secret", "cipherward-kafka", stringData={"ca.crt": "", "tls.crt": "", "tls.key": ""}
        ),
        named("Secret", "cipherward-mongo", stringData={"uri": "", "ca.crt": ""}),
    ]
    cluster.kubectl("-n", namespace, "apply", "-f", "-", given=given)
    return Release(cluster, namespace, PRODUCTION)


def named(kind: str, name: str, **rest: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **rest}


def claim(of: str) -> dict[str, object]:
    """Return the claim cipherward-OF, which several pods may mount."""
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteMany"], "resources": resources}
    return named("PersistentVolumeClaim", f"cipherward-{of}", spec=spec)


@pytest.fixture(params=["embedded", "production"])
def release(
    request: pytest.FixtureRequest, cluster: Cluster, namespace: str, tmp_path: Path
) -> Release:
    """A release of each profile, not installed yet."""
    if request.param == "embedded":
        return embedded_release(cluster, namespace, tmp_path)
    return production_release(cluster, namespace)


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(release: Release) -> None:
    assert "STATUS: deployed" in release.helm("install")
    release.require_running(drain_seconds="5")
    policies = {one["metadata"]["name"] for one in release.objects("networkpolicies")}
    assert {f"{FULL}-{component}" for component in (*STATEFUL, "deny", "test")} <= policies

    release.helm("upgrade", "--set=drainSeconds=7")
    release.require_running(drain_seconds="7")

    release.helm("rollback", "1")
    release.require_running(drain_seconds="5")

    release.helm("uninstall")
    kinds = "statefulsets,deployments,services,networkpolicies,configmaps,serviceaccounts"
    assert release.objects(kinds) == []
    assert release.warnings() == []


def test_records_and_keys_outlive_a_release(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    release = embedded_release(cluster, namespace, tmp_path)
    release.helm("install")
    release.helm("uninstall")
    claims = {one["metadata"]["name"] for one in release.objects("persistentvolumeclaims")}
    data = {f"data-{FULL}-{component}-0" for component in STATEFUL}
    assert claims == data | {f"{FULL}-slot-keys"}
    assert cluster.objects(namespace, "secrets") != []


def test_the_pod_of_helm_test_is_admitted(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    release = embedded_release(cluster, namespace, tmp_path)
    release.helm("install")
    hooks = cluster.helm("get", "hooks", RELEASE, f"--namespace={namespace}")
    (pod,) = [one for one in yaml.safe_load_all(hooks) if one]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    told = cluster.kubectl("-n", namespace, "apply", "--dry-run=server", "-f", "-", given=[pod])
    assert told == f"pod/{FULL}-test created (server dry run)\n"


def test_a_store_is_backed_up_and_put_back_by_jobs(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    release = embedded_release(cluster, namespace, tmp_path)
    claims = [claim("archives"), claim("slots")]
    cluster.kubectl("-n", namespace, "apply", "-f", "-", given=claims)
    places = ("backup.claim=cipherward-archives", "backup.slotKeysClaim=cipherward-slots")
    release.helm("install", "--set=backup.enabled=true", *(f"--set={one}" for one in places))
    stores = ("identity", "compute", "storage", "slot-keys")
    names = {one["metadata"]["name"] for one in release.objects("cronjobs")}
    jobs = {f"{job}-{store}" for job in ("backup", "restore") for store in stores}
    assert names == {f"{FULL}-{job}" for job in jobs | {"verify-storage"}}
    for job in names:
        cluster.kubectl("-n", namespace, "create", "job", f"--from=cronjob/{job}", f"now-{job}")
    everything = ("--for=condition=complete", "jobs", "--all", "--timeout=60s")
    cluster.kubectl("-n", namespace, "wait", *everything)
    assert release.warnings() == []


def test_what_is_missing_is_said_before_anything_is_installed(
    cluster: Cluster, namespace: str
) -> None:
    release = Release(cluster, namespace, EMBEDDED)
    with pytest.raises(CommandFailed) as told:
        release.helm("install")
    for missing in (f"Secret {KEYS}", f"ConfigMap {ALLIANCE}", f"Secret {FULL}-tls-ledger"):
        assert f"there is no {missing} in the namespace {namespace}; make it" in str(told.value)
    assert release.objects("all") == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (f"keys.existingSecret={FULL}-tls-ledger", "lacks member.key, consensus.key"),
        ("chain.id=nord", "the genesis is of the chain alliance: set chain.id"),
        ("member.id=hospital-z", "the genesis has hospital-a: set member.id"),
    ],
)
def test_what_does_not_fit_the_alliance_is_said_before_anything_is_installed(
    cluster: Cluster, namespace: str, tmp_path: Path, changed: str, told: str
) -> None:
    release = embedded_release(cluster, namespace, tmp_path)
    with pytest.raises(CommandFailed, match=told):
        release.helm("install", f"--set={changed}", "--dry-run=server")


def test_a_member_is_installed_once_in_a_namespace(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    release = embedded_release(cluster, namespace, tmp_path)
    release.helm("install")
    again = ["install", "again", CHART, *EMBEDDED.arguments, f"--namespace={namespace}"]
    with pytest.raises(CommandFailed, match="the release cw of this namespace is the member"):
        cluster.helm(*again, f"--set=tls.existingSecretPrefix={FULL}-tls")


def test_a_pod_that_is_not_restricted_is_refused_where_releases_run(
    cluster: Cluster, namespace: str
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root"},
        "spec": {"containers": [{"name": "root", "image": "cipherward/ledger:0.1.0"}]},
    }
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        cluster.kubectl("-n", namespace, "apply", "-f", "-", given=[pod])
