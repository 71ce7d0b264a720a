"""Run the compute service: `python -m cipherward_compute`."""

from __future__ import annotations

import asyncio
from functools import partial

from cipherward.compute.v1.compute_service_pb2_grpc import add_ComputeServiceServicer_to_server
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_compute.config import ComputeConfig
from cipherward_compute.service import DOMAIN
from cipherward_compute.wiring import Outside, open_compute
from cipherward_kit.channels import open_channel
from cipherward_kit.drain import Drain
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import own_identity, serve
from cipherward_member.alliance_files import read_endpoints, read_genesis, trust_registry
from cipherward_member.ledger_channel import open_ledger


async def serve_compute(config: ComputeConfig) -> None:
    """Wire registry, channels and ports by hand; `open_compute` wires what is behind them."""
    genesis = await asyncio.to_thread(read_genesis, config.genesis_file, config.member)
    endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, genesis.chain_id)
    registry = trust_registry(genesis)
    readiness, drain = Readiness("store", "chain"), Drain()
    channel_to = partial(open_channel, identity=own_identity(config), registry=registry)
    async with open_ledger(config, endpoints, registry) as ledger:
        outside = Outside(
            GrpcBlockFeed(ledger, genesis.parameters.fresh_seconds),
            LedgerServiceStub(ledger).SubmitBatch,
            lambda member: channel_to(
                endpoints.of(member, "compute").listen, peer_member=member, peer_service="compute"
            ),
        )
        async with open_compute(config, genesis, outside, readiness, drain) as service:
            await serve(
                config,
                domain=DOMAIN,
                registry=registry,
                register=lambda server: add_ComputeServiceServicer_to_server(service, server),
                readiness=readiness,
                drain=drain,
            )


def main() -> None:
    run_service("compute", ComputeConfig, serve_compute)


if __name__ == "__main__":
    main()
