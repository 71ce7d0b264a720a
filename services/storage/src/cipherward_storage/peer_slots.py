"""Asking custodians for the members' slots of their records.

An answer is believed by nobody: the guardian compares it with the anchor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import grpc
import structlog
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_chain.endpoints import EndpointUnknown
from cipherward_kit.channels import open_channel
from cipherward_kit.server import own_identity
from cipherward_kit.tls import PeerNotTrusted, TrustRegistry
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.errors import EndpointsUnusable
from cipherward_storage.config import StorageConfig
from cipherward_storage.store import RecordStore

# For one answer: a look into the custodian's store. A reader waits for the share meanwhile.
CALL_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SlotAway(Exception):
    """The custodian does not answer now."""


class SlotUnknown(Exception):
    """The custodian answers that it has no such record."""


@dataclass(frozen=True, slots=True)
class GivenSlot:
    """What a custodian gives: the members' slot, and the serialised anchor of the record."""

    slot: bytes
    anchor: bytes


class PeerUnknown(Exception):
    """Nobody has said yet where a member's storage is, or whose certificates are its."""


# Opens a channel to a member's storage, which must show that it is, or raises `PeerUnknown`.
OpenPeer: TypeAlias = Callable[[str], Awaitable[aio.Channel]]


async def open_peer(
    config: StorageConfig, trust: TrustRegistry, chain_id: str, member: str
) -> aio.Channel:
    """Open a channel to a member's storage, where alliance.json says now that it is.

    Raises:
        PeerUnknown: neither the file nor the registry has such a member, or not yet.
    """
    try:
        endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, chain_id)
        identity = await asyncio.to_thread(own_identity, config)
        return open_channel(
            endpoints.of(member, "storage").listen,
            identity=identity,
            registry=trust,
            peer_member=member,
            peer_service="storage",
        )
    except (EndpointsUnusable, EndpointUnknown, PeerNotTrusted) as error:
        raise PeerUnknown(str(error)) from None


class PeerSlots:
    """The members' slots of all records. Enter it; channels are opened at the first call."""

    def __init__(self, member: str, records: RecordStore, open_to: OpenPeer) -> None:
        """Describe the way to the slots.

        Args:
            member: this one, whose records are here.
            records: of this member.
            open_to: opens a channel to another member's storage.
        """
        self._member = member
        self._records = records
        self._open_to = open_to
        self._channels: dict[str, aio.Channel] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

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
            stub = StorageServiceStub(await self._channel(custodian))
            answer = await stub.GetAllianceSlot(request, timeout=CALL_SECONDS)
        except aio.AioRpcError as error:
            code: grpc.StatusCode = error.code()
            if code == grpc.StatusCode.NOT_FOUND:
                raise SlotUnknown(f"{custodian} has no such record") from None
            if code == grpc.StatusCode.UNAVAILABLE:
                await self._drop(custodian)  # it may be somewhere else by now
            raise SlotAway(f"{custodian} answers {code.name}") from None
        except PeerUnknown as error:
            raise SlotAway(str(error)) from None
        return GivenSlot(answer.alliance_slot, answer.anchor)

    async def _channel(self, custodian: str) -> aio.Channel:
        async with self._opening:
            if custodian not in self._channels:
                self._channels[custodian] = await self._open_to(custodian)
            return self._channels[custodian]

    async def _drop(self, custodian: str) -> None:
        """Close a channel; one lane at a time asks a custodian, so nobody else is on it."""
        channel = self._channels.pop(custodian, None)
        if channel is not None:
            await channel.close()
