"""Run the identity service: `python -m cipherward_identity`."""

from __future__ import annotations

import asyncio

from cipherward.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_identity.config import IdentityConfig
from cipherward_identity.service import DOMAIN, GROWING
from cipherward_identity.wiring import Outside, open_identity
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_member.alliance_files import read_endpoints, read_genesis
from cipherward_member.block_source import open_block_source
from cipherward_member.ledger_channel import open_ledger
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry


async def serve_identity(config: IdentityConfig) -> None:
    """Wire registry, feed and ports by hand; `open_identity` wires what is behind them."""
    genesis = await asyncio.to_thread(read_genesis, config.genesis_file, config.member)
    endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, genesis.chain_id)
    path = config.data_dir / REGISTRY_FILE
    members = await asyncio.to_thread(MemberRegistry, genesis, path)
    # Not the chain: VerifyPresentations needs none. If a standing chain made identity unreachable,
    # no validator could check a proposal with a presentation, and the chain would stand for ever.
    readiness = Readiness("store")
    async with (
        follow_identity(config, members.trust, readiness) as own,
        open_ledger(config, own, endpoints, members.trust) as ledger,
    ):
        source = await open_block_source(config, endpoints, genesis, ledger)
        submit = LedgerServiceStub(ledger).SubmitBatch
        async with open_identity(config, genesis, Outside(members, source, submit)) as service:
            readiness.set("store", True)
            await serve(
                config,
                domain=DOMAIN,
                growing=GROWING,
                identity=own,
                registry=members.trust,
                register=lambda server: add_IdentityServiceServicer_to_server(service, server),
                readiness=readiness,
            )


def main() -> None:
    run_service("identity", IdentityConfig, serve_identity)


if __name__ == "__main__":
    main()
