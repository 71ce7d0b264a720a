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
from cipherward_chain.group_keys import GroupKeyEntry
from cipherward_member.ceremony_sealing import CeremonySealing
from cipherward_member.ceremony_store import CeremonyMessage
from cipherward_member.shared_keys import entry_of, plan_of
from cipherward_threshold.group.ceremony.messages import sealed_part
from cipherward_threshold.group.ceremony.participant import Participant
from cipherward_threshold.group.ceremony.phases import DEAL
from cipherward_threshold.group.ceremony.seeds import sealing_secret
from cipherward_threshold.group.ceremony.transcript import Completed, Failed, Transcript
from cipherward_threshold.group.errors import MessageRefused, OctetsRejected

log: structlog.stdlib.BoundLogger = structlog.get_logger()

BEFORE_ALL: Final = (0, 0)  # a place in the log before the first message


@dataclass(frozen=True, slots=True)
class Self:
    """Who follows: the chain and the member."""

    chain_id: str
    member: str


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
        made = self._transcript.outcome
        return entry_of(self._plan, made, height) if isinstance(made, Completed) else None

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
