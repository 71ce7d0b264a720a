"""Run a worker replica: `python -m cipherward_compute.worker`. It has no secret but the queue's."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from cipherward_compute import arithmetic
from cipherward_compute.arithmetic.keys import warm
from cipherward_compute.ceremony.steps import PROFILE
from cipherward_compute.jobs.config import WorkerConfig
from cipherward_compute.jobs.kinds import run_job
from cipherward_compute.jobs.messages import KEY_BYTES, Seal
from cipherward_compute.jobs.replica import QUEUE, Replica
from cipherward_kit.drain import Drain
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve_probes
from cipherward_member.alliance_files import read_genesis, read_key
from cipherward_member.kafka_connection import KafkaConnection

DOMAIN = "worker.cipherward"


async def serve_worker(config: WorkerConfig) -> None:
    """Wire key, processes and queue by hand: this function is the whole dependency graph."""
    genesis = await asyncio.to_thread(read_genesis, config.genesis_file, config.member)
    key = await asyncio.to_thread(read_key, config.jobs_key_file, KEY_BYTES, "jobs_key_file")
    connection = await asyncio.to_thread(KafkaConnection.read, config)
    readiness, drain = Readiness(QUEUE), Drain()
    async with AsyncExitStack() as stack:
        pools = [WorkerPool(min(config.workers, 1), 0, arithmetic.__name__)]
        pools += [WorkerPool(1, 0, arithmetic.__name__) for _ in range(config.workers - 1)]
        for pool in pools:
            await stack.enter_async_context(pool)
            await pool.run(warm, PROFILE)
        seal = Seal(key, genesis.chain_id, config.member)
        replica = Replica(connection, seal, pools, run_job)
        async with asyncio.TaskGroup() as group:
            group.create_task(replica.work(readiness))
            group.create_task(_stop_with(drain, replica))
            await serve_probes(config, domain=DOMAIN, readiness=readiness, drain=drain)


async def _stop_with(drain: Drain, replica: Replica) -> None:
    await drain.wait()
    replica.stop()


def main() -> None:
    run_service("worker", WorkerConfig, serve_worker)


if __name__ == "__main__":
    main()
