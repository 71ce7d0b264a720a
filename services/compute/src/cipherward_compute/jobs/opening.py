"""Where jobs run, as the settings have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cipherward_chain.genesis import Genesis
from cipherward_compute.jobs.config import JobsConfig
from cipherward_compute.jobs.local import PoolRunner
from cipherward_compute.jobs.messages import KEY_BYTES, Seal
from cipherward_compute.jobs.owner import KafkaRunner, Limits
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_kit.jobs import WorkerPool
from cipherward_member.alliance_files import read_key
from cipherward_member.background import running
from cipherward_member.kafka_connection import KafkaConnection


@asynccontextmanager
async def open_public_arithmetic(
    config: JobsConfig, genesis: Genesis, pool: WorkerPool
) -> AsyncGenerator[PublicArithmetic]:
    """Yield the arithmetic without secrets, over `pool` or over the member's queue.

    Brokers that are away do not keep the service from starting: jobs wait, and a metric says so.

    Raises:
        KeyUnusable, KafkaUnusable: a file that the queue needs cannot be used.
    """
    local = PoolRunner(pool)
    if config.jobs_key_file is None:
        yield PublicArithmetic(local)
        return
    key = await asyncio.to_thread(read_key, config.jobs_key_file, KEY_BYTES, "jobs_key_file")
    connection = await asyncio.to_thread(KafkaConnection.read, config)
    seal = Seal(key, genesis.chain_id, config.member)
    runner = KafkaRunner(connection, seal, local, Limits(config.jobs_waiting_max))
    async with running(runner.listen()):
        yield PublicArithmetic(runner)
