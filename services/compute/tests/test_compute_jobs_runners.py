"""Both places where jobs run, held to one suite; and what only a queue has to bear."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest
from blockbuster import BlockBuster
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from cipherward_chain.testing import make_genesis
from cipherward_compute import arithmetic
from cipherward_compute.arithmetic.inputs import (
    ContributionRefused,
    Encryption,
    Expected,
    proven_batch,
    proven_zeros,
    refreshed,
    sums_of,
)
from cipherward_compute.jobs.kinds import Kind, run_job
from cipherward_compute.jobs.local import PoolRunner, RunJob
from cipherward_compute.jobs.messages import (
    JobHead,
    ReplyHead,
    Seal,
    digests_of,
    part_messages,
)
from cipherward_compute.jobs.owner import KafkaRunner, Limits, WorkersAway
from cipherward_compute.jobs.public import (
    CircuitRefused,
    JobCrashed,
    JobRunner,
    PublicArithmetic,
)
from cipherward_compute.jobs.queue_writer import open_writer
from cipherward_compute.jobs.replica import QUEUE, Replica
from cipherward_compute.jobs.topics import Topics
from cipherward_kit.jobs import WorkerPool, WorkersBusy
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import eventually
from cipherward_member.background import running
from cipherward_member.kafka_connection import KafkaConnection
from cipherward_member.kafka_reader import open_reader
from cipherward_threshold.keys import combine_public_key, member_secret
from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.need import need

PROFILE, CONTEXT = "additive-1", b"a ceremony"
IN_FLIGHT_MAX = 3
MEMBER = "hospital-a"
LIMITS = Limits(IN_FLIGHT_MAX, queue_seconds=30.0, job_seconds=30.0)
OpenRunner: TypeAlias = Callable[[RunJob], AbstractAsyncContextManager[JobRunner]]
KAFKA = pytest.param("kafka", marks=[pytest.mark.servers, pytest.mark.slow])


def servers(test: Callable[..., object]) -> Callable[..., object]:
    """Mark a test that needs a broker."""
    return pytest.mark.servers(pytest.mark.slow(test))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    need("kafka")
    with running_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@dataclass
class Queue:
    """A queue of its own, its owner, and the replicas that a test starts."""

    connection: KafkaConnection
    seal: Seal
    topics: Topics = field(init=False)

    def __post_init__(self) -> None:
        self.topics = Topics.of(self.seal.chain_id, self.seal.member)

    @classmethod
    def new(cls, server: KafkaServer) -> Queue:
        chain_id = f"chain-{secrets.token_hex(4)}"
        connection = KafkaConnection((server.bootstrap,), "plaintext")
        return cls(connection, Seal(secrets.token_bytes(32), chain_id, MEMBER))

    @asynccontextmanager
    async def owner(self, limits: Limits = LIMITS) -> AsyncGenerator[KafkaRunner]:
        async with WorkerPool(0, 0, arithmetic.__name__) as pool:
            runner = KafkaRunner(self.connection, self.seal, PoolRunner(pool), limits)
            async with running(runner.listen()):
                await eventually(lambda: on_queue() == 1, seconds=30)
                yield runner

    @asynccontextmanager
    async def replica(
        self,
        work: RunJob = run_job,
        *,
        processes: int = 0,
        gone: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Replica]:
        """Run a replica of one worker; `gone` is called when it is cancelled in what it does."""
        async with AsyncExitStack() as stack:
            pool = WorkerPool(processes, 0, arithmetic.__name__)
            await stack.enter_async_context(pool)
            stack.callback(gone)
            replica, readiness = Replica(self.connection, self.seal, [pool], work), Readiness(QUEUE)
            async with asyncio.TaskGroup() as group:
                working = group.create_task(replica.work(readiness))
                async with asyncio.timeout(30):
                    await readiness.wait()
                try:
                    yield replica
                finally:
                    working.cancel()

    async def write(self, topic: str, *messages: bytes) -> None:
        async with open_writer(self.connection, topic) as writer:
            await writer.write(messages)

    async def job_that_is_taken(self) -> bytes:
        """Return the id of a job, as whoever may read the topics sees it."""
        async with open_reader(self.connection, self.topics.replies) as reader:
            (first,) = await reader.read_at((await reader.bounds())[0])
            return self.seal.open_reply(first.value).id


def on_queue() -> float:
    return REGISTRY.get_sample_value("cipherward_compute_queue_connected") or 0


@pytest.fixture
def queue(kafka: KafkaServer) -> Queue:
    return Queue.new(kafka)


@dataclass
class Gate:
    """Work that waits, and says how often it was begun."""

    open: threading.Event = field(default_factory=threading.Event)
    begun: int = 0

    def work(self, kind: str, arguments: bytes) -> bytes:
        self.begun += 1
        if not self.open.wait(30):
            raise TimeoutError
        return arguments[::-1]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@dataclass(frozen=True)
class Study:
    """A collective key and what two members encrypted under it."""

    encryption: Encryption
    batches: tuple[bytes, bytes]

    def expected(self, member: str = "hospital-b") -> Expected:
        return Expected(member, self.encryption, 2, zeros=False)


@pytest.fixture(scope="module")
def study() -> Study:
    members = [member_secret(PROFILE, seed * 32, CONTEXT) for seed in (b"1", b"2")]
    shares = [member.public_key_share() for member in members]
    encryption = Encryption(PROFILE, combine_public_key(PROFILE, CONTEXT, shares), b"an input")
    one, two = (proven_batch(encryption, [[number, 2], [3]]) for number in (1, 10))
    return Study(encryption, (one, two))


@pytest.fixture(params=["local", KAFKA])
def open_runner(request: pytest.FixtureRequest) -> OpenRunner:
    """Opens a runner of at most IN_FLIGHT_MAX jobs, one at a time, which does a test's work."""

    @asynccontextmanager
    async def local(work: RunJob) -> AsyncGenerator[JobRunner]:
        async with WorkerPool(0, IN_FLIGHT_MAX - 1, arithmetic.__name__) as pool:
            yield PoolRunner(pool, work)

    @asynccontextmanager
    async def shared(work: RunJob) -> AsyncGenerator[JobRunner]:
        own = Queue.new(request.getfixturevalue("kafka"))
        async with own.owner() as runner, own.replica(work):
            yield runner

    return local if request.param == "local" else shared


@pytest.mark.slow
async def test_a_proven_batch_is_accepted_and_another_is_refused_by_name(
    open_runner: OpenRunner, study: Study
) -> None:
    async with open_runner(run_job) as runner:
        public = PublicArithmetic(runner)
        await public.verify_batch(study.expected(), study.batches[0])
        changed = bytearray(study.batches[0])
        changed[-100] ^= 1
        with pytest.raises(ContributionRefused) as refused:
            await public.verify_batch(study.expected("hospital-c"), bytes(changed))
        assert refused.value.member == "hospital-c"


@pytest.mark.slow
async def test_sums_are_those_of_this_process(open_runner: OpenRunner, study: Study) -> None:
    async with open_runner(run_job) as runner:
        public = PublicArithmetic(runner)
        total, digest = await public.sums_of(PROFILE, study.batches)
        assert (total, digest) == sums_of(PROFILE, study.batches)
        zeros = [proven_zeros(study.encryption, 2)]
        assert await public.refreshed(PROFILE, total, zeros) == refreshed(PROFILE, total, zeros)
        with pytest.raises(CircuitRefused):
            await public.sums_of("product-1", study.batches)


async def test_a_crash_ends_its_job_only(open_runner: OpenRunner) -> None:
    def work(kind: str, arguments: bytes) -> bytes:
        if arguments == b"bad":
            raise ArithmeticError("no inverse")
        return arguments

    async with open_runner(work) as runner:
        with pytest.raises(JobCrashed), capture_logs():
            await runner.run(Kind.ADD_BATCHES, b"bad")
        assert await runner.run(Kind.ADD_BATCHES, b"good") == b"good"


async def test_over_the_bound_a_job_is_refused_and_room_comes_back(
    open_runner: OpenRunner, gate: Gate
) -> None:
    async with open_runner(gate.work) as runner, asyncio.TaskGroup() as group:
        given = [
            group.create_task(runner.run(Kind.ADD_BATCHES, b"%d." % number))
            for number in range(IN_FLIGHT_MAX)
        ]
        await eventually(lambda: gate.begun == 1)
        with pytest.raises(WorkersBusy):
            await runner.run(Kind.ADD_BATCHES, b"one too many")
        gate.open.set()
        assert await asyncio.gather(*given) == [b".0", b".1", b".2"]
        assert await runner.run(Kind.ADD_BATCHES, b"again") == b"niaga"


async def test_results_of_megabytes_come_whole(open_runner: OpenRunner) -> None:
    arguments = secrets.token_bytes(5_000_000)
    async with open_runner(lambda _, octets: octets[::-1]) as runner:
        assert await runner.run(Kind.ADD_BATCHES, arguments) == arguments[::-1]


@servers
async def test_replicas_share_the_queue(queue: Queue) -> None:
    gates = Gate(), Gate()
    async with (
        queue.owner(Limits(jobs_max=8)) as runner,
        queue.replica(gates[0].work),
        queue.replica(gates[1].work),
        asyncio.TaskGroup() as group,
    ):
        for number in range(8):
            group.create_task(runner.run(Kind.ADD_BATCHES, b"%d" % number))
        await eventually(lambda: all(gate.begun == 1 for gate in gates), seconds=30)
        for gate in gates:
            gate.open.set()
    # A job that was taken while partitions moved may have been done by both.
    assert sum(gate.begun for gate in gates) >= 8


@servers
async def test_a_job_of_a_worker_that_is_gone_is_done_by_another(queue: Queue) -> None:
    gate, limits = Gate(), Limits(IN_FLIGHT_MAX, queue_seconds=30.0, job_seconds=1.0)
    async with queue.owner(limits) as runner, asyncio.TaskGroup() as group:
        async with queue.replica(gate.work, gone=gate.open.set):
            job = group.create_task(runner.run(Kind.ADD_BATCHES, b"abc"))
            await eventually(lambda: gate.begun == 1, seconds=30)
        async with queue.replica(lambda _, octets: octets.upper()):
            assert await job == b"ABC"


@servers
async def test_a_late_answer_counts_and_the_next_of_the_same_job_is_nobodys(queue: Queue) -> None:
    gate, limits = Gate(), Limits(IN_FLIGHT_MAX, queue_seconds=30.0, job_seconds=0.5)
    before = redelivered()
    async with queue.owner(limits) as runner, queue.replica(gate.work):
        async with asyncio.TaskGroup() as group:
            job = group.create_task(runner.run(Kind.ADD_BATCHES, b"abc"))
            await eventually(lambda: redelivered() > before, seconds=30)
            gate.open.set()
        assert job.result() == b"cba"
        await eventually(lambda: gate.begun == 2, seconds=30)  # it was asked for twice
        assert await runner.run(Kind.ADD_BATCHES, b"next") == b"txen"


@servers
async def test_a_process_that_is_killed_costs_a_redelivery(
    queue: Queue, study: Study, watched_loop: BlockBuster
) -> None:
    watched_loop.deactivate()  # a new process is told of to the standard library's tracker, by pipe
    before = redelivered()
    async with queue.owner() as runner, queue.replica(processes=1):
        public = PublicArithmetic(runner)
        await public.verify_batch(study.expected(), study.batches[0])  # the ring is built
        (worker,) = (
            child.pid
            for child in psutil.Process().children()
            if "spawn_main" in " ".join(child.cmdline())
        )
        os.kill(worker, signal.SIGSTOP)  # it has the job, and will not end it
        async with asyncio.TaskGroup() as group:
            job = group.create_task(public.verify_batch(study.expected(), study.batches[1]))
            await eventually(lambda: taken() == 1, seconds=30)
            os.kill(worker, signal.SIGKILL)
        assert job.result() is None
    assert redelivered() == before + 1


@servers
async def test_a_job_that_ends_every_worker_is_given_up(queue: Queue) -> None:
    begun: list[bytes] = []

    def work(kind: str, arguments: bytes) -> bytes:
        begun.append(arguments)
        raise BrokenExecutor("as a pool says when its process has ended")

    async with queue.owner() as runner, queue.replica(work):
        with pytest.raises(JobCrashed, match="3 workers"):
            await runner.run(Kind.ADD_BATCHES, b"poison")
    assert begun == [b"poison"] * 3


@servers
async def test_without_workers_a_job_is_unavailable_in_time(queue: Queue) -> None:
    async with queue.owner(Limits(IN_FLIGHT_MAX, queue_seconds=0.5)) as runner:
        with pytest.raises(WorkersAway, match="no worker"):
            await runner.run(Kind.ADD_BATCHES, b"abc")


@servers
async def test_who_can_write_to_the_topics_can_neither_ask_nor_answer(queue: Queue) -> None:
    gate, other = Gate(), Seal(b"x" * 32, queue.seal.chain_id, MEMBER)
    later = 1 << 50
    forged = JobHead(b"f" * 16, 1, "add_batches", later, digests_of(b"forged"))
    asked = [other.job(forged), *part_messages(forged.id, 1, b"forged"), b"", b"junk"]
    async with queue.owner() as runner, queue.replica(gate.work):
        await queue.write(queue.topics.jobs, *asked)
        async with asyncio.TaskGroup() as group:
            job = group.create_task(runner.run(Kind.ADD_BATCHES, b"abc"))
            await eventually(lambda: gate.begun == 1, seconds=30)
            own = await queue.job_that_is_taken()
            answer = ReplyHead(own, 1, "done", digests_of(b"a lie"))
            lie = [other.reply(answer), *part_messages(own, 1, b"a lie")]
            before = refused("not_ours")
            await queue.write(queue.topics.replies, *lie, b"", b"junk")
            await eventually(lambda: refused("not_ours") > before, seconds=30)
            assert not job.done()
            gate.open.set()
        assert job.result() == b"cba"
    assert gate.begun == 1


@pytest.mark.soak  # a broker's restart, and a dead member's ten seconds in the group
@servers
async def test_brokers_that_were_away_are_used_again(tmp_path: Path) -> None:
    need("kafka")
    with running_kafka(tmp_path / "kafka") as server:
        own = Queue.new(server)
        async with own.owner() as runner, own.replica(lambda _, octets: octets):
            assert await runner.run(Kind.ADD_BATCHES, b"before") == b"before"
            await asyncio.to_thread(server.kill)
            with pytest.raises(WorkersAway):
                await runner.run(Kind.ADD_BATCHES, b"meanwhile")
            await asyncio.to_thread(server.start)
            assert await until_done(runner, b"after") == b"after"


@servers
async def test_the_worker_process_does_jobs_and_ends_in_order(
    queue: Queue, study: Study, tmp_path: Path
) -> None:
    genesis, keys = make_genesis(chain_id=queue.seal.chain_id)
    (tmp_path / "genesis.json").write_bytes(keys.document)
    key_file = tmp_path / "jobs.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(queue.seal.key)
    settings = {
        "MEMBER": MEMBER,
        "DATA_DIR": str(tmp_path),
        "GENESIS_FILE": str(tmp_path / "genesis.json"),
        "TLS_CERTIFICATE": "unused",
        "TLS_PRIVATE_KEY": "unused",
        "JOBS_KEY_FILE": str(key_file),
        "KAFKA_BOOTSTRAP": queue.connection.bootstrap[0],
        "WORKERS": "1",
        "DRAIN_SECONDS": "0.1",
        "PARENT_PID": str(os.getpid()),
    }
    command = [sys.executable, "-m", "cipherward_compute.worker"]
    environment = {**os.environ, **{f"CIPHERWARD_{k}": v for k, v in settings.items()}}
    async with queue.owner() as runner:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            await PublicArithmetic(runner).verify_batch(study.expected(), study.batches[0])
            process.terminate()
            async with asyncio.timeout(30):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, output.decode()
    assert queue.seal.key.hex().encode() not in output
    assert genesis.chain_id == queue.seal.chain_id


async def until_done(runner: JobRunner, arguments: bytes) -> bytes:
    """Give a job until the queue is there, as a study's task does."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await runner.run(Kind.ADD_BATCHES, arguments)
            except WorkersAway:
                await asyncio.sleep(0.1)


def taken() -> float:
    return REGISTRY.get_sample_value("cipherward_compute_jobs_taken") or 0


def redelivered() -> float:
    return REGISTRY.get_sample_value("cipherward_compute_jobs_redelivered_total") or 0


def refused(why: str) -> float:
    name = "cipherward_compute_job_messages_refused_total"
    return REGISTRY.get_sample_value(name, {"reason": why}) or 0
