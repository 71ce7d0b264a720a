"""One ceremony as a member follows it: pure arithmetic over what was read, for a thread.

The transcript is the same that the contract keeps on the chain: what a block has taken is fed to it
at the block's height, so that both see the same windows, the same qualified dealers, the same key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from cipherward_chain.group_key_orders import CeremonyOrder
from cipherward_chain.group_keys import GroupKeyEntry, KeyHolder
from cipherward_member.ceremony_sealing import CeremonySealing
from cipherward_member.ceremony_store import CeremonyMessage
from cipherward_threshold.group.ceremony.messages import sealed_part
from cipherward_threshold.group.ceremony.participant import Participant
from cipherward_threshold.group.ceremony.phases import DEAL
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.seeds import sealing_secret
from cipherward_threshold.group.ceremony.transcript import Completed, Failed, Transcript
from cipherward_threshold.group.errors import MessageRefused, OctetsRejected
from cipherward_threshold.group.keys import ThresholdKey

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BEFORE_ALL: Final = (0, 0)  # a place in the log before the first message


@dataclass(frozen=True, slots=True)
class Self:
    """Who follows: the chain and the member."""

    chain_id: str
    member: str


def threshold_key(chain_id: str, entry: GroupKeyEntry) -> ThresholdKey:
    """Return a sharing as the key that slots and shares are made and verified with."""
    return ThresholdKey(
        chain_id=chain_id,
        purpose=entry.purpose,
        key_epoch=entry.key_epoch,
        sharing=entry.sharing,
        threshold=entry.threshold,
        public_key=entry.public_key,
        points=entry.points,
    )


def plan_of(chain_id: str, order: CeremonyOrder) -> Plan:
    """Return the plan of an ordered ceremony: the one that the contract has made of it.

    Raises:
        PlanRejected: no contract orders that.
    """
    if order.old is None:
        return Plan.new_key(
            chain_id=chain_id,
            purpose=order.purpose,
            ceremony=order.ceremony,
            key_epoch=order.key_epoch,
            members=order.members,
            window=order.window,
        )
    return Plan.resharing(
        threshold_key(chain_id, order.old),
        ceremony=order.ceremony,
        holders=[holder.member for holder in order.old.holders],
        ready=order.dealers,
        members=order.members,
        window=order.window,
    )


class FollowedCeremony:
    """The transcript of a ceremony, and this member's side of it. One thread at a time."""

    def __init__(self, me: Self, order: CeremonyOrder) -> None:
        """Begin at the order, or raise `PlanRejected`."""
        self.order = order
        self._me = me
        self._plan = plan_of(me.chain_id, order)
        self._transcript = Transcript(self._plan, order.start)
        self._parts: dict[str, bytes] = {}  # sealed for us, by dealer
        self._height = order.start
        self.read_to = BEFORE_ALL

    @property
    def awaits_us(self) -> bool:
        """Whether this member may speak in the open window and has not."""
        return self._me.member in self._transcript.awaited

    @property
    def gets_share(self) -> bool:
        """Whether the plan has a share for this member."""
        return self._plan.receiver(self._me.member) is not None

    @property
    def phase(self) -> str:
        """The open window's phase, or "over"."""
        return self._transcript.phase

    @property
    def failure(self) -> str:
        """Why nobody gets a key, or "" while that may still come or has come."""
        outcome = self._transcript.outcome
        return outcome.reason if isinstance(outcome, Failed) else ""

    def take(self, messages: Sequence[CeremonyMessage], height: int) -> None:
        """Take what blocks have taken, in order, and go on to the block behind `height`.

        Args:
            messages: those behind `read_to`.
            height: the newest applied block.
        """
        for message in messages:
            self.read_to = message.height, message.place
            try:
                self._transcript.feed(message.height, message.sender, message.kind, message.body)
            except MessageRefused as error:
                # The contract has taken it: this release follows other rules than the chain's.
                log.error("ceremony_message_not_followed", kind=message.kind, why=str(error))
                continue
            if message.kind == DEAL:
                self._keep_part(message)
        self._height = max(self._height, height)
        self._transcript.advance(self._height + 1)

    def owed(self, seed: bytes, old_share: bytes | None) -> list[tuple[str, bytes]]:
        """Return kind and body of what this member still has to say in the open window."""
        return self._participant(seed, old_share).owed(self._transcript, self._parts)

    def share(self, seed: bytes) -> bytes:
        """Return this member's share of the key that was made, 32 bytes.

        Raises:
            NoShare: it has none.
        """
        return self._participant(seed, None).share(self._transcript, self._parts)

    def entry(self, height: int) -> GroupKeyEntry | None:
        """Return the key that was made, as the state has it from block `height` on, or None."""
        outcome = self._transcript.outcome
        if not isinstance(outcome, Completed):
            return None
        key = outcome.key
        return GroupKeyEntry(
            purpose=key.purpose,
            key_epoch=key.key_epoch,
            sharing=key.sharing,
            threshold=key.threshold,
            public_key=key.public_key,
            holders=tuple(
                KeyHolder(member, index, point, index in outcome.ready)
                for index, (member, point) in enumerate(
                    zip(self._plan.members, key.points, strict=True), start=1
                )
            ),
            ceremony=self.order.ceremony,
            height=height,
        )

    def _participant(self, seed: bytes, old_share: bytes | None) -> Participant:
        secret = sealing_secret(seed, self._plan.session)
        sealing = CeremonySealing(self._me.chain_id, self.order.ceremony, secret)
        return Participant(self._plan, self._me.member, seed, sealing, old_share)

    def _keep_part(self, message: CeremonyMessage) -> None:
        try:
            part = sealed_part(self._plan, message.body, self._me.member)
        except OctetsRejected:  # no share is due to us
            return
        if part:
            self._parts[message.sender] = part
