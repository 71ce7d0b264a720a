"""Run the storage service: `python -m cipherward_storage`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward.storage.v1.storage_service_pb2_grpc import add_StorageServiceServicer_to_server
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.block_source import open_block_source
from cipherward_member.canaries import CANARIES
from cipherward_member.following import ChainProgress
from cipherward_member.ledger_channel import open_ledger
from cipherward_member.peers import peers_of
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_storage.assembly import CHAIN, LedgerSide, Limits, open_storage
from cipherward_storage.config import StorageConfig
from cipherward_storage.service import DOMAIN, GROWING
from cipherward_storage.setup import read_custodian
from cipherward_storage.stores import STORE


async def serve_storage(config: StorageConfig) -> None:
    """Wire the service between its data folder and the alliance's ledger, and serve it."""
    custodian = read_custodian(config)
    genesis = custodian.genesis
    endpoints = read_endpoints(config.endpoints_file, genesis.chain_id)
    members = MemberRegistry(genesis, config.data_dir / REGISTRY_FILE)
    limits = Limits.of(config)
    readiness = Readiness(CHAIN, STORE, CANARIES)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(config.data_dir, genesis.chain_id, genesis.digest))
        own = await stack.enter_async_context(follow_identity(config, members.trust, readiness))
        channel = await stack.enter_async_context(
            open_ledger(config, own, endpoints, members.trust)
        )
        source = await open_block_source(config, endpoints, genesis, channel)
        peers = peers_of(config, own, members.trust, genesis.chain_id, "storage")
        ledger = LedgerSide(members, source, LedgerServiceStub(channel).SubmitBatch, peers)
        progress = ChainProgress(genesis.parameters.fresh_seconds)
        service = await stack.enter_async_context(
            open_storage(folder.path, custodian, limits, ledger, readiness, progress)
        )
        await serve(
            config,
            domain=DOMAIN,
            growing=GROWING,
            identity=own,
            registry=members.trust,
            register=lambda server: add_StorageServiceServicer_to_server(service, server),
            readiness=readiness,
        )


if __name__ == "__main__":
    run_service("storage", StorageConfig, serve_storage)
