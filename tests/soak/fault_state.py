"""Where the members' contracts stand, asked as their ledgers ask them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import Identity, TrustRegistry
from tests.soak.fault_scene import RECOVERY_SECONDS, Scene

CALL_SECONDS = 10.0
POLL_SECONDS = 0.1


async def one_state(scene: Scene) -> tuple[int, bytes]:
    """Wait until every member's contract stands at one height; return that and its app hash."""
    async with AsyncExitStack() as stack:
        stubs = [
            ContractServiceStub(await stack.enter_async_context(_contract_channel(scene, member)))
            for member in scene.members
        ]
        async with asyncio.timeout(RECOVERY_SECONDS):
            while True:
                request = contract_pb.GetCommittedRequest()
                calls = [
                    stub.GetCommitted(request, timeout=CALL_SECONDS, wait_for_ready=True)
                    for stub in stubs
                ]
                found = {(one.height, one.app_hash) for one in await asyncio.gather(*calls)}
                heights = {height for height, _ in found}
                assert len(found) == len(heights), f"a fork at one of {sorted(heights)}"
                if len(found) == 1:
                    return found.pop()
                await asyncio.sleep(POLL_SECONDS)


def _contract_channel(scene: Scene, member: str) -> aio.Channel:
    """Return a channel to a contract as its ledger, which alone may ask where it stands."""
    members = scene.genesis.members.values()
    return open_channel(
        scene.addresses[member, "contract"].listen,
        identity=Identity.from_files(*scene.folder.member(member).certificate("ledger")),
        registry=TrustRegistry({m.id: m.ca_certificate.encode() for m in members}),
        peer_member=member,
        peer_service="contract",
    )
