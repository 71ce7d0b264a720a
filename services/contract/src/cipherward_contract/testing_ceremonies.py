"""What tests of shared keys share: ceremonies in which every member really takes part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import SUITE_SHARED, anchor_record
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import Value
from cipherward_chain.domains import custodian_part_commitment
from cipherward_chain.group_key_orders import SHARE_KEY, CeremonyOrder
from cipherward_chain.group_keys import GroupKeyEntry, group_key_key
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Decided,
    Presented,
    Story,
    instantiate,
    vote,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_member.ceremony_sealing import CeremonySealing
from cipherward_member.shared_keys import plan_of, threshold_key
from cipherward_threshold.group.ceremony.messages import sealed_part
from cipherward_threshold.group.ceremony.participant import Participant, sealing_secret
from cipherward_threshold.group.ceremony.transcript import Transcript
from cipherward_threshold.group.errors import MessageRefused, NoShare
from cipherward_threshold.group.tdh2 import Label, encapsulate

WINDOW = 12

# What a member says in place of what it owes, given the phase and the member's id.
Meddle = Callable[[str, str, list[tuple[str, bytes]]], list[tuple[str, bytes]]]


def as_owed(_: str, __: str, owed: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Say what is owed: an honest member."""
    return owed


def ceremony_message(ceremony: bytes, kind: str, body: bytes) -> pb.Act:
    """Return the act of a message in a ceremony."""
    return pb.Act(ceremony_message=pb.CeremonyMessage(instance_id=ceremony, kind=kind, body=body))


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key that was made, and the shares of those who have one, by member."""

    entry: GroupKeyEntry
    shares: Mapping[str, bytes]


class Ceremony:
    """A ceremony on a story, with every member's side of it; it reads nothing but the blocks."""

    def __init__(
        self,
        story: Story,
        order: CeremonyOrder,
        *,
        old: Mapping[str, bytes] | None = None,
        meddle: Meddle = as_owed,
    ) -> None:
        """Join a ceremony that was just ordered.

        Args:
            old: the shares of the sharing that is renewed, by member.
        """
        self.story = story
        self.order = order
        self.plan = plan_of(story.genesis.chain_id, order)
        self.transcript = Transcript(self.plan, order.start)
        self._meddle = meddle
        self._parts: dict[str, dict[str, bytes]] = {}
        everybody = sorted({*self.plan.members, *filter(None, self.plan.dealers)})
        self.members = {
            member: self._participant(member, (old or {}).get(member)) for member in everybody
        }

    def _participant(self, member: str, old_share: bytes | None) -> Participant:
        seed = hashlib.sha256(member.encode() + self.order.ceremony).digest()
        secret = sealing_secret(seed, self.plan.session)
        sealing = CeremonySealing(self.story.genesis.chain_id, self.order.ceremony, secret)
        return Participant(self.plan, member, seed, sealing, old_share)

    def owed(self, member: str) -> list[tuple[str, bytes]]:
        """Return what a member says in the next block."""
        self.transcript.advance(self.story.height + 1)
        owed = self.members[member].owed(self.transcript, self._parts.get(member, {}))
        return self._meddle(self.transcript.phase, member, owed)

    async def block(self, speakers: Collection[str] | None = None) -> Decided:
        """Make one block with what the speakers (by default all) say; a tick where nobody does."""
        said = [
            (member, message)
            for member in (self.members if speakers is None else speakers)
            for message in self.owed(member)
        ]
        transactions = [
            self.story.transaction(
                MemberSigner(member, seed_of(member)),  # newcomers have such keys too
                ceremony_message(self.order.ceremony, *message),
            )
            for member, message in said
        ]
        tick = self.story.transaction(self.story.member(MEMBERS[0]), TICK)
        decided = await self.story.block(*(transactions or [tick]))
        if transactions:
            for (member, message), result in zip(said, decided.results, strict=True):
                self.hear(decided.height, member, message, applied=result.applied)
        self.transcript.advance(decided.height)
        return decided

    def hear(self, height: int, member: str, message: tuple[str, bytes], *, applied: bool) -> None:
        """Follow a message of a block: what the chain took, the members take, and nothing else."""
        kind, body = message
        try:
            self.transcript.feed(height, member, kind, body)
        except MessageRefused:
            assert not applied
            return
        assert applied
        if kind == "deal":
            for receiver in self.plan.members:
                part = sealed_part(self.plan, body, receiver)
                self._parts.setdefault(receiver, {})[member] = part

    async def run(self, speakers: Collection[str] | None = None) -> Decided:
        """Make blocks until the ceremony is over, and return the one that ended it."""
        while True:
            decided = await self.block(speakers)
            if self.transcript.outcome is not None:
                return decided

    def shares(self) -> dict[str, bytes]:
        """Return the shares of the members that have one."""
        found: dict[str, bytes] = {}
        for member in self.plan.members:
            try:
                parts = self._parts.get(member, {})
                found[member] = self.members[member].share(self.transcript, parts)
            except NoShare:
                continue
        return found


def ceremony_terms(
    purpose: str = "record",
    *,
    members: Sequence[str] = MEMBERS,
    key_epoch: int = 0,
    window: int = WINDOW,
) -> dict[str, Value]:
    """Return the terms of a contract `key-ceremony`."""
    return {
        "purpose": purpose,
        "key_epoch": key_epoch,
        "members": list(members),
        "window": window,
        "vote_seconds": 3_600,
    }


async def begun(
    story: Story,
    instance: bytes,
    purpose: str = "record",
    *,
    members: Sequence[str] = MEMBERS,
    key_epoch: int = 0,
    window: int = WINDOW,
    old: Mapping[str, bytes] | None = None,
    meddle: Meddle = as_owed,
) -> Ceremony:
    """Propose a ceremony, let the members vote for it, and return it begun."""
    terms = ceremony_terms(purpose, members=members, key_epoch=key_epoch, window=window)
    await story.applied(story.member(MEMBERS[0]), instantiate("key-ceremony", instance, terms))
    for member in members:
        decided = await story.applied(story.member(member), vote(instance, "begin", True))
        for order in decided.orders:
            assert order.instruction == SHARE_KEY
            return Ceremony(story, CeremonyOrder.of(order), old=old, meddle=meddle)
    raise AssertionError("these votes do not decide it")


async def shared_key(story: Story, instance: bytes, purpose: str = "record") -> SharedKey:
    """Make a key of all members, and return it with everybody's share."""
    ceremony = await begun(story, instance, purpose)
    await ceremony.run()
    return SharedKey(await entry_of(story, purpose, ceremony.order.key_epoch), ceremony.shares())


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """A record of suite 2: its anchor, the members' slot, and the custodian's key part."""

    anchor: pb.RecordAnchor
    slot: bytes
    custodian_part: bytes


async def shared_record(story: Story, key: GroupKeyEntry, record: bytes) -> SharedRecord:
    """Anchor a record of nobody under a shared key, stored by its author, hospital-a."""
    label = Label(story.genesis.chain_id, record, MEMBERS[0], key.key_epoch)
    slot, _ = encapsulate(threshold_key(story.genesis.chain_id, key), label)
    part = hashlib.sha256(b"custodian's part of " + record).digest()
    anchor = record_anchor(record)
    anchor.suite = SUITE_SHARED
    anchor.key_epoch = key.key_epoch
    anchor.alliance_slot_digest = hashlib.sha256(slot).digest()
    anchor.custodian_part_commitment = custodian_part_commitment(record, part)
    act = anchor_record(anchor, hashlib.sha256(b"slot").digest())
    await story.applied(story.member(MEMBERS[0]), act)
    return SharedRecord(anchor, slot, part)


@dataclass(frozen=True, slots=True)
class Openable:
    """Presents as `presented` does, with what the members can open together."""

    presented: Presented
    opening_key: bytes
    opening: bytes

    @property
    def scope(self) -> str:
        """The scope of the pseudonym."""
        return self.presented.scope

    @property
    def authorizer(self) -> bytes:
        """How a body names the pseudonym."""
        return self.presented.authorizer

    def authorize(self, context: bytes) -> bytes:
        """Return a serialised Authorization."""
        found = pb.Authorization.FromString(self.presented.authorize(context))
        found.presentation.opening_key = self.opening_key
        found.presentation.opening = self.opening
        return exact_bytes(found)


async def entry_of(story: Story, purpose: str, key_epoch: int) -> GroupKeyEntry:
    """Return a shared key as the chain proves it."""
    raw = await story.state(group_key_key(purpose, key_epoch))
    assert raw is not None
    return GroupKeyEntry.from_bytes(raw)
