"""The services that the ledger calls, and the channels to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward_chain.endpoints import Endpoints
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import Presented, TrustRegistry

# A block of 2 MiB, its results and its orders fit; both ends of these channels know the bound.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Peers:
    """Contract and identity of the member that runs the ledger."""

    contract: ContractServiceStub
    identity: IdentityServiceStub


@asynccontextmanager
async def open_peers(
    member: str, endpoints: Endpoints, identity: Presented, registry: TrustRegistry
) -> AsyncGenerator[Peers]:
    """Open the channels to the services of `member`; they themselves may come later."""
    async with AsyncExitStack() as stack:
        contract, verifier = [
            await stack.enter_async_context(
                open_channel(
                    endpoints.of(member, service).listen,
                    identity=identity,
                    registry=registry,
                    peer_member=member,
                    peer_service=service,
                    message_bytes_max=MESSAGE_BYTES_MAX,
                )
            )
            for service in ("contract", "identity")
        ]
        yield Peers(ContractServiceStub(contract), IdentityServiceStub(verifier))
