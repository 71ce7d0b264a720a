"""Run the identity service: `python -m cipherward_identity`."""

from __future__ import annotations

import asyncio

from cipherward.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_identity.config import IdentityConfig
from cipherward_identity.registry import read_endpoints, read_genesis
from cipherward_identity.service import DOMAIN
from cipherward_identity.wiring import open_identity
from cipherward_kit.channels import open_channel
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import own_identity, serve
from cipherward_kit.tls import TrustRegistry

# A proven block, with its proofs and headers, in one message (DESIGN bounds it at 8 MiB).
BLOCK_MESSAGE_BYTES_MAX = 8 * 1024 * 1024


async def serve_identity(config: IdentityConfig) -> None:
    """Wire registry, feed and ports by hand; `open_identity` wires what is behind them."""
    genesis = await asyncio.to_thread(read_genesis, config.genesis_file)
    endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, genesis.chain_id)
    members = genesis.members.values()
    registry = TrustRegistry({member.id: member.ca_certificate.encode() for member in members})
    # Not the chain: VerifyPresentations needs none. If a standing chain made identity unreachable,
    # no validator could check a proposal with a presentation, and the chain would stand for ever.
    readiness = Readiness("store")
    ledger = open_channel(
        endpoints.ledger().listen,
        identity=own_identity(config),
        registry=registry,
        peer_member=endpoints.ledger_member,
        peer_service="ledger",
        message_bytes_max=BLOCK_MESSAGE_BYTES_MAX,
    )
    async with ledger:
        feed = GrpcBlockFeed(ledger, genesis.parameters.fresh_seconds)
        async with open_identity(config, genesis, feed) as service:
            readiness.set("store", True)
            await serve(
                config,
                domain=DOMAIN,
                registry=registry,
                register=lambda server: add_IdentityServiceServicer_to_server(service, server),
                readiness=readiness,
            )


def main() -> None:
    run_service("identity", IdentityConfig, serve_identity)


if __name__ == "__main__":
    main()
