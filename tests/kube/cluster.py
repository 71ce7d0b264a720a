"""A real API server with its controllers on loopback, and nodes that are played.

Whatever is checked before a container starts is real: decoding, admission, Pod Security, quotas,
scheduling, the controllers of StatefulSets, Deployments and volumes. Pods are ready at once, probes
are not asked, and policies of the network are stored only.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cipherward_client.alliance.ports import free_ports
from tests.servers.child import Child
from tools import chart, kube

HOST: Final = "127.0.0.1"
KUBECTL: Final = kube.BINARIES / "kubectl"
# Helm's own waiting is bounded by its --timeout; this bounds a program that hangs.
COMMAND_SECONDS: Final = 400.0
VOLUMES: Final = 80  # of all tests together: claims outlive releases; nothing is written to them
NODE: Final[dict[str, Any]] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "played-0",
        "labels": {"kubernetes.io/hostname": "played-0", "kubernetes.io/os": "linux"},
        "annotations": {"kwok.x-k8s.io/node": "fake"},
    },
    "status": {
        resource: {"cpu": "16", "memory": "64Gi", "pods": "110"}
        for resource in ("allocatable", "capacity")
    },
}
# Kinds of other projects that the production profile makes: their names, not their schemas.
FOREIGN: Final = (
    ("cert-manager.io", "v1", "Certificate", "certificates"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
)


class CommandFailed(RuntimeError):
    """A program refused; the text is what it printed."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster and its administrator's kubeconfig."""

    kubeconfig: Path

    def helm(self, *arguments: str | Path) -> str:
        """Return what Helm printed, or raise `CommandFailed`."""
        return self._run(chart.HELM, arguments)

    def kubectl(self, *arguments: str | Path, given: Sequence[object] = ()) -> str:
        """Return what kubectl printed, or raise `CommandFailed`; `given` are manifests for it."""
        return self._run(KUBECTL, arguments, yaml.safe_dump_all(given))

    def objects(self, namespace: str, kinds: str, selector: str = "") -> list[Any]:
        """Return the objects of some kinds in a namespace."""
        chosen = [f"--selector={selector}"] if selector else []
        found = self.kubectl("-n", namespace, "get", kinds, "-o", "json", *chosen)
        return json.loads(found)["items"]

    def _run(self, program: Path, arguments: Sequence[str | Path], given: str = "") -> str:
        command = [str(program), "--kubeconfig", str(self.kubeconfig), *map(str, arguments)]
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS
        )
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def running_cluster(folder: Path) -> Generator[Cluster]:
    """Run a cluster in a folder until the context ends.

    Raises:
        ServerFailed: a part of it ended, or was not ready in time; the text has its log's end.
    """
    etcd, peers, api, controllers, scheduler, nodes = free_ports(6)
    cluster = Cluster(_kubeconfig(folder, api))
    _service_account_keys(folder)
    children = [
        _etcd(folder, etcd, peers),
        _api_server(folder, api, etcd),
        _controllers(folder, cluster.kubeconfig, controllers),
        _scheduler(folder, cluster.kubeconfig, scheduler),
        _nodes(folder, cluster.kubeconfig, nodes),
    ]
    try:
        for child in children[:2]:
            child.start()
        children[1].wait_until_ready(
            lambda: _probe(cluster), CommandFailed, subprocess.TimeoutExpired
        )
        for child in children[2:]:
            child.start()
        cluster.kubectl("apply", "-f", "-", given=_furniture())
        yield cluster
    finally:
        for child in reversed(children):
            child.stop()


def _probe(cluster: Cluster) -> None:
    cluster.kubectl("get", "--raw", "/readyz", "--request-timeout=2s")


def _kubeconfig(folder: Path, port: int) -> Path:
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    server = {"server": f"https://{HOST}:{port}", "insecure-skip-tls-verify": True}  # our own, here
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)  # Helm complains otherwise
    return path


def _service_account_keys(folder: Path) -> None:
    key, public = folder / "accounts.key", folder / "accounts.pub"
    for command in (
        ["openssl", "genrsa", "-out", str(key), "2048"],
        ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=COMMAND_SECONDS)


def _etcd(folder: Path, port: int, peers: int) -> Child:
    own, peer = f"http://{HOST}:{port}", f"http://{HOST}:{peers}"
    return _child(
        folder,
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",  # nothing outlives the test
        f"--listen-client-urls={own}",
        f"--advertise-client-urls={own}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    )


def _api_server(folder: Path, port: int, etcd: int) -> Child:
    return _child(
        folder,
        "kube-apiserver",
        f"--etcd-servers=http://{HOST}:{etcd}",
        f"--bind-address={HOST}",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'accounts.pub'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--service-cluster-ip-range=10.96.0.0/24",
        # Needs what etcd 3.4 cannot do; kwok would lose its watches, and list anew every seconds.
        "--feature-gates=WatchList=false",
    )


def _controllers(folder: Path, kubeconfig: Path, port: int) -> Child:
    return _child(
        folder,
        "kube-controller-manager",
        *_as_admin(kubeconfig, port),
        f"--service-account-private-key-file={folder / 'accounts.key'}",
        "--use-service-account-credentials=true",
    )


def _scheduler(folder: Path, kubeconfig: Path, port: int) -> Child:
    return _child(folder, "kube-scheduler", *_as_admin(kubeconfig, port))


def _as_admin(kubeconfig: Path, port: int) -> list[str]:
    files = [f"--{of}kubeconfig={kubeconfig}" for of in ("", "authentication-", "authorization-")]
    return [*files, f"--bind-address={HOST}", f"--secure-port={port}", "--leader-elect=false"]


def _nodes(folder: Path, kubeconfig: Path, port: int) -> Child:
    return _child(
        folder,
        "kwok",
        f"--kubeconfig={kubeconfig}",
        "--manage-all-nodes=true",
        f"--node-ip={HOST}",
        f"--server-address={HOST}:{port}",
        f"--config={kube.STAGES}",
    )


def _child(folder: Path, program: str, *arguments: str) -> Child:
    path = program if program == "etcd" else str(kube.BINARIES / program)
    return Child([path, *arguments], folder / f"{program}.log", folder=folder)


def _furniture() -> list[object]:
    """Return what an empty cluster has: a node, volumes, and kinds that others bring."""
    volumes: list[object] = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{number}"},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": f"/nowhere/{number}"},
            },
        }
        for number in range(VOLUMES)
    ]
    return [NODE, *volumes, *map(_definition, FOREIGN)]


def _definition(kind: tuple[str, str, str, str]) -> object:
    group, version, name, plural = kind
    whatever = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": name, "plural": plural, "singular": name.lower()},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": whatever},
                }
            ],
        },
    }
