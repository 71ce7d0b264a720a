"""Run the storage service: `python -m cipherward_storage`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward.storage.v1.storage_service_pb2_grpc import add_StorageServiceServicer_to_server
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_member.alliance_files import read_endpoints, trust_registry
from cipherward_member.following import ChainProgress
from cipherward_member.ledger_channel import open_ledger
from cipherward_storage.assembly import CHAIN, LedgerSide, Limits, open_storage
from cipherward_storage.config import StorageConfig
from cipherward_storage.service import DOMAIN
from cipherward_storage.setup import read_custodian


async def serve_storage(config: StorageConfig) -> None:
    """Wire the service between its data folder and the alliance's ledger, and serve it."""
    custodian = read_custodian(config)
    genesis = custodian.genesis
    endpoints = read_endpoints(config.endpoints_file, genesis.chain_id)
    registry = trust_registry(genesis)
    limits = Limits.of(config)
    readiness = Readiness(CHAIN)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(config.data_dir, genesis.chain_id))
        channel = await stack.enter_async_context(open_ledger(config, endpoints, registry))
        feed = GrpcBlockFeed(channel, genesis.parameters.fresh_seconds)
        ledger = LedgerSide(feed, LedgerServiceStub(channel).SubmitBatch)
        progress = ChainProgress(genesis.parameters.fresh_seconds)
        service = await stack.enter_async_context(
            open_storage(folder.path, custodian, limits, ledger, readiness, progress)
        )
        await serve(
            config,
            domain=DOMAIN,
            registry=registry,
            register=lambda server: add_StorageServiceServicer_to_server(service, server),
            readiness=readiness,
        )


if __name__ == "__main__":
    run_service("storage", StorageConfig, serve_storage)
