"""What the answers to a world's questions can be, in one transition from one point of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward_chain.acts import DIGEST_BYTES
from cipherward_contract.analysis.actors import (
    MEMBER,
    PATIENT,
    equal_attributes,
    sorts_of,
)
from cipherward_contract.analysis.atoms import ANOTHER, Vocables
from cipherward_contract.analysis.bounds import Moment, possible_signs
from cipherward_contract.analysis.linear import NOW_ONLY_GROWS, Linear
from cipherward_contract.analysis.vocabulary import ARGUMENTS, STATE, TERMS
from cipherward_contract.analysis.worlds import Answer, Question
from cipherward_contract.templates.types import FieldType
from cipherward_contract.templates.values import POLICY_BYTES_MAX

SCHEMA, KIND, ROLE = "principal.schema", "principal.kind", "principal.role"
PARTIES = "principal.parties"
NOBODY = "nobody"  # the sort of who takes what no act takes: a timer's transition has no actor


@dataclass(frozen=True, slots=True)
class Possible:
    """The answers that types, parties and what came before leave open.

    sort: what the actor is. party: as whom it acts, or "". before: what was known at the point
    of the history, of what lasts.
    """

    moment: Moment
    vocables: Vocables
    state: str
    sort: str
    party: str
    creator: str | None
    before: Mapping[Question, Answer]

    def assumed(self) -> dict[Question, Answer]:
        """Return what is known from the start: what lasts, and who acts."""
        known = {q: answer for q, answer in self.before.items() if q.kind != "signs"}
        known[Question("text", SCHEMA)] = MEMBER if self.sort == NOBODY else self.sort
        is_member = self.sort in (MEMBER, NOBODY)
        known[Question("text", KIND)] = "member" if is_member else "pseudonym"
        known[Question("text", STATE)] = self.state
        if self.party:
            known[Question("among", PARTIES, self.party)] = True
        return known

    def __call__(
        self, question: Question, assumed: Mapping[Question, Answer], /
    ) -> Sequence[Answer]:
        """Return the possible answers, in a fixed order."""
        match question.kind:
            case "text":
                return self._texts(question.path, assumed)
            case "among":
                return self._among(question)
            case "signs":
                return self._signs(question, assumed)
            case "flag":
                return (False, True)
            case _:
                return (False, True, None) if question.errs else (False, True)

    def _type(self, path: str) -> FieldType | None:
        template, transition = self.moment.template, self.moment.transition
        if path.startswith(TERMS):
            return template.terms.get(path.removeprefix(TERMS))
        return transition.arguments.get(path.removeprefix(ARGUMENTS))

    def _texts(self, path: str, assumed: Mapping[Question, Answer]) -> list[str]:
        if self.sort == NOBODY and path.startswith("principal."):
            return [""]
        if self.sort == MEMBER and path in _NOT_OF_MEMBERS:
            return [""]
        found = [word for word in self.vocables.pool(path) if self._fits(path, word)]
        for left, right in self._equal():
            if path in (left, right):
                other = Question("text", right if path == left else left)
                found = [word for word in found if assumed.get(other, word) == word]
        return found

    def _equal(self) -> list[tuple[str, str]]:
        party = self.moment.template.parties.get(self.party)
        pair = None if party is None else equal_attributes(party)
        return [] if pair is None else [pair]

    def _fits(self, path: str, word: str) -> bool:
        """Say whether an attribute can have a value, by its type or by who the actor is."""
        if path.startswith("principal."):
            return word != "" or (path, self.sort) in _EMPTY_ACTORS or path not in _FILLED
        kind = self._type(path)
        if kind is None:
            return True
        if kind.kind == "text":
            return word in kind.names
        if word.startswith(ANOTHER):
            return True
        if kind.kind == "bytes":  # policies see hex, and long values by their digest
            shown = (n if n <= POLICY_BYTES_MAX else DIGEST_BYTES for n in kind.numbers)
            return len(word) in {2 * length for length in shown}
        return word != "" or kind.kind in _MAY_BE_EMPTY

    def _among(self, question: Question) -> tuple[Answer, ...]:
        if question.path == PARTIES:
            return (False, True) if self._may_be(question.word) else (False,)
        kind = self._type(question.path)
        if kind is not None and kind.kind == "texts" and question.word not in kind.names:
            return (False,)
        return (False, True)

    def _may_be(self, name: str) -> bool:
        party = self.moment.template.parties.get(name)
        if party is None or self.sort not in sorts_of(party):
            return False
        return party.kind != "creator" or self.creator in (None, self.sort)

    def _signs(
        self, question: Question, assumed: Mapping[Question, Answer]
    ) -> list[frozenset[int]]:
        form = question.form
        signs = possible_signs(form, self.moment)
        found = [side for side in self.vocables.sides(form) if side & signs]
        earlier = self.before.get(question)
        if isinstance(earlier, frozenset):
            found = [side for side in found if self._may_become(form, earlier, side)]
        for other, answer in assumed.items():
            if other.kind == "signs" and other.form.parts == form.parts:
                assert isinstance(answer, frozenset)
                further = form.constant - other.form.constant
                found = [side for side in found if _agree(side, answer, further)]
        return found

    def _may_become(self, form: Linear, earlier: frozenset[int], side: frozenset[int]) -> bool:
        """Say whether a growing sum that was on one side can be on another now."""
        if not self.moment.used and not form.grows_with(NOW_ONLY_GROWS):
            return side == earlier
        return max(side) >= min(earlier)


# What a member's own act shows none of, what staff always show, and who is never nobody's.
_NOT_OF_MEMBERS = frozenset({ROLE, "principal.scope"})
_FILLED = frozenset({ROLE, "principal.member", "principal.scope"})
_EMPTY_ACTORS = frozenset({(ROLE, PATIENT)})
_MAY_BE_EMPTY = frozenset({"member", "public_key", "instance"})


def _agree(side: frozenset[int], other: frozenset[int], further: int) -> bool:
    """Say whether x + further can be on `side` while x is on the other side."""
    if further == 0:
        return bool(side & other)
    if further > 0:  # x >= 0 makes x + further > 0
        return max(side) > 0 if min(other) >= 0 else True
    return min(side) < 0 if max(other) <= 0 else True
