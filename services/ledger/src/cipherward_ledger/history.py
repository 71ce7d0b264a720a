"""Which validators sign which heights, and the signed headers that announced each change of them.

Small, and kept for ever, also where the blocks around a change are pruned: every receipt carries
the changes that lead from the genesis to the set that signed its block.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_chain.comet import ValidatorSet


@dataclass(frozen=True, slots=True)
class Term:
    """A set of validators from its first height on.

    change: the header before that height, which announced the set, with its commit; None for the
    first set, which is the genesis's.
    """

    first_height: int
    validators: ValidatorSet
    change: chain.ValidatorChange | None


class ValidatorHistory:
    """The terms of an alliance's validators, by ascending height; empty before the first block."""

    def __init__(self) -> None:
        self._terms: list[Term] = []
        self._first_heights: list[int] = []

    @property
    def newest(self) -> ValidatorSet | None:
        """The set of the newest known height."""
        return self._terms[-1].validators if self._terms else None

    def add(self, term: Term) -> None:
        """Append a term, which begins later than the others."""
        self._terms.append(term)
        self._first_heights.append(term.first_height)

    def at(self, height: int) -> ValidatorSet:
        """Return the set that signs the block of `height`.

        Raises:
            LookupError: the history begins later.
        """
        count = bisect_right(self._first_heights, height)
        if not count:
            raise LookupError(f"the validators of height {height} are not known")
        return self._terms[count - 1].validators

    def changes_to(self, height: int) -> list[chain.ValidatorChange]:
        """Return what leads from the genesis to the set of `height`, by ascending height."""
        count = bisect_right(self._first_heights, height)
        return [term.change for term in self._terms[:count] if term.change is not None]

    def announced_by(self, height: int) -> chain.ValidatorChange | None:
        """Return the change that the header of `height` announced, if it announced one."""
        count = bisect_right(self._first_heights, height + 1)
        term = self._terms[count - 1] if count else None
        return term.change if term is not None and term.first_height == height + 1 else None
