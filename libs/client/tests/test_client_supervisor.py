"""Processes start, are watched, and end: together, alone, or with a word why."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cipherward_client.alliance.ports import HOST, free_ports
from cipherward_client.alliance.supervisor import (
    ProcessPlan,
    ProcessRefused,
    Supervisor,
    supervised,
)

pytestmark = pytest.mark.slow

WITHIN_SECONDS = 30.0
REFUSING = 33  # within what the kit and the services give to refusals
# Healthy until it is told to stop, or by SIGUSR1 that it cannot go on.
SERVICE = f"""
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

def refuse(*_):
    print("it cannot go on", flush=True)
    os._exit({REFUSING})

signal.signal(signal.SIGUSR1, refuse)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
server = grpc.server(ThreadPoolExecutor(2))
servicer = health.HealthServicer()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(os.environ["CIPHERWARD_HEALTH"])
server.start()
while True:
    signal.pause()
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProcessPlan]:
    """Make plans of a small service."""
    (tmp_path / "small_service.py").write_text(SERVICE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def made(name: str, *, vital: bool) -> ProcessPlan:
        address = f"{HOST}:{free_ports(1)[0]}"
        settings = {"CIPHERWARD_HEALTH": address}
        return ProcessPlan(name, "small_service", settings, address, stage=0, vital=vital)

    return made


async def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WITHIN_SECONDS
    while not holds():
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_the_others_go_on_without_a_process_that_is_not_vital(
    plan: Callable[..., ProcessPlan], tmp_path: Path
) -> None:
    lost: list[tuple[str, str]] = []
    plans = [plan("a/ledger", vital=False), plan("b/ledger", vital=False)]

    def note(name: str, words: str) -> None:
        lost.append((name, words))

    async with supervised(plans, tmp_path / "logs", lost=note) as supervisor:
        os.kill(supervisor.pids["a/ledger"], signal.SIGUSR1)
        await until(lambda: lost == [("a/ledger", "it cannot go on")])
        pids = dict(supervisor.pids)
        assert list(pids) == ["b/ledger"]
        assert supervisor.restarts == 0
    assert not alive(pids["b/ledger"])


async def test_nobody_goes_on_without_a_vital_process(
    plan: Callable[..., ProcessPlan], tmp_path: Path
) -> None:
    plans = [plan("a/ledger", vital=True), plan("a/storage", vital=True)]
    pids: dict[str, int] = {}

    async def run() -> None:
        async with supervised(plans, tmp_path / "logs") as supervisor:
            pids.update(supervisor.pids)
            os.kill(pids["a/ledger"], signal.SIGUSR1)
            await asyncio.Event().wait()

    with pytest.raises(ProcessRefused, match="a/ledger: it cannot go on"):
        await run()
    assert len(pids) == len(plans)
    assert not any(map(alive, pids.values()))


async def test_one_more_process_starts_and_ends_while_the_others_run(
    plan: Callable[..., ProcessPlan], tmp_path: Path
) -> None:
    told: list[str] = []
    async with supervised([plan("a/ledger", vital=False)], tmp_path / "logs") as supervisor:
        await supervisor.start([plan("b/ledger", vital=False)], told.append)
        assert told == ["b/ledger"]
        first, second = supervisor.pids["a/ledger"], supervisor.pids["b/ledger"]
        await supervisor.end(["b/ledger"])
        assert not alive(second)
        await _restarted(supervisor, "a/ledger")
        assert first not in supervisor.pids.values()
        assert list(supervisor.pids) == ["a/ledger"]


async def _restarted(supervisor: Supervisor, name: str) -> None:
    before = supervisor.pids[name]
    os.kill(before, signal.SIGKILL)
    await until(lambda: supervisor.pids.get(name, before) != before)
    assert supervisor.restarts == 1


async def test_a_dismissed_process_may_end_by_itself(
    plan: Callable[..., ProcessPlan], tmp_path: Path
) -> None:
    async with supervised([plan("a/ledger", vital=True)], tmp_path / "logs") as supervisor:
        supervisor.dismiss(["a/ledger"])
        assert await supervisor.left_alone("a/ledger", 0.01) is None
        os.kill(supervisor.pids["a/ledger"], signal.SIGUSR1)
        assert await supervisor.left_alone("a/ledger", WITHIN_SECONDS) == REFUSING
        await supervisor.end(["a/ledger"])
        assert supervisor.pids == {}
