"""Shared keys and whole ceremonies in one process, for tests of whoever uses them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.messages import sealed_part
from cipherward_threshold.group.ceremony.participant import Participant
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.sealing import Sealing
from cipherward_threshold.group.ceremony.seeds import SEED_BYTES, sealing_secret
from cipherward_threshold.group.ceremony.transcript import Completed, LogEntry, Transcript
from cipherward_threshold.group.curve import G, octets, random_scalar
from cipherward_threshold.group.errors import MessageRefused
from cipherward_threshold.group.keys import RECORD, ThresholdKey
from cipherward_threshold.group.polynomials import evaluate

Messages: TypeAlias = list[tuple[str, bytes]]
Meddling: TypeAlias = Callable[[str, str, Messages], Messages]
"""`meddle(phase, member, messages)` gives what a member says in place of what it should."""
SealingOf: TypeAlias = Callable[[bytes], Sealing]
"""Makes the sealing of a ceremony from its 96-byte secret."""


def dealt_key(
    *, chain_id: str, threshold: int = 3, holders: int = 4, purpose: str = RECORD
) -> tuple[ThresholdKey, tuple[bytes, ...]]:
    """Return a key and its holders' shares (32 bytes each), made by one dealer."""
    coefficients = [random_scalar() for _ in range(threshold)]
    shares = [evaluate(coefficients, index) for index in range(1, holders + 1)]
    key = ThresholdKey(
        chain_id,
        purpose,
        1,
        1,
        threshold,
        octets(G * coefficients[0]),
        tuple(octets(G * share) for share in shares),
    )
    return key, tuple(octets(share) for share in shares)


def silent(names: Collection[str], *when: str) -> Meddling:
    """Return the meddling of members that say nothing in these phases; in all, if none is named."""
    return lambda phase, name, said: [] if name in names and phase in (when or (phase,)) else said


class Rehearsal:
    """A ceremony with all its members: a block a height, in it whatever they owe.

    Args:
        sealing: see SealingOf.
        start: height of the order.
        seeds: of members whose seed is not to be random.
        old_shares: in a resharing, by member.
        forgetful: every member is made anew from its seed for every block, on a transcript that is
            restored from the log, as after a crash.
    """

    def __init__(
        self,
        plan: Plan,
        sealing: SealingOf,
        *,
        start: int = 10,
        seeds: Mapping[str, bytes] | None = None,
        old_shares: Mapping[str, bytes] | None = None,
        forgetful: bool = False,
    ) -> None:
        self.plan = plan
        self.transcript = Transcript(plan, start)
        self.height = start
        self.log: list[LogEntry] = []
        self.deals: dict[str, bytes] = {}
        self.refused: list[tuple[str, str, str]] = []  # (sender, kind, why)
        self._sealing = sealing
        everybody = {*plan.members, *plan.dealers} - {""}
        self.seeds = {
            name: (seeds or {}).get(name, secrets.token_bytes(SEED_BYTES))
            for name in sorted(everybody)
        }
        self._old_shares = dict(old_shares or {})
        self._forgetful = forgetful
        self._participants: dict[str, Participant] = {}

    def participant(self, member: str) -> Participant:
        """Return a member's side of the ceremony."""
        if member not in self._participants or self._forgetful:
            seed = self.seeds[member]
            key = self._sealing(sealing_secret(seed, self.plan.session))
            old_share = self._old_shares.get(member)
            self._participants[member] = Participant(self.plan, member, seed, key, old_share)
        return self._participants[member]

    def parts(self, member: str) -> dict[str, bytes]:
        """Return the sealed parts for a member, by dealer."""
        if member not in self.plan.members:
            return {}
        return {dealer: sealed_part(self.plan, body, member) for dealer, body in self.deals.items()}

    def owed(self, member: str) -> Messages:
        """Return what a member owes in the window that is open."""
        return self.participant(member).owed(self.transcript, self.parts(member))

    def block(self, messages: Mapping[str, Messages]) -> None:
        """Make the next block with these messages; refused ones are noted."""
        self.height += 1
        self.transcript.advance(self.height)
        for sender, said in messages.items():
            for kind, body in said:
                self.say(sender, kind, body)

    def say(self, sender: str, kind: str, body: bytes) -> None:
        """Feed one message at the present height."""
        try:
            kept = self.transcript.feed(self.height, sender, kind, body)
        except MessageRefused as error:
            self.refused.append((sender, kind, str(error)))
            return
        self.log.append(LogEntry(self.height, sender, kind, kept))
        if kind == phases.DEAL:
            self.deals[sender] = body

    def run(self, meddle: Meddling | None = None, *, until: str = phases.OVER) -> None:
        """Make blocks until a phase is open."""
        while True:
            if self._forgetful:
                self.transcript = self.restored()
            self.transcript.advance(self.height + 1)  # where the next messages will be
            phase = self.transcript.phase
            if phase in (until, phases.OVER):
                return
            said = {member: self.owed(member) for member in self.seeds}
            if meddle is not None:
                said = {member: meddle(phase, member, owed) for member, owed in said.items()}
            self.block(said)

    def restored(self) -> Transcript:
        """Return the transcript as somebody who has only the log makes it."""
        found = Transcript.restore(self.plan, self.transcript.start, self.log)
        found.advance(self.height)
        return found

    @property
    def key(self) -> ThresholdKey:
        """The key of a ceremony that was completed."""
        return self._completed().key

    @property
    def ready(self) -> tuple[str, ...]:
        """The members that proved their share."""
        return tuple(self.plan.members[index - 1] for index in self._completed().ready)

    def share(self, member: str) -> bytes:
        """Return a member's share, or raise `NoShare`."""
        return self.participant(member).share(self.transcript, self.parts(member))

    def _completed(self) -> Completed:
        outcome = self.transcript.outcome
        if not isinstance(outcome, Completed):
            raise AssertionError(f"the ceremony has not completed: {outcome}")
        return outcome
