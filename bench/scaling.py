"""What grows with what in a study: `python -m bench.scaling` prints the tables of docs/scaling.md.

Arithmetic is measured in processor time of one thread, which other work on the machine changes
little; jobs through pools and queues in wall time, which it does. Every figure is the median of
RUNS.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import structlog

from bench import machine
from bench.results import Row, Spread, Target
from cipherward_compute import arithmetic
from cipherward_compute.arithmetic.inputs import (
    Encryption,
    Expected,
    proven_batch,
    sums_of,
    verify_batch,
)
from cipherward_compute.jobs.kinds import run_job
from cipherward_compute.jobs.local import PoolRunner
from cipherward_compute.jobs.messages import KEY_BYTES, Seal
from cipherward_compute.jobs.owner import KafkaRunner, Limits
from cipherward_compute.jobs.public import JobRunner, PublicArithmetic
from cipherward_compute.jobs.replica import QUEUE, Replica
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.readiness import Readiness
from cipherward_kit.worker import ONE_THREAD
from cipherward_member.background import running
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_studies.plan import Plan
from cipherward_studies.spec import Draft
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.parameters import profile
from cipherward_threshold.switching import RequesterKey
from tests.servers.kafka import running_kafka
from tests.servers.pins import missing

T = TypeVar("T")

NAMES = CONTRIBUTORS, WORKERS, WAY, MEMORY = (
    "scaling: add, 16 contributors to 4",
    "scaling: 2 workers to 1",
    "scaling: way through the queue",
    "scaling: memory of a worker",
)
PROFILE, CONTEXT, MEMBER = "additive-1", b"bench", "hospital-b"
RUNS = 7
BATCH = 8
JOBS = 24
# Linear is 4; what does not grow (writing the sum, its digest) makes it less. Above it is a copy of
# all batches beside the batches, or sums that do not stay in the cache.
CONTRIBUTORS_TARGET = Target(4.4, at_least=False)
# Two cores: the parent, which encodes the arguments and hands them over (5 ms of a job of 55), has
# none of its own, so that 1.8 is what there is; other work on the machine takes its part as well.
WORKERS_TARGET = Target(1.6, at_least=True)
# A batch of 4.6 MB written, read, and its answer: about as long as the job itself.
WAY_TARGET = Target(100, at_least=False)
# A worker holds a ring, a batch and its proof's matrices.
MEMORY_TARGET = Target(200, at_least=False)


def measure() -> list[Row]:
    """Return the rows."""
    four, sixteen = apart(adding, 4), apart(adding, 16)
    # In turn, so that what else the machine does meanwhile falls on both.
    gains = [_gain() for _ in range(3)]
    alone, queued, memory = asyncio.run(_way())
    return [
        _row(CONTRIBUTORS, sixteen / four, "times", CONTRIBUTORS_TARGET),
        _row(WORKERS, statistics.median(gains), "times", WORKERS_TARGET),
        _row(WAY, 1000 * (queued - alone), "ms", WAY_TARGET),
        _row(MEMORY, memory, "MB", MEMORY_TARGET),
    ]


def _gain() -> float:
    """Return how many times as fast two workers are as one."""
    one = asyncio.run(_pool_rate(1))
    return asyncio.run(_pool_rate(2)) / one


def _row(name: str, value: float, unit: str, target: Target) -> Row:
    return Row(name, value, unit, Spread(value, value, f"one, of medians of {RUNS} runs"), target)


def encryption() -> Encryption:
    """Return a collective key to encrypt under."""
    members = [member_secret(PROFILE, secrets.token_bytes(32), CONTEXT) for _ in range(4)]
    shares = [member.public_key_share() for member in members]
    return Encryption(PROFILE, combine_public_key(PROFILE, CONTEXT, shares), CONTEXT)


def apart(work: Callable[[int], T], number: int) -> T:
    """Return `work(number)` of a process of its own, whose linear algebra has one thread."""
    os.environ.update(ONE_THREAD)  # for the processes that this one starts
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, number).result()


def cpu(work: Callable[[], object]) -> float:
    """Return the median seconds of processor time of one thread that `work` takes."""
    work()  # the first use of a ring builds it
    found: list[float] = []
    for _ in range(RUNS):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return statistics.median(found)


def adding(contributors: int) -> float:
    """Return the seconds of adding batches of eight ciphertexts of so many contributors."""
    batch = proven_batch(encryption(), [[1]] * BATCH)
    return cpu(lambda: sums_of(PROFILE, [batch] * contributors))


@dataclass(frozen=True, slots=True)
class BatchCost:
    """What one batch costs. Seconds of processor time."""

    ciphertexts: int
    prove: float
    verify: float
    bytes: int


def batch_cost(ciphertexts: int) -> BatchCost:
    """Return what a proven batch of so many ciphertexts costs."""
    key, values = encryption(), [[1]] * ciphertexts
    batch = proven_batch(key, values)
    expected = Expected(MEMBER, key, ciphertexts, zeros=False)
    prove = cpu(lambda: proven_batch(key, values))
    return BatchCost(ciphertexts, prove, cpu(lambda: verify_batch(expected, batch)), len(batch))


def plan_of(variables: int, kind: str) -> Plan:
    """Return the plan of a study of so many variables: covariances, or a regression of the last."""
    names = [f"v{number}" for number in range(variables)]
    analysis: dict[str, object] = {"kind": "moments", "variables": names}
    analysis["statistics"] = ["covariance"]
    if kind == "linear_regression":
        analysis = {"kind": kind, "outcome": names[-1], "predictors": names[:-1]}
    draft = Draft.from_document(
        {
            "data_set": "cohort-1",
            "variables": [{"name": name, "low": 0, "high": 100} for name in names],
            "analyses": [analysis],
            "minimum": 10,
        }
    )
    key = RequesterKey.generate(PROFILE, secrets.token_bytes(32)).public_key()
    return Plan.of(draft.spec(key))


async def _rate(runner: JobRunner, key: Encryption, batch: bytes) -> float:
    """Return the verifications a second of JOBS that are given at once.

    As many are given before: each process builds its ring with its first one, which takes as long
    as several of them and comes once in its life.
    """
    public, expected = PublicArithmetic(runner), Expected(MEMBER, key, BATCH, zeros=False)
    rate = 0.0
    for _ in range(2):
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(JOBS):
                group.create_task(public.verify_batch(expected, batch))
        rate = JOBS / (time.perf_counter() - began)
    return rate


async def _pool_rate(workers: int) -> float:
    key = encryption()
    batch = proven_batch(key, [[1]] * BATCH)
    async with WorkerPool(workers, JOBS, arithmetic.__name__) as pool:
        return await _rate(PoolRunner(pool), key, batch)


@asynccontextmanager
async def _queue(folder: Path, replicas: int) -> AsyncGenerator[KafkaRunner]:
    """Run a broker, an owner and replicas of one process each."""
    seal = Seal(secrets.token_bytes(KEY_BYTES), "bench", MEMBER)
    async with AsyncExitStack() as stack:
        server = await asyncio.to_thread(stack.enter_context, running_kafka(folder))
        connection = KafkaConnection((server.bootstrap,), "plaintext")
        own = await stack.enter_async_context(WorkerPool(0, 0, arithmetic.__name__))
        runner = KafkaRunner(connection, seal, PoolRunner(own), Limits(2 * JOBS))
        await stack.enter_async_context(running(runner.listen()))
        for _ in range(replicas):
            pool = await stack.enter_async_context(WorkerPool(1, 0, arithmetic.__name__))
            readiness = Readiness(QUEUE)
            replica = Replica(connection, seal, [pool], run_job)
            await stack.enter_async_context(running(replica.work(readiness)))
            await readiness.wait()
        yield runner


async def _seconds_each(runner: JobRunner, key: Encryption, batch: bytes) -> float:
    """Return the median wall seconds of verifications one after another."""
    public, expected = PublicArithmetic(runner), Expected(MEMBER, key, BATCH, zeros=False)
    await public.verify_batch(expected, batch)
    found: list[float] = []
    for _ in range(2 * RUNS):
        began = time.perf_counter()
        await public.verify_batch(expected, batch)
        found.append(time.perf_counter() - began)
    return statistics.median(found)


async def _way() -> tuple[float, float, float]:
    """Return the seconds of a job in a pool and through the queue, and a worker's megabytes."""
    sentence = missing("kafka")
    if sentence is not None:
        raise RuntimeError(sentence)
    key = encryption()
    batch = proven_batch(key, [[1]] * BATCH)
    async with WorkerPool(1, 0, arithmetic.__name__) as pool:
        alone = await _seconds_each(PoolRunner(pool), key, batch)
        memory = _megabytes(await pool.run(os.getpid))
    with tempfile.TemporaryDirectory() as folder:
        async with _queue(Path(folder) / "kafka", 1) as runner:
            return alone, await _seconds_each(runner, key, batch), memory


def _megabytes(pid: int) -> float:
    return psutil.Process(pid).memory_full_info().pss / 1e6


async def _queue_rates(replicas: Sequence[int]) -> list[float]:
    key = encryption()
    batch = proven_batch(key, [[1]] * BATCH)
    rates: list[float] = []
    for count in replicas:
        with tempfile.TemporaryDirectory() as folder:
            async with _queue(Path(folder) / "kafka", count) as runner:
                rates.append(await _rate(runner, key, batch))
    return rates


def main() -> None:
    """Print the tables, without what a queue tells of itself."""
    quiet = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=quiet)
    print(f"load {machine.load():.1f}")
    print("\n| contributors | adding 8 ciphertexts, ms |\n|---|---|")
    for contributors in (2, 4, 8, 16):
        print(f"| {contributors} | {1000 * apart(adding, contributors):.0f} |", flush=True)
    print("\n| ciphertexts | encrypt and prove, ms | verify, ms | bytes |\n|---|---|---|---|")
    for ciphertexts in (1, 2, 4, 8):
        one = apart(batch_cost, ciphertexts)
        print(
            f"| {ciphertexts} | {1000 * one.prove:.0f} | {1000 * one.verify:.0f} | {one.bytes:,} |",
            flush=True,
        )
    slots = profile(PROFILE).slots
    print(f"\nslots of a ciphertext: {slots}")
    print("\n| variables | analysis | slots | ciphertexts |\n|---|---|---|---|")
    for variables in (5, 20, 64):
        for kind in ("moments", "linear_regression"):
            plan = plan_of(variables, kind)
            needed = plan.value_slots
            print(f"| {variables} | {kind} | {needed} | {plan.ciphertexts(needed)} |", flush=True)
    print("\n| workers | where | batches of 8 verified a second |\n|---|---|---|")
    for workers in (1, 2):
        print(f"| {workers} | pool | {asyncio.run(_pool_rate(workers)):.1f} |", flush=True)
    for count, rate in zip((1, 2), asyncio.run(_queue_rates((1, 2))), strict=True):
        print(f"| {count} | queue | {rate:.1f} |", flush=True)
    alone, queued, memory = asyncio.run(_way())
    print(f"\none job {1000 * alone:.0f} ms in a pool, {1000 * queued:.0f} ms through the queue")
    print(f"a worker {memory:.0f} MB, load {machine.load():.1f}")


if __name__ == "__main__":
    main()
