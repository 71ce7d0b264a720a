"""Asking custodians for the members' slots of their records.

An answer is believed by nobody: the guardian compares it with the anchor.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_member.peers import PeerChannels, PeerUnknown
from cipherward_storage.store import RecordStore

# For one answer: a look into the custodian's store. A reader waits for the share meanwhile.
CALL_SECONDS = 2.0


class SlotAway(Exception):
    """The custodian does not answer now."""


class SlotUnknown(Exception):
    """The custodian answers that it has no such record."""


@dataclass(frozen=True, slots=True)
class GivenSlot:
    """What a custodian gives: the members' slot, and the serialised anchor of the record."""

    slot: bytes
    anchor: bytes


class PeerSlots:
    """The members' slots of all records."""

    def __init__(self, member: str, records: RecordStore, peers: PeerChannels) -> None:
        """Describe the way to the slots.

        Args:
            member: this one, whose records are here.
            records: of this member.
            peers: channels to the other members' storages.
        """
        self._member = member
        self._records = records
        self._peers = peers

    async def slot(self, custodian: str, record_id: bytes) -> GivenSlot:
        """Return the members' slot of a record and its anchor, as its custodian gives them.

        Raises:
            SlotAway: it does not answer now.
            SlotUnknown: it has no such record.
        """
        if custodian == self._member:
            record = await self._records.find(record_id)
            if record is None:
                raise SlotUnknown("the record is not stored here")
            return GivenSlot(record.alliance_slot, record.anchor.octets)
        request = pb.GetAllianceSlotRequest(record_id=record_id)
        try:
            stub = StorageServiceStub(await self._peers.to(custodian))
            answer = await stub.GetAllianceSlot(request, timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            code: grpc.StatusCode = error.code()
            if code == grpc.StatusCode.NOT_FOUND:
                raise SlotUnknown(f"{custodian} has no such record") from None
            if code == grpc.StatusCode.UNAVAILABLE:
                # It may be somewhere else by now. One lane at a time asks a custodian, so nobody
                # else is on the channel.
                await self._peers.drop(custodian)
            raise SlotAway(f"{custodian} answers {code.name}") from None
        except PeerUnknown as error:
            raise SlotAway(str(error)) from None
        return GivenSlot(answer.alliance_slot, answer.anchor)
