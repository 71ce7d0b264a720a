"""What somebody who joins the alliance begins with: the genesis, and where everybody is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.acts import MEMBER_ID
from cipherward_chain.genesis import Genesis
from cipherward_ledger.errors import AdmissionNotKept
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.errors import EndpointsUnusable


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
    files: where newcomers' files are; None where nobody is told.
    """

    genesis: Genesis
    document: bytes
    files: AllianceFiles | None = None

    async def told(self) -> pb.GetGenesisResponse:
        """Return what a newcomer is told; ports for probes and metrics are nobody else's."""
        answer = pb.GetGenesisResponse(genesis=self.document)
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
