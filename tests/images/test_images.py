"""The images, started as the chart starts them: an embedded release on this machine."""

from __future__ import annotations

import asyncio
import json
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
JOBS = ("backup-identity", "restore-identity")
# Six processes that start at once on two busy cores.
READY_SECONDS = 240.0
# A minute until the canaries notice the members' first key, and one to make what they ask about.
ASKING_SECONDS = 120.0


@dataclass(frozen=True)
class Release:
    """The started containers, the pod of `helm test`, and those of the jobs."""

    running: dict[str, Running]
    pods: dict[str, Pod]


def need_images(images: list[str]) -> None:
    """Skip the tests where no container can be started."""
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("buildah is needed, and root, who gives volumes to the pods' user")
    try:
        for image in images:
            buildah("inspect", "--type=image", image)
    except ContainerFailed:
        pytest.skip("the images are not built: run `make images`")


def manifests_of(profile: str) -> list[Any]:
    """Return the rendered manifests of a profile."""
    text = (RENDERED / f"{profile}.yaml").read_text(encoding="utf-8")
    return [one for one in yaml.safe_load_all(text) if one]


def pods_of(rendered: list[Any]) -> dict[str, Any]:
    """Return the specs of the rendered pods by component."""
    found: dict[str, Any] = {}
    for one in rendered:
        component = one["metadata"]["labels"].get(COMPONENT)
        if one["kind"] in ("StatefulSet", "Deployment"):
            found[component] = one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            name = one["metadata"]["name"].removeprefix(f"{FULL}-")
            found[name] = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif one["kind"] == "Pod":
            found[component] = one["spec"]
    return found


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Generator[Release]:
    """Every pod of the embedded profile, running."""
    rendered = manifests_of("embedded")
    # These jobs are the same in both profiles; the embedded one is rendered without.
    jobs = pods_of([one for one in manifests_of("production") if one["kind"] == "CronJob"])
    specs = pods_of(rendered) | {name: jobs[name] for name in JOBS}
    need_images([spec["containers"][0]["image"] for spec in specs.values()])
    folder = tmp_path_factory.mktemp("release")
    contents = contents_of([*rendered, *manifests(folder / "alliance", FULL)])
    machine = Machine(folder / "pods", contents)
    with ExitStack() as stack:
        pods = {name: stack.enter_context(machine.pod(name, specs[name])) for name in specs}
        yield Release({name: pods[name].start() for name in SERVICES}, pods)


async def test_every_image_starts_and_becomes_ready(release: Release) -> None:
    async with asyncio.timeout(READY_SECONDS):
        for name in SERVICES[:-1]:
            await serving(release.pods[name].health)


async def test_the_clients_image_passes_helm_test(release: Release) -> None:
    told = await asyncio.to_thread(release.pods["test"].run)
    for step in ("refused without consent", "opened with consent", "deny canaries"):
        assert step in told
    async with asyncio.timeout(ASKING_SECONDS):  # there is a record key now: they can ask
        await serving(release.pods["canary"].health)


def test_the_doctor_finds_nothing_wrong_from_the_canaries_pod(release: Release) -> None:
    canary = release.pods["canary"]
    doctor = ["cipherward", "doctor", "--release", "--json"]
    told = json.loads(buildah(*canary.command({**canary.container, "command": doctor})))
    assert (told["ok"], told["problems"]) == (True, [])
    assert {"services", "releases", "clock", "consensus", "canaries"} <= set(told["checks"])


async def test_a_store_is_backed_up_beside_its_service_and_put_back_without_it(
    release: Release,
) -> None:
    backup, restore = release.pods["backup-identity"], release.pods["restore-identity"]
    await asyncio.to_thread(backup.run)
    (archive,) = backup.volumes["archives"].glob("*.tar")
    assert archive.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ContainerFailed, match="RESTORE_SERVICE_RUNS"):
        await asyncio.to_thread(restore.run)
    assert await asyncio.to_thread(release.running["identity"].stop) == 0
    with pytest.raises(
        ContainerFailed, match="BACKUP_SERVICE_UNSEEN"
    ):  # nobody holds the store's lock
        await asyncio.to_thread(backup.run)
    await asyncio.to_thread(restore.run)
    release.running["identity"] = release.pods["identity"].start()
    async with asyncio.timeout(READY_SECONDS):
        await serving(release.pods["identity"].health)


def test_the_ledgers_image_has_its_consensus_node_and_its_licence(release: Release) -> None:
    ledger = release.pods["ledger"]
    shown = "cometbft version && cat /usr/local/share/cometbft/NOTICE"
    told = buildah(*ledger.command({**ledger.container, "command": ["sh", "-ec", shown]}))
    assert "Apache License, Version 2.0" in told


def test_every_image_ends_with_status_0_when_it_is_told_to_stop(release: Release) -> None:
    statuses = {name: release.running[name].stop() for name in reversed(SERVICES)}
    assert statuses == dict.fromkeys(SERVICES, 0)
