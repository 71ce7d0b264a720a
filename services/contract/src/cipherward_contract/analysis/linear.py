"""Integers in policies: sums of attributes and constants, compared with zero."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_contract.analysis.vocabulary import NOW, USES
from cipherward_contract.templates.types import INTEGER_MAX

LONG_MAX = 2**63 - 1  # beyond it Cedar's arithmetic is an error
# What only grows while a contract lives; the time also while nobody acts.
NOW_ONLY_GROWS = frozenset({NOW})
GROWING = NOW_ONLY_GROWS | {USES}


@dataclass(frozen=True, slots=True)
class Linear:
    """`constant` plus the sum of `factor` x path over `parts`, sorted by path, no factor 0."""

    parts: tuple[tuple[str, int], ...] = ()
    constant: int = 0

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """Return this plus `factor` times the other."""
        summed = dict(self.parts)
        for path, count in other.parts:
            summed[path] = summed.get(path, 0) + factor * count
        parts = tuple(sorted((path, count) for path, count in summed.items() if count))
        return Linear(parts, self.constant + factor * other.constant)

    def times(self, factor: int) -> Linear:
        """Return `factor` times this."""
        return Linear().plus(self, factor)

    @property
    def may_overflow(self) -> bool:
        """Whether attributes of 62 bits could make it longer than Cedar's integers."""
        most = sum(abs(count) for _, count in self.parts) * INTEGER_MAX + abs(self.constant)
        return most > LONG_MAX

    @property
    def is_growing(self) -> bool:
        """Whether it can only grow while a contract lives: what else it has is fixed terms."""
        return all(
            count > 0 if path in GROWING else path.startswith("resource.terms.")
            for path, count in self.parts
        )

    @property
    def falls(self) -> bool:
        """Whether people would say it the other way round: what grows, or is first, is negative."""
        counts = dict(self.parts)
        leading = next((path for path in (NOW, USES) if path in counts), "")
        if leading:
            return counts[leading] < 0
        return bool(self.parts) and self.parts[0][1] < 0

    def grows_with(self, paths: frozenset[str]) -> bool:
        """Say whether one of `paths` is a part of it."""
        return any(path in paths for path, _ in self.parts)

    def in_words(self, sign: str) -> str:
        """Return `left SIGN right` with nothing negative on either side."""
        left = [(path, count) for path, count in self.parts if count > 0]
        right = [(path, -count) for path, count in self.parts if count < 0]
        return f"{_side(left, max(self.constant, 0))} {sign} {_side(right, max(-self.constant, 0))}"


def _side(parts: list[tuple[str, int]], constant: int) -> str:
    words = [short(path) if count == 1 else f"{count} x {short(path)}" for path, count in parts]
    if constant or not words:
        words.append(str(constant))
    return " + ".join(words)


def short(path: str) -> str:
    """Return a path as people say it: without its root, except where that is what it is of."""
    for root in ("context.", "resource."):
        path = path.removeprefix(root)
    return path.replace("principal.", "the actor's ")
