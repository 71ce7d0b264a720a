"""What policies and properties ask of the world, collected: words that are compared, and cuts.

Texts are only ever compared, so a text needs no more values than the constants it may meet, and
one more for each attribute that it may meet: with those every answer that any values could give is
given. A sum of integers needs no more than the sides of the cuts that some policy makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cipherward_contract.analysis.conditions import (
    Among,
    Condition,
    Flag,
    Order,
    Same,
    Text,
)
from cipherward_contract.analysis.evaluation import atoms
from cipherward_contract.analysis.linear import Linear

ANOTHER = "another"  # a value that no policy names; no word of a closed list has a space in it


@dataclass(slots=True)
class Vocables:
    """The pools of texts and the cuts of sums, over everything that was noted."""

    _pools: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    _cuts: dict[Linear, set[str]] = field(default_factory=dict[Linear, set[str]])
    _askers: dict[str | Linear, set[str]] = field(default_factory=dict[str | Linear, set[str]])

    def note(self, transition: str, conditions: Iterable[Condition]) -> None:
        """Take in what the conditions of a transition ask."""
        for condition in conditions:
            for atom in atoms(condition):
                match atom:
                    case Order(form, sign):
                        self._cuts.setdefault(form, set()).add(sign)
                        asked: list[str | Linear] = [form]
                    case Same(left, right):
                        self._meet(left, right)
                        asked = [text.word for text in (left, right) if text.is_path]
                    case Among(path, element):
                        self._meet(Text(path, is_path=True), element)
                        asked = [path, *([element.word] if element.is_path else [])]
                    case Flag(path):
                        asked = [path]
                    case _:
                        asked = []
                for one in asked:
                    self._askers.setdefault(one, set()).add(transition)

    def is_shared(self, asked: str | Linear) -> bool:
        """Say whether more than one transition asks for an attribute or a sum."""
        return len(self._askers.get(asked, ())) > 1

    def offer(self, path: str, words: Iterable[str]) -> None:
        """Let a text of a closed list be as many of its words that nobody names as may matter."""
        joined = self._pools.get(path)
        if joined is None:
            return
        others = sum(word.startswith(_OWN) for word in joined)
        unnamed = [word for word in sorted(words) if word not in joined]
        joined.update(unnamed[:others])

    def meet(self, left: str, right: str) -> None:
        """Let two attributes have values in common."""
        self._meet(Text(left, is_path=True), Text(right, is_path=True))

    def _meet(self, *texts: Text) -> None:
        """Join the pools of what is compared; an attribute's name stands for a value of its own."""
        joined: set[str] = set()
        for text in texts:
            joined |= self._pools.get(text.word, set()) if text.is_path else set()
            joined.add(_own(text.word) if text.is_path else text.word)
        for name in [one for one in self._pools if _own(one) in joined]:
            joined |= self._pools[name]
        for name in [word.removeprefix(_OWN) for word in joined if word.startswith(_OWN)]:
            self._pools[name] = joined

    def pool(self, path: str) -> list[str]:
        """Return the values that a text may have: constants, then others that are not named."""
        joined = self._pools.get(path, {_own(path)})
        named = sorted(word for word in joined if not word.startswith(_OWN))
        others = sum(word.startswith(_OWN) for word in joined)
        return [*named, *(f"{ANOTHER} {number}" for number in range(others))]

    def sides(self, form: Linear) -> list[frozenset[int]]:
        """Return the signs of a sum, those together that nobody tells apart."""
        cuts = self._cuts.get(form, set())
        below, above = "<" in cuts or "==" in cuts, "<=" in cuts or "==" in cuts
        if below and above:
            return [frozenset({-1}), frozenset({0}), frozenset({1})]
        return [frozenset({-1}), frozenset({0, 1})] if below else [frozenset({-1, 0}), _ABOVE]


_OWN = "\x00"
_ABOVE = frozenset({1})


def _own(path: str) -> str:
    """Return what stands in a pool for one more value, of the attribute at `path`."""
    return _OWN + path


def sign_words(form: Linear, signs: frozenset[int]) -> str:
    """Return what is known of a sum's sign, in words."""
    words: Mapping[frozenset[int], str] = {
        frozenset({-1}): "<",
        frozenset({0}): "=",
        frozenset({1}): ">",
        frozenset({-1, 0}): "<=",
        frozenset({0, 1}): ">=",
    }
    return form.in_words(words.get(signs, "?"))
