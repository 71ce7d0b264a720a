"""Heavy arithmetic in spawned workers or a thread: bounded, light, and whole after a loss."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from cipherward_kit.jobs import WorkerLost, WorkerPool, WorkersBusy
from cipherward_kit.testing import eventually
from cipherward_kit.worker import ONE_THREAD

ARITHMETIC = """
import os, sys, threading, time

def add(a, b):
    return a + b

def fail():
    raise ArithmeticError("no inverse")

def modules():
    return sorted(sys.modules)

def whoami():
    return os.getpid(), threading.current_thread().name

def until_gone(path):
    open(f"{path}.started", "w").close()
    while os.path.exists(path):
        time.sleep(0.005)
    return "gone"
"""


@pytest.fixture
def arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that stands on its own, as a crypto library does."""
    name = f"arithmetic_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(ARITHMETIC)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return importlib.import_module(name)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file: jobs wait while it exists."""
    path = tmp_path / "gate"
    path.touch()
    return path


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_a_job_gives_its_result_or_its_error(workers: int, arithmetic: ModuleType) -> None:
    async with WorkerPool(workers, 4, arithmetic.__name__) as pool:
        assert await pool.run(arithmetic.add, 2, b=3) == 5
        with pytest.raises(ArithmeticError, match="no inverse"):
            await pool.run(arithmetic.fail)


async def test_without_workers_jobs_run_in_one_thread(arithmetic: ModuleType) -> None:
    async with WorkerPool(0, 8, arithmetic.__name__) as pool:
        seen = set(await asyncio.gather(*(pool.run(arithmetic.whoami) for _ in range(5))))
    ((pid, thread),) = seen
    assert pid == os.getpid()
    assert thread != threading.current_thread().name


@pytest.mark.slow
async def test_a_worker_is_another_process_without_grpc(arithmetic: ModuleType) -> None:
    assert "grpc" in sys.modules
    async with WorkerPool(1, 4, arithmetic.__name__) as pool:
        pid, _ = await pool.run(arithmetic.whoami)
        loaded = await pool.run(arithmetic.modules)
    assert pid != os.getpid()
    heavy = {"grpc", "structlog", "pydantic", "prometheus_client", "google.protobuf", "pytest"}
    assert not heavy & set(loaded)
    assert arithmetic.__name__ in loaded
    assert [name for name in loaded if name.startswith("cipherward_kit.")] == [
        "cipherward_kit.memory",
        "cipherward_kit.parent",
        "cipherward_kit.worker",
    ]


@pytest.mark.slow
async def test_linear_algebra_starts_no_threads_in_a_worker(arithmetic: ModuleType) -> None:
    async with WorkerPool(1, 4, arithmetic.__name__) as pool:
        found = [await pool.run(os.getenv, name) for name in ONE_THREAD]
    assert found == ["1"] * len(ONE_THREAD)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
async def test_over_the_bound_a_job_is_refused_and_room_comes_back(
    workers: int, arithmetic: ModuleType, gate: Path
) -> None:
    async with WorkerPool(workers, 2, arithmetic.__name__) as pool:
        async with asyncio.TaskGroup() as group:
            jobs = [group.create_task(pool.run(arithmetic.until_gone, gate)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(WorkersBusy) as caught:
                await pool.run(arithmetic.add, 1, 1)
            await asyncio.to_thread(gate.unlink)
        assert caught.value.metadata == {"jobs_max": "3"}
        assert [job.result() for job in jobs] == ["gone"] * 3
        assert await pool.run(arithmetic.add, 1, 1) == 2


async def test_a_caller_that_goes_away_keeps_its_place_until_the_job_ends(
    arithmetic: ModuleType, gate: Path
) -> None:
    async with WorkerPool(0, 0, arithmetic.__name__) as pool:
        job = asyncio.ensure_future(pool.run(arithmetic.until_gone, gate))
        await eventually(gate.with_name("gate.started").exists)
        job.cancel()
        await asyncio.wait((job,))
        with pytest.raises(WorkersBusy):
            await pool.run(arithmetic.add, 1, 1)
        await asyncio.to_thread(gate.unlink)

        async def has_room() -> bool:
            try:
                return await pool.run(arithmetic.add, 1, 1) == 2
            except WorkersBusy:
                return False

        await eventually(has_room)


@pytest.mark.slow
async def test_a_lost_worker_costs_its_job_and_not_the_pool(
    arithmetic: ModuleType, gate: Path
) -> None:
    async with WorkerPool(1, 2, arithmetic.__name__) as pool:
        pid, _ = await pool.run(arithmetic.whoami)
        job = asyncio.ensure_future(pool.run(arithmetic.until_gone, gate))
        await eventually(gate.with_name("gate.started").exists)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            await job
        assert await pool.run(arithmetic.add, 2, 2) == 4


@pytest.mark.slow
async def test_a_worker_that_is_lost_while_it_is_sent_much_holds_up_no_end(
    arithmetic: ModuleType, gate: Path
) -> None:
    async with asyncio.timeout(30):
        async with WorkerPool(1, 8, arithmetic.__name__) as pool:
            worker, _ = await pool.run(arithmetic.whoami)
            jobs = [asyncio.create_task(pool.run(arithmetic.until_gone, str(gate)))]
            much = bytes(8 << 20)  # more than a pipe holds
            jobs += [asyncio.create_task(pool.run(arithmetic.add, much, much)) for _ in range(3)]
            started = Path(f"{gate}.started")
            await eventually(started.exists)
            await asyncio.sleep(0.3)  # the pipe fills; were this too short, less would be shown
            os.kill(worker, signal.SIGKILL)
            lost = await asyncio.gather(*jobs, return_exceptions=True)
            assert {type(error) for error in lost} == {WorkerLost}
            assert await pool.run(arithmetic.add, 1, 1) == 2
    # A process waits at its end for the threads of its pools.
    await eventually(lambda: not any("Queue" in one.name for one in threading.enumerate()))


@pytest.mark.slow
async def test_a_module_that_cannot_be_imported_stops_the_start() -> None:
    with pytest.raises(WorkerLost):
        await WorkerPool(1, 2, "no_such_arithmetic").__aenter__()
    with pytest.raises(WorkerLost):
        await WorkerPool(0, 2, "no_such_arithmetic").__aenter__()


async def test_a_pool_that_is_not_open_says_so() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await WorkerPool(0, 1, "math").run(abs, -1)


PARENT = """
import asyncio, os, sys, time
from cipherward_kit.jobs import WorkerPool

async def main():
    async with WorkerPool(2, 4, "math") as pool:
        await asyncio.gather(*(pool.run(time.sleep, 0.2) for _ in range(4)))
        print(os.getpid(), flush=True)
        await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.slow
async def test_workers_die_with_a_killed_service(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    await asyncio.to_thread(script.write_text, PARENT)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert int(await parent.stdout.readline()) == parent.pid
    children = psutil.Process(parent.pid).children()
    workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    parent.kill()
    await parent.communicate()

    def gone() -> bool:
        return all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in workers)

    await eventually(gone)


async def test_a_job_that_waits_for_its_caller_no_more_never_runs(
    arithmetic: ModuleType, gate: Path
) -> None:
    second = gate.with_name("second")
    async with WorkerPool(0, 1, arithmetic.__name__) as pool:
        running = asyncio.ensure_future(pool.run(arithmetic.until_gone, gate))
        waiting = asyncio.ensure_future(pool.run(arithmetic.until_gone, second))
        await eventually(gate.with_name("gate.started").exists)
        waiting.cancel()
        await asyncio.wait((waiting,))
        await asyncio.to_thread(gate.unlink)
        assert await running == "gone"
    assert not os.path.exists(f"{second}.started")  # noqa: ASYNC240 - a test may
