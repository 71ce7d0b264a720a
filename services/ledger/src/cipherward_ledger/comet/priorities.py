"""Whose turn it is to propose: CometBFT's proposer priorities, computed from the sets' history.

No header certifies priorities, and a node that begins with others than the rest would wait for
other proposers than they do. They follow from the genesis and every change of the set alone, so
they are computed and never taken from anybody. Where a block was decided in its first round, its
header's proposer confirms them.

Source: CometBFT, types/validator_set.go (IncrementProposerPriority, UpdateWithChangeSet).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward_chain.comet import ValidatorSet
from cipherward_ledger.history import Term

# Priorities stay within so many times the whole power of each other.
WINDOW = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """The priorities of one height, by address, and who proposes its first round."""

    priorities: Mapping[bytes, int]
    proposer: bytes


def turn_at(height: int, terms: Sequence[Term]) -> Turn:
    """Return the priorities of `height`.

    Within a term they repeat after as many heights as there are turns, so the cost does not grow
    with the length of the chain.

    Args:
        height: at least 1.
        terms: every set since the genesis, by ascending first height; later ones are ignored.
    """
    rotation = _Rotation()
    known = [term for term in terms if term.first_height <= height]
    ends = [term.first_height for term in known[1:]] + [height + 1]
    for term, end in zip(known, ends, strict=True):
        rotation.change(term.validators)
        rotation.advance(end - term.first_height)
    return Turn(dict(rotation.priorities), rotation.proposer)


class _Rotation:
    """CometBFT's ValidatorSet, as far as turns go."""

    def __init__(self) -> None:
        self._powers: dict[bytes, int] = {}
        self.priorities: dict[bytes, int] = {}
        self.proposer = b""

    def change(self, validators: ValidatorSet) -> None:
        """Go over to another set: UpdateWithChangeSet with what differs."""
        powers = {one.address: one.power for one in validators.validators}
        # A newcomer begins behind everybody; leaving and coming back must not pay.
        before = sum(({**self._powers, **powers}).values())
        behind = -(before + (before >> 3))
        self.priorities = {one: self.priorities.get(one, behind) for one in sorted(powers)}
        self._powers = powers
        self._centre()

    def advance(self, times: int) -> None:
        """Take so many turns."""
        seen: dict[tuple[int, ...], int] = {}
        left = times
        while left:
            state = tuple(self.priorities.values())
            if state in seen:
                left %= seen[state] - left
                seen.clear()
                if not left:
                    return
            seen[state] = left
            self._step()
            left -= 1

    def _step(self) -> None:
        self._centre()
        for one, power in self._powers.items():
            self.priorities[one] += power
        # The highest; of several the lowest address, and they are in that order.
        self.proposer = max(self.priorities, key=self.priorities.__getitem__)
        self.priorities[self.proposer] -= self._power

    def _centre(self) -> None:
        """Bring priorities into the window, and their mean to 0."""
        values = self.priorities.values()
        window, apart = WINDOW * self._power, max(values) - min(values)
        if apart > window:
            ratio = (apart + window - 1) // window
            self.priorities = {one: _divided(p, ratio) for one, p in self.priorities.items()}
        mean = sum(self.priorities.values()) // len(self.priorities)
        self.priorities = {one: p - mean for one, p in self.priorities.items()}

    @property
    def _power(self) -> int:
        return sum(self._powers.values())


def _divided(dividend: int, divisor: int) -> int:
    """Divide as Go does, towards zero."""
    return dividend // divisor if dividend >= 0 else -(-dividend // divisor)
