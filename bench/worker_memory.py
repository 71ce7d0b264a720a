"""The memory of a worker's pod, at rest and under the jobs of an alliance of four.

The process runs as the chart starts it, with as many processes; its jobs come through a real queue.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.evaluation import ADDITIVE, PRODUCT, Keys, ceremony
from bench.memory_rows import WORKER, names_of, rows
from bench.pods import Peaks, Pod, watched
from bench.results import Row
from cipherward_chain.batches import unpacked
from cipherward_chain.testing import make_genesis
from cipherward_client.alliance.ports import HOST, free_ports
from cipherward_client.alliance.supervisor import ProcessPlan, supervised
from cipherward_compute import arithmetic
from cipherward_compute.arithmetic.evaluations import Evaluation, ProductTerm
from cipherward_compute.arithmetic.inputs import Encryption, Expected, proven_batch
from cipherward_compute.jobs.local import PoolRunner
from cipherward_compute.jobs.messages import KEY_BYTES, Seal
from cipherward_compute.jobs.owner import KafkaRunner, Limits
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.jobs import WorkerPool
from cipherward_member.background import running
from cipherward_member.kafka_connection import KafkaConnection
from tests.servers.kafka import running_kafka

NAMES: Final = names_of(WORKER)
MODULE: Final = "cipherward_compute.worker"
PROCESSES: Final = 2  # the chart's
MEMBERS: Final = 4
BATCH: Final = 8  # ciphertexts
ROUNDS: Final = 4  # of all jobs, those of a round at once: twice as many as there are processes
REST_SECONDS: Final = 10.0


def measure() -> list[Row]:
    """Return the rows."""
    rest, loaded = asyncio.run(_measured())
    return rows(rest, {"jobs": loaded})


async def _measured() -> tuple[Peaks, Peaks]:
    """Return what the pod held at rest, and at most under load."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        folder = Path(made)
        genesis, keys = make_genesis()
        (folder / "genesis.json").write_bytes(keys.document)
        seal = Seal(secrets.token_bytes(KEY_BYTES), genesis.chain_id, next(iter(genesis.members)))
        with running_kafka(folder / "kafka") as server:
            plan = _plan(folder, seal, server.bootstrap)
            async with (
                _owner(KafkaConnection((server.bootstrap,), "plaintext"), seal) as public,
                supervised([plan], folder / "logs") as supervisor,
            ):
                pods = [Pod(seal.member, WORKER, supervisor.pids[plan.name])]
                with watched(pods) as resting:
                    await asyncio.sleep(REST_SECONDS)
                with watched(pods) as loaded:
                    await _load(public, seal.member)
                return resting.peaks, loaded.peaks


def _plan(folder: Path, seal: Seal, bootstrap: str) -> ProcessPlan:
    key, health = folder / "jobs.key", f"{HOST}:{free_ports(1)[0]}"
    key.touch(mode=0o600)
    key.write_bytes(seal.key)
    settings = {
        "MEMBER": seal.member,
        "GENESIS_FILE": str(folder / "genesis.json"),
        "HEALTH_LISTEN": health,
        "JOBS_KEY_FILE": str(key),
        "KAFKA_BOOTSTRAP": bootstrap,
        "WORKERS": str(PROCESSES),
    }
    environment = {f"{ENV_PREFIX}{name}": value for name, value in settings.items()}
    return ProcessPlan(f"{seal.member}/{WORKER}", MODULE, environment, health, stage=0)


@asynccontextmanager
async def _owner(connection: KafkaConnection, seal: Seal) -> AsyncGenerator[PublicArithmetic]:
    async with WorkerPool(0, 0, arithmetic.__name__) as own:
        runner = KafkaRunner(connection, seal, PoolRunner(own), Limits(4 * PROCESSES))
        async with running(runner.listen()):
            yield PublicArithmetic(runner)


async def _load(public: PublicArithmetic, member: str) -> None:
    """Verify and add batches of both kinds of key, and multiply columns."""
    for keys in (ceremony(ADDITIVE), ceremony(PRODUCT, multiplies=True)):
        encryption = Encryption(keys.profile, keys.public_key, b"bench")
        batch = await asyncio.to_thread(proven_batch, encryption, [[1]] * BATCH)
        expected = Expected(member, encryption, BATCH, zeros=False)
        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as group:
                for _ in range(PROCESSES):
                    group.create_task(public.verify_batch(expected, batch))
                    group.create_task(public.sums_of(keys.profile, [batch] * MEMBERS))
                    group.create_task(_multiplied(public, keys, batch))


async def _multiplied(public: PublicArithmetic, keys: Keys, batch: bytes) -> None:
    if keys.relin_key:
        ciphertexts, _ = unpacked(batch)
        half = BATCH // 2
        columns = [list(ciphertexts[:half]), list(ciphertexts[half:])]
        evaluation = Evaluation(keys.profile, keys.relin_key, columns)
        await public.products_of(evaluation, [ProductTerm(0, 1, 1)])
