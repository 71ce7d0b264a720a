"""Run the ledger: `python -m cipherward_ledger`."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cipherward.ledger.v1.ledger_service_pb2_grpc import add_LedgerServiceServicer_to_server
from cipherward_chain.admission import FOLDER
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.drain import Drain
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_ledger.assembly import Surroundings, conditions, open_ledger
from cipherward_ledger.beginning import AllianceFiles
from cipherward_ledger.clock import Clock
from cipherward_ledger.config import LedgerConfig
from cipherward_ledger.peers import open_peers
from cipherward_ledger.service import DOMAIN, GROWING
from cipherward_ledger.setup import limits_of, read_chain, read_endpoints
from cipherward_ledger.traces import TransactionTraces
from cipherward_member.alliance_files import read_genesis
from cipherward_member.authorities import Authorities


async def serve_ledger(config: LedgerConfig) -> None:
    """Wire the ledger between its data folder and the services it calls, and serve it."""
    genesis = read_genesis(config.genesis_file, config.member)
    endpoints = read_endpoints(config, genesis)
    authorities = Authorities.of(genesis, config.member)
    registry = authorities.trust
    files = AllianceFiles(config.endpoints_file, config.genesis_file.parent / FOLDER)
    traces, ready = TransactionTraces.of(config.member, genesis), Readiness(*conditions(genesis))
    around = Surroundings(ready, Drain(), Clock(), authorities.follow, files, traces)
    async with AsyncExitStack() as stack:
        identity = await stack.enter_async_context(
            follow_identity(config, registry, around.readiness)
        )
        chain = read_chain(config, identity, registry)
        folder = stack.enter_context(DataFolder(config.data_dir, genesis.chain_id, genesis.digest))
        peers = await stack.enter_async_context(
            open_peers(config.member, endpoints, identity, registry)
        )
        ledger = await stack.enter_async_context(
            open_ledger(folder.path, chain, limits_of(config), peers, around, config)
        )
        await serve(
            config,
            domain=DOMAIN,
            growing=GROWING,
            identity=identity,
            registry=registry,
            register=lambda server: add_LedgerServiceServicer_to_server(ledger, server),
            readiness=around.readiness,
            drain=around.drain,
        )


if __name__ == "__main__":
    run_service("ledger", LedgerConfig, serve_ledger)
