"""The images, started as the chart starts them: an embedded release on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from cipherward_client.alliance.supervisor import serving
from tests.images.pods import ContainerFailed, Machine, Pod, Running, buildah, contents_of
from tools.chart import RENDERED
from tools.one_member import manifests

pytestmark = pytest.mark.slow  # a release is started, and asked by its canaries

FULL = "cw-cipherward"  # of the rendered release
COMPONENT = "app.kubernetes.io/component"
SERVICES = ("contract", "ledger", "identity", "storage", "compute", "canary")
# Six processes that start at once on two busy cores, keys that are made, the canaries' scenes.
READY_SECONDS = 240.0


@dataclass(frozen=True)
class Release:
    """The started containers, and the pod of `helm test`."""

    running: dict[str, Running]
    pods: dict[str, Pod]
    test: Pod


def need_images(images: list[str]) -> None:
    """Skip the tests where no container can be started."""
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("buildah is needed, and root, who gives volumes to the pods' user")
    try:
        for image in images:
            buildah("inspect", "--type=image", image)
    except ContainerFailed:
        pytest.skip("the images are not built: run `make images`")


def pods_of(rendered: list[Any]) -> dict[str, Any]:
    """Return the specs of the rendered pods by component."""
    found: dict[str, Any] = {}
    for one in rendered:
        component = one["metadata"]["labels"].get(COMPONENT)
        if one["kind"] in ("StatefulSet", "Deployment"):
            found[component] = one["spec"]["template"]["spec"]
        elif one["kind"] == "Pod":
            found[component] = one["spec"]
    return found


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Generator[Release]:
    """Every pod of the embedded profile, running."""
    text = (RENDERED / "embedded.yaml").read_text(encoding="utf-8")
    rendered = [one for one in yaml.safe_load_all(text) if one]
    specs = pods_of(rendered)
    need_images([spec["containers"][0]["image"] for spec in specs.values()])
    folder = tmp_path_factory.mktemp("release")
    contents = contents_of([*rendered, *manifests(folder / "alliance", FULL)])
    machine = Machine(folder / "pods", contents)
    with ExitStack() as stack:
        pods = {name: stack.enter_context(machine.pod(name, specs[name])) for name in specs}
        yield Release({name: pods[name].start() for name in SERVICES}, pods, pods["test"])


async def test_every_image_starts_and_becomes_ready(release: Release) -> None:
    async with asyncio.timeout(READY_SECONDS):
        for name in SERVICES[:-1]:
            await serving(release.pods[name].health)


async def test_the_clients_image_passes_helm_test(release: Release) -> None:
    told = await asyncio.to_thread(release.test.run)
    for step in ("refused without consent", "opened with consent", "deny canaries"):
        assert step in told
    async with asyncio.timeout(READY_SECONDS):  # there is a record key now: they can ask
        await serving(release.pods["canary"].health)


def test_the_ledgers_image_has_its_consensus_node_and_its_licence(release: Release) -> None:
    ledger = release.pods["ledger"]
    shown = "cometbft version && cat /usr/local/share/cometbft/NOTICE"
    told = buildah(*ledger.command({**ledger.container, "command": ["sh", "-ec", shown]}))
    assert "Apache License, Version 2.0" in told


def test_every_image_ends_with_status_0_when_it_is_told_to_stop(release: Release) -> None:
    statuses = {name: release.running[name].stop() for name in reversed(SERVICES)}
    assert statuses == dict.fromkeys(SERVICES, 0)
