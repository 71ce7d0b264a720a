"""The key of a released record: the custodian's part and enough guardians' shares, fetched at once.

Nobody is believed: every part is signed by its member for this order, and the key that comes out is
held against the anchor. A member that signed something wrong is named, with the part as evidence.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.acts import parse_anchor
from cipherward_chain.authorization import Signer
from cipherward_chain.endpoints import EndpointUnknown
from cipherward_chain.group_keys import RECORD, GroupKeyEntry
from cipherward_chain.release_parts import CUSTODIAN, GUARDIAN
from cipherward_chain.sealing import OpeningRejected, SealingKey, release_place, share_place
from cipherward_chain.wire import exact_bytes
from cipherward_client.records.errors import (
    KeyPartWrong,
    PartRefused,
    RecordKeyWrong,
)
from cipherward_client.records.parts import ReleasedRecord, SharedSlot
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed, explained
from cipherward_client.sdk.group_keys import group_key
from cipherward_client.sdk.release_orders import Release, release_read
from cipherward_client.sdk.retries import patiently
from cipherward_member.shared_keys import threshold_key

T = TypeVar("T")

# A member may be a block behind the ledger: what the order made is there in a moment.
NOT_YET = frozenset(("RELEASE_UNKNOWN", "RECORD_UNKNOWN"))
PART_SECONDS = 15.0
# It carries an order out some milliseconds after the reader has the receipt: ask again soon.
PART_PAUSE_SECONDS = 0.005


class AnchorDiffers(CheckFailed):
    """The custodian's anchor is not the one that the order names."""

    reason = "ANCHOR_DIFFERS"


class SharesMissing(CheckFailed):
    """Fewer guardians than it takes have handed over a right share."""

    reason = "SHARES_MISSING"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A wrong part that a member has signed, and the slot that it is a part of."""

    member: str
    record_id: bytes
    part: bytes
    alliance_slot: bytes

    def act(self) -> chain_pb.Act:
        """Return the act that publishes it."""
        return chain_pb.Act(
            bad_share=chain_pb.BadShare(
                record_id=self.record_id, part=self.part, alliance_slot=self.alliance_slot
            )
        )


@dataclass(frozen=True, slots=True)
class ReleasedKey:
    """A record's key, and the anchor that commits to it."""

    key: bytes = field(repr=False)
    anchor: chain_pb.RecordAnchor


@dataclass(frozen=True, slots=True)
class _Custody:
    """What the custodian has handed over, checked; the slot is not yet."""

    released: ReleasedRecord
    part: bytes = field(repr=False)
    alliance_slot: bytes


Answer = tuple[str, bytes | BaseException]  # a guardian, and its sealed part or why there is none


class KeyRelease:
    """Fetches the key of one release for the reader that the order names.

    `evidence` are the wrong parts that members have signed, as far as they were found.
    """

    def __init__(
        self, alliance: Alliance, release: Release, signer: Signer, key: SealingKey
    ) -> None:
        """Describe it.

        Args:
            signer: has the reader's key.
            key: the one-time key that all parts are sealed to; it dies with this object.
        """
        self._alliance = alliance
        self._release = release
        self._signer = signer
        self._key = key
        self._shares: dict[int, chain_pb.ReleasePart] = {}  # by index, as their signers sent them
        self._refused: dict[str, BaseException] = {}  # why a guardian's share is not among them
        self.evidence: list[Evidence] = []

    async def fetch(self) -> ReleasedKey:
        """Return the record's key, as soon as enough members have handed over their parts.

        Raises:
            ClientError: the custodian refused or does not answer, or all guardians refused alike;
                SHARES_MISSING: too few guardians have answered with a right share;
                ANCHOR_DIFFERS, OPENING_REJECTED, KEY_PART_WRONG and others: what was sent is not
                what was anchored.
        """
        release = self._release
        # Room for every guardian's one answer: nobody waits to put it.
        answers: asyncio.Queue[Answer] = asyncio.Queue(len(release.guardians) or 1)
        try:
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(self._ask(m, answers)) for m in release.guardians]
                known = group.create_task(group_key(self._alliance, RECORD, release.key_epoch))
                custody = await self._custody()
                key = await self._combined(custody, await known, answers)
                for task in asking:
                    task.cancel()
        except ExceptionGroup as failures:
            raise explained(failures) from failures
        return ReleasedKey(key, custody.released.anchor)

    async def _custody(self) -> _Custody:
        release, chain_id = self._release, self._alliance.chain_id
        storage = self._alliance.storage_of(release.custodian)

        async def call(read: chain_pb.AuthorizedRead, left: float) -> pb.GetReleasedKeyResponse:
            return await storage.GetReleasedKey(pb.GetReleasedKeyRequest(read=read), timeout=left)

        answer = await self._asked("GetReleasedKey", call)
        if hashlib.sha256(answer.anchor).digest() != release.anchor_digest:
            raise AnchorDiffers("the anchor is not the one in the order")
        released = ReleasedRecord(
            chain_id, parse_anchor(answer.anchor), release.anchor_digest, release.order_digest
        )
        place = release_place(chain_id, release.record_id, release.order, release.reader)
        opened = self._key.open(answer.sealed_part, place)
        part = released.accept(
            opened, CUSTODIAN, release.custodian, self._key_of(release.custodian)
        )
        try:
            custodian_part = released.custodian_part(part)
        except KeyPartWrong:
            self._accuse(part, answer.alliance_slot)
            raise
        return _Custody(released, custodian_part, answer.alliance_slot)

    async def _ask(self, guardian: str, answers: asyncio.Queue[Answer]) -> None:
        """Put a guardian's sealed part into the queue, or why there is none."""

        async def call(read: chain_pb.AuthorizedRead, left: float) -> pb.GetGuardianShareResponse:
            storage = self._alliance.storage_of(guardian)
            return await storage.GetGuardianShare(
                pb.GetGuardianShareRequest(read=read), timeout=left
            )

        try:
            answer = await self._asked("GetGuardianShare", call)
        except (aio.AioRpcError, EndpointUnknown) as error:
            answers.put_nowait((guardian, error))
        else:
            answers.put_nowait((guardian, answer.sealed_part))

    async def _combined(
        self, custody: _Custody, entry: GroupKeyEntry, answers: asyncio.Queue[Answer]
    ) -> bytes:
        """Return the record's key from the first shares that give it."""
        slot = await self._slot(custody, entry)
        waiting = len(self._release.guardians)
        while True:
            if len(self._shares) >= entry.threshold:
                bodies = {index: part.body for index, part in self._shares.items()}
                try:
                    return await asyncio.to_thread(slot.record_key, custody.part, bodies)
                except RecordKeyWrong:
                    newer = await group_key(
                        self._alliance, RECORD, self._release.key_epoch, fresh=True
                    )
                    if newer != entry:  # the members have renewed their shares meanwhile
                        entry, slot = newer, await self._slot(custody, newer)
                    elif not await self._set_aside_wrong(slot, bodies):
                        raise  # all are right: the author anchored another key than it sealed under
                    continue
            if not waiting:
                raise self._too_few(entry.threshold)
            guardian, answer = await answers.get()
            waiting -= 1
            self._take(custody.released, entry, guardian, answer)

    async def _slot(self, custody: _Custody, entry: GroupKeyEntry) -> SharedSlot:
        key = threshold_key(self._alliance.chain_id, entry)
        return await asyncio.to_thread(SharedSlot, custody.released, custody.alliance_slot, key)

    def _take(
        self,
        released: ReleasedRecord,
        entry: GroupKeyEntry,
        guardian: str,
        answer: bytes | BaseException,
    ) -> None:
        """Keep a guardian's share if it has signed it for this order, or why there is none."""
        index = entry.index_of(guardian)
        if isinstance(answer, BaseException):
            self._refused[guardian] = answer
        elif index is None:
            self._refused[guardian] = PartRefused(f"{guardian} has no share of this key")
        else:
            release = self._release
            place = share_place(
                released.chain_id, release.record_id, release.order, guardian, release.reader
            )
            try:
                opened = self._key.open(answer, place)
                part = released.accept(opened, GUARDIAN, guardian, self._key_of(guardian))
            except (OpeningRejected, PartRefused) as error:
                self._refused[guardian] = error
            else:
                self._shares[index] = part

    async def _set_aside_wrong(self, slot: SharedSlot, bodies: Mapping[int, bytes]) -> bool:
        """Take the wrong shares out of those that are combined; say whether there was one."""
        wrong = await asyncio.to_thread(slot.wrong, bodies)
        for index in wrong:
            part = self._shares.pop(index)
            self._refused[part.member_id] = PartRefused(f"the share of {part.member_id} is wrong")
            if not slot.may_be_older(part.body):
                self._accuse(part, slot.octets)
        return bool(wrong)

    def _accuse(self, part: chain_pb.ReleasePart, slot: bytes) -> None:
        self.evidence.append(
            Evidence(part.member_id, self._release.record_id, exact_bytes(part), slot)
        )

    def _too_few(self, threshold: int) -> BaseException:
        """Return why no key comes out: what all guardians say, if they say one thing."""
        told = {guardian: explained(error) for guardian, error in self._refused.items()}
        if not self._shares and len({error.reason for error in told.values()}) == 1:
            return next(iter(self._refused.values()))
        why = ", ".join(f"{guardian}: {error.reason}" for guardian, error in sorted(told.items()))
        return SharesMissing(f"{len(self._shares)} of {threshold} shares ({why})")

    def _key_of(self, member: str) -> bytes:
        found = self._alliance.members.get(member)
        if found is None:
            raise PartRefused(f"{member} is no member")
        return found.public_key

    async def _asked(
        self, method: str, call: Callable[[chain_pb.AuthorizedRead, float], Awaitable[T]]
    ) -> T:
        """Return a storage's answer; it may not have carried the order out yet."""
        return await patiently(
            lambda left: call(
                release_read(self._alliance, self._release, self._signer, method), left
            ),
            PART_SECONDS,
            not_yet=NOT_YET,
            pause_seconds=PART_PAUSE_SECONDS,
        )
