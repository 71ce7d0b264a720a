"""What somebody who joins the alliance begins with: the genesis, and where everybody is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.genesis import Genesis
from cipherward_chain.registry_entry import member_key
from cipherward_ledger.errors import AdmissionNotKept
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.errors import EndpointsUnusable

# One look into contract's store; whoever asks waits at a screen, and may ask again.
ENTRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class AllianceFiles:
    """Files that change while the ledger runs: read whenever somebody asks.

    endpoints: alliance.json. admissions: the folder of the proofs of those who joined later.
    """

    endpoints: Path
    admissions: Path


@dataclass(frozen=True, slots=True)
class Beginning:
    """The chain's beginning.

    document: the genesis, byte for byte.
    contract: it holds the registry.
    files: where newcomers' files are; None where nobody is told.
    """

    genesis: Genesis
    document: bytes
    contract: ContractServiceStub
    files: AllianceFiles | None = None

    async def told(self, member: str = "") -> pb.GetGenesisResponse:
        """Return what a newcomer is told; ports for probes and metrics are nobody else's.

        Args:
            member: whose entry in the registry is proven too, where that can be done now.
        """
        answer = pb.GetGenesisResponse(genesis=self.document, entry=await self._entry(member))
        if self.files is None:
            return answer
        try:
            found = await asyncio.to_thread(
                read_endpoints, self.files.endpoints, self.genesis.chain_id
            )
        except EndpointsUnusable:  # its operator is told by whatever needs the file
            return answer
        answer.ledger_member = found.ledger_member
        answer.addresses.extend(
            pb.ServiceAddress(
                member=member,
                service=service,
                listen=endpoint.listen,
                holder=endpoint.holder,
                p2p=endpoint.p2p,
            )
            for member, services in found.by_member.items()
            for service, endpoint in services.items()
        )
        return answer

    async def admission(self, member: str) -> bytes:
        """Return the proof that a member joined later, as it was kept.

        Raises:
            AdmissionNotKept: there is none.
        """
        if self.files is None or MEMBER_ID.fullmatch(member) is None:
            raise AdmissionNotKept("no proof is kept of a member of that id")
        file = self.files.admissions / f"{member}.json"
        try:
            return await asyncio.to_thread(file.read_bytes)
        except OSError:
            raise AdmissionNotKept("no proof is kept of a member of that id") from None

    async def _entry(self, member: str) -> pb.RegistryEntry | None:
        if MEMBER_ID.fullmatch(member) is None:
            return None
        request = contract_pb.ReadStateRequest(keys=[member_key(member)])
        try:
            state = await self.contract.ReadState(request, timeout=ENTRY_SECONDS)
        except aio.AioRpcError:  # no chain yet, or contract is away, as the ledger's readiness says
            return None
        (proof,) = state.proofs
        return pb.RegistryEntry(height=state.height, app_hash=state.app_hash, proof=proof)
