"""The contract service's process: reads as its wiring diagram."""

from __future__ import annotations

import asyncio
import time

from cipherward.contract.v1.contract_service_pb2_grpc import (
    add_ContractServiceServicer_to_server,
)
from cipherward_chain.reads import ReadGate
from cipherward_contract.chain import Chain
from cipherward_contract.config import ContractConfig
from cipherward_contract.drafting import DRAFTS_WAITING_MAX, WORKER_MODULE, Drafts
from cipherward_contract.proven_reading import ProvenReading
from cipherward_contract.reading import Reading
from cipherward_contract.restoring import Restoring
from cipherward_contract.service import ContractService, Questions, StateSync
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.standing import MACHINE_VERSION, Standing
from cipherward_contract.store import SCHEMA
from cipherward_kit.database import Database
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_member.alliance_files import read_genesis
from cipherward_member.authorities import Authorities
from cipherward_member.canaries import CANARIES, CanaryReports


async def serve_contract(config: ContractConfig) -> None:
    """Wire the service by hand: this function is the whole dependency graph."""
    genesis = await asyncio.to_thread(read_genesis, config.genesis_file, config.member)
    authorities = Authorities.of(genesis, config.member)
    with DataFolder(config.data_dir, genesis.chain_id, genesis.digest) as folder:
        path = folder.path / "state.db"
        async with Database(path, SCHEMA) as writing, Database(path, SCHEMA) as reads:
            versions = config.machine_version_max
            chain = Chain(writing, genesis.digest, version_max=versions)
            await chain.load()
            readiness = Readiness(MACHINE_VERSION, CANARIES)
            async with (
                follow_identity(config, authorities.trust, readiness) as identity,
                Snapshots(folder.path / "snapshots", path, config.snapshot_blocks) as snapshots,
                WorkerPool(config.draft_workers, DRAFTS_WAITING_MAX, WORKER_MODULE) as pool,
            ):
                standing = Standing(chain, readiness, snapshots, authorities, version_max=versions)
                await standing.look()
                sync = StateSync(snapshots, Restoring(chain, writing, genesis.digest))
                proven = ProvenReading(chain, time.time)
                questions = Questions(Reading(reads, time.time), proven, Drafts(pool))
                gate = ReadGate(genesis.chain_id, time.time)
                canaries = CanaryReports(readiness)
                service = ContractService(chain, questions, gate, sync, standing, canaries)
                await serve(
                    config,
                    domain="contract.cipherward",
                    identity=identity,
                    registry=authorities.trust,
                    register=lambda server: add_ContractServiceServicer_to_server(service, server),
                    readiness=readiness,
                )


if __name__ == "__main__":
    run_service("contract", ContractConfig, serve_contract)
