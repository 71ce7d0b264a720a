"""What a member's services need and does not answer: said once, waited for, and gone on with."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cipherward_client.alliance.parts import KAFKA, MONGO, SOLO, Parts
from cipherward_client.alliance.ports import free_ports
from cipherward_client.alliance.running import RunningAlliance, new_plan, running_alliance
from cipherward_kit.datafolder import DataFolder, DataFolderUnusable
from cipherward_kit.testing import eventually
from tests.servers.kafka import running_kafka
from tests.servers.mongo import running_mongo
from tests.servers.need import need

MEMBER = "hospital-a"
SAID_SECONDS = 60.0  # five processes start on a busy machine; the driver gives a server five
READY_SECONDS = 90.0
CHAIN = "chain-1"
DISK_BYTES = 16 * 4096  # pages of memory, which a tmpfs counts in


def told(logs: Path, service: str, event: str, **fields: Any) -> list[dict[str, Any]]:
    """Return the lines of a service's log of one event with these fields."""
    path = logs / f"{MEMBER}.{service}.log"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        line
        for line in lines
        if line["event"] == event and all(line.get(name) == fields[name] for name in fields)
    ]


@asynccontextmanager
async def starting(root: Path, parts: Parts) -> AsyncGenerator[asyncio.Future[RunningAlliance]]:
    """Start an alliance of one member while the context is open; the future is it, when ready."""
    ready: asyncio.Future[RunningAlliance] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def run() -> None:
        plan = new_plan(parts, 1)
        async with running_alliance(root, plan=plan, parts=parts, keys=False) as running:
            ready.set_result(running)
            await over.wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        try:
            yield ready
        finally:
            over.set()
            if not ready.done():
                task.cancel()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of some pages, where the tests may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    options = f"size={DISK_BYTES}"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "cipherward", str(place)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("only root can mount a disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


@pytest.mark.parametrize("used_before", [False, True])
def test_a_read_only_disk_is_named_and_later_used(small_disk: Path, used_before: bool) -> None:
    folder = DataFolder(small_disk / "data", CHAIN, b"genesis")
    if used_before:
        with folder:
            pass
    remount(small_disk, "ro")
    with pytest.raises(DataFolderUnusable, match="Read-only file system"), folder:
        pass
    remount(small_disk, "rw")
    with folder:
        pass


def test_a_disk_that_is_full_from_the_start_is_named_and_later_used(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES))
    folder = DataFolder(small_disk / "data", CHAIN, b"genesis")
    with pytest.raises(DataFolderUnusable, match="No space left on device"), folder:
        pass
    ballast.unlink()
    with folder:
        pass


@pytest.mark.servers
@pytest.mark.slow
async def test_brokers_and_a_database_that_come_late_are_waited_for(tmp_path: Path) -> None:
    for name in ("kafka", "mongo"):
        need(name)
    broker, database = free_ports(2)
    parts = Parts(
        engine=SOLO,
        feed=KAFKA,
        store=MONGO,
        kafka=f"127.0.0.1:{broker}",
        mongo=f"mongodb://127.0.0.1:{database}/",
    )
    logs = tmp_path / "alliance" / "logs"
    async with starting(tmp_path / "alliance", parts) as ready, AsyncExitStack() as stack:
        await eventually(
            lambda: told(logs, "storage", "readiness", condition="store", ready=False),
            seconds=SAID_SECONDS,
            what="storage's word on its database",
        )
        await eventually(
            lambda: told(logs, "ledger", "feed_interrupted"),
            seconds=SAID_SECONDS,
            what="the ledger's word on the brokers",
        )
        for service in ("storage", "compute"):  # their blocks come over the brokers
            lines = told(logs, service, "readiness", condition="chain", ready=False)
            assert [line["why"] for line in lines] == ["no recent proven block"]
        assert not ready.done()
        for server in (
            running_mongo(tmp_path / "mongo", port=database),
            running_kafka(tmp_path / "kafka", port=broker),
        ):
            await asyncio.to_thread(stack.enter_context, server)
        async with asyncio.timeout(READY_SECONDS):
            running = await ready
        assert running.supervisor.restarts == 0
        said = told(logs, "storage", "readiness", condition="store", ready=False)
        assert len(said) == 1
        assert "database" in said[0]["why"]
