"""One cluster for every test; each has a namespace of its own that enforces `restricted`."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.kube.cluster import Cluster, running_cluster
from tools import kube


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A release takes seconds to be installed."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    """A running cluster."""
    if not (kube.FOLDER / "stamp").exists():
        pytest.skip("Kubernetes is not built: run `make test-kube`")
    with running_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace whose pods must fit the restricted standard."""
    name = f"hospital-{secrets.token_hex(4)}"
    label = "pod-security.kubernetes.io"
    labels = {f"{label}/enforce": "restricted", f"{label}/enforce-version": "latest"}
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }
    cluster.kubectl("apply", "-f", "-", given=[document])
    return name
