"""A ceremony over an ordered log: a pure function of plan, start and log, the same for everybody.

Source: Gennaro, Jarecki, Krawczyk and Rabin, "Secure distributed key generation for discrete-log
based cryptosystems", J. Cryptology 20 (2007): Pedersen's commitments fix the qualified dealers
while the key is still hidden, so nobody bends the key by dropping out late. In place of a second
round of complaints each dealer proves that its points open its commitments; one that hides them is
rebuilt in public. Resharing: Desmedt and Jajodia (1997); Wong, Wang and Wing (2002). Security holds
for static corruption of fewer than `threshold` members; liveness for at most f faulty ones.

Windows are in heights. One opened at height o takes messages of the heights o to o + window - 1,
its deadline. It closes early with the message of the last one that may speak; the next window then
takes messages from the next height on. A window in which nobody may speak is skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from cipherward_threshold.group.ceremony import phases, rules
from cipherward_threshold.group.ceremony.facts import Facts
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.errors import MessageRefused
from cipherward_threshold.group.keys import ThresholdKey

TOO_FEW_ENROLLED: Final = "TOO_FEW_ENROLLED"
TOO_FEW_DEALERS: Final = "TOO_FEW_DEALERS"
NOT_REBUILT: Final = "NOT_REBUILT"
NO_KEY: Final = "NO_KEY"
TOO_FEW_READY: Final = "TOO_FEW_READY"
FAILURES: Final = (NO_KEY, NOT_REBUILT, TOO_FEW_DEALERS, TOO_FEW_ENROLLED, TOO_FEW_READY)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A message that was accepted; `body` is the form that `Transcript.feed` returned."""

    height: int
    sender: str
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Completed:
    """The key is made; `ready` are the indexes of the members that proved their share."""

    key: ThresholdKey
    ready: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """No key was made, for a reason of FAILURES; another ceremony may be begun."""

    reason: str


Outcome: TypeAlias = Completed | Failed


class Transcript:
    """The public side of a ceremony.

    Args:
        start: the height of the order that begins it; messages count from the next one on.
    """

    __slots__ = ("_facts", "_opened", "_outcome", "_phase", "plan", "start")

    def __init__(self, plan: Plan, start: int) -> None:
        self.plan = plan
        self.start = start
        self._facts = Facts(plan)
        self._phase: str = phases.ENROL
        self._opened = start + 1
        self._outcome: Outcome | None = None

    @classmethod
    def restore(cls, plan: Plan, start: int, log: Sequence[LogEntry]) -> Transcript:
        """Return the transcript after a log of messages that were accepted before.

        They are parsed, and their proofs are not checked again. Windows are as at the last
        message's height: `advance` brings them to the present one.

        Raises:
            MessageRefused: the log is not one that `feed` made.
        """
        found = cls(plan, start)
        for entry in log:
            index = found._admit(entry.height, entry.sender, entry.kind)
            rules.recall(found._facts, entry.kind, index, entry.body)
            found._settle(entry.height)
        return found

    def copy(self) -> Transcript:
        """Return a transcript that goes on apart from this one."""
        found = Transcript(self.plan, self.start)
        found._facts = self._facts.copy()
        found._phase, found._opened = self._phase, self._opened
        found._outcome = self._outcome
        return found

    @property
    def facts(self) -> Facts:
        """What has been said and follows from it; to be read only."""
        return self._facts

    @property
    def phase(self) -> str:
        """The phase whose window is open, or "over"."""
        return self._phase

    @property
    def opened(self) -> int:
        """The first height whose messages the open window takes."""
        return self._opened

    @property
    def deadline(self) -> int:
        """The last height of the open window; of the last one when the ceremony is over."""
        return self._opened + self.plan.window - 1

    @property
    def outcome(self) -> Outcome | None:
        """How the ceremony ended, or None while it runs."""
        return self._outcome

    @property
    def awaited(self) -> tuple[str, ...]:
        """The members that may speak in the open window and have not."""
        if self._phase == phases.OVER:
            return ()
        names = self._names(self._phase)
        return tuple(names[index - 1] for index in self._facts.awaited(self._phase))

    def advance(self, height: int) -> None:
        """Close the windows that are over at `height`: the first thing of a block."""
        while self._phase != phases.OVER and height > self.deadline:
            self._close(self.deadline + 1)

    def feed(self, height: int, sender: str, kind: str, body: bytes) -> bytes:
        """Take a message of a block; return the form of it that is to be kept.

        Raises:
            MessageRefused: late, early, repeated, malformed or false; it leaves no trace.
        """
        index = self._admit(height, sender, kind)
        kept = rules.hear(self._facts, kind, index, body)
        self._settle(height)
        return kept

    def _admit(self, height: int, sender: str, kind: str) -> int:
        """Return the index of a sender that may speak now, or raise `MessageRefused`."""
        self.advance(height)
        if self._phase == phases.OVER:
            raise MessageRefused("the ceremony is over")
        if kind != self._phase or height < self._opened:
            raise MessageRefused("the window of this kind of message is not open")
        if sender not in self.awaited:
            raise MessageRefused("nothing is awaited from this member in the open window")
        return self._names(kind).index(sender) + 1

    def _settle(self, height: int) -> None:
        if not self._facts.awaited(self._phase):
            self._close(height + 1)

    def _names(self, phase: str) -> tuple[str, ...]:
        return self.plan.dealers if phase in phases.DEALERS_SPEAK else self.plan.members

    def _close(self, following: int) -> None:
        """Close the open window, and open the next one in which anybody may speak."""
        order = self.plan.phases
        closing = self._phase
        for phase in order[order.index(closing) :]:
            if phase != closing and self._facts.awaited(phase):
                self._phase, self._opened = phase, following
                return
            failure = self._verdict(phase)
            if failure:
                self._end(Failed(failure))
                return
        if self._facts.key is not None:
            self._end(Completed(self._facts.key, tuple(sorted(self._facts.ready))))

    def _end(self, outcome: Outcome) -> None:
        self._phase, self._outcome = phases.OVER, outcome

    def _verdict(self, phase: str) -> str:
        """Return why the ceremony cannot go on after a phase, "" if it can."""
        facts, plan = self._facts, self.plan
        if phase == phases.ENROL and len(facts.enrolled) < plan.ready_min:
            return TOO_FEW_ENROLLED
        if phase == phases.ENROL and len(facts.may_deal) < plan.dealers_min:
            return TOO_FEW_DEALERS
        if phase == phases.DEAL and len(facts.deals) < plan.dealers_min:
            return TOO_FEW_DEALERS
        if phase == phases.ANSWER and len(facts.qualified) < plan.dealers_min:
            return TOO_FEW_DEALERS
        if phase == phases.REBUILD and facts.lost:
            return NOT_REBUILT
        if phase == phases.READY:
            return "" if len(facts.ready) >= plan.ready_min else TOO_FEW_READY
        if phase == plan.settles:
            facts.key = facts.make_key()
            return "" if facts.key else NO_KEY
        return ""
