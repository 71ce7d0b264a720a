"""Run the compute service: `python -m cipherward_compute`."""

from __future__ import annotations

import asyncio

from cipherward.compute.v1.compute_service_pb2_grpc import add_ComputeServiceServicer_to_server
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_compute.config import ComputeConfig
from cipherward_compute.identity_channel import open_identity
from cipherward_compute.service import DOMAIN, GROWING
from cipherward_compute.wiring import Outside, open_compute
from cipherward_kit.drain import Drain
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_member.alliance_files import read_endpoints, read_genesis
from cipherward_member.block_source import open_block_source
from cipherward_member.ledger_channel import open_ledger
from cipherward_member.peers import peers_of
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry


async def serve_compute(config: ComputeConfig) -> None:
    """Wire registry, channels and ports by hand; `open_compute` wires what is behind them."""
    genesis = await asyncio.to_thread(read_genesis, config.genesis_file, config.member)
    endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, genesis.chain_id)
    path = config.data_dir / REGISTRY_FILE
    members = await asyncio.to_thread(MemberRegistry, genesis, path)
    readiness, drain = Readiness("store", "chain"), Drain()
    async with (
        follow_identity(config, members.trust, readiness) as own,
        open_ledger(config, own, endpoints, members.trust) as ledger,
        open_identity(config, own, endpoints, members.trust) as identity,
    ):
        outside = Outside(
            members,
            await open_block_source(config, endpoints, genesis, ledger),
            LedgerServiceStub(ledger).SubmitBatch,
            IdentityServiceStub(identity).VerifyPresentations,
            peers_of(config, own, members.trust, genesis.chain_id, "compute"),
            peers_of(config, own, members.trust, genesis.chain_id, "storage"),
        )
        async with open_compute(config, genesis, outside, readiness, drain) as service:
            await serve(
                config,
                domain=DOMAIN,
                growing=GROWING,
                identity=own,
                registry=members.trust,
                register=lambda server: add_ComputeServiceServicer_to_server(service, server),
                readiness=readiness,
                drain=drain,
            )


def main() -> None:
    run_service("compute", ComputeConfig, serve_compute)


if __name__ == "__main__":
    main()
