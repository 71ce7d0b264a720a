"""Proofs that members were admitted, read from the chain where nobody has kept the vote's."""

from __future__ import annotations

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.admission import INSTRUCTION, Admission
from cipherward_chain.comet import parse_header
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.proven_orders import block_at, orders_proof

# Votes may last thirty days, of a block every ten seconds; a ledger sends thousands a second.
SEARCH_SECONDS = 300.0


class AdmissionNotFound(CheckFailed):
    """The blocks in which a member should have been admitted do not admit it."""

    reason = "ADMISSION_REJECTED"


async def admission_at(alliance: Alliance, height: int) -> Admission:
    """Return the proof that a block admitted somebody; nothing of it is verified.

    Raises:
        ClientError: no ledger has the block, or it is empty.
    """
    with explaining():
        return await orders_proof(alliance, await block_at(alliance, height), Admission)


async def find_admission(hospital: Hospital, member: str, first: int, last: int) -> Admission:
    """Return the proof that one of the blocks from `first` to `last` admitted a member; nothing of
    it is verified.

    Raises:
        ClientError: none did, or the member's ledger keeps them no more.
    """
    alliance, instruction, name = hospital.alliance, INSTRUCTION.encode(), member.encode()
    request = pb.StreamBlocksRequest(from_height=first)
    with explaining():
        async for answer in alliance.ledger.StreamBlocks(request, timeout=SEARCH_SECONDS):
            block = answer.block
            if any(instruction in order and name in order for order in block.orders):
                return await orders_proof(alliance, block, Admission)
            if parse_header(block.header).height >= last:
                break
        raise AdmissionNotFound(f"no block from {first} to {last} admits {member}")
