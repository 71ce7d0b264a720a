"""Which signs a sum of integers can have at all, from the types of what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_contract.analysis.linear import Linear
from cipherward_contract.analysis.vocabulary import ARGUMENTS, NOW, TERMS, USES
from cipherward_contract.templates.document import Template, Transition
from cipherward_contract.templates.types import INTEGER_MAX, FieldType
from cipherward_contract.templates.values import LIST_MAX

_ANY = (-INTEGER_MAX, INTEGER_MAX)


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is asked: at the beginning no time has passed, before a use none is counted.

    A time among the terms is checked against the block of the beginning, one among the arguments
    against the block of the act.
    """

    template: Template
    transition: Transition
    begins: bool
    used: bool


def possible_signs(form: Linear, moment: Moment) -> frozenset[int]:
    """Return the signs that a sum may have: never fewer than it really may."""
    low = high = form.constant
    now = dict(form.parts).get(NOW, 0)
    passed = 0  # factor of the seconds since the beginning
    for path, factor in form.parts:
        if path == NOW:
            continue
        kind = _type_of(path, moment)
        if kind is not None and kind.kind == "time":
            # the time is `now` of its check, plus 1 to so many seconds
            now += factor
            passed -= factor if path.startswith(TERMS) else 0
            least, most = 1, kind.numbers[0]
        else:
            least, most = _range(path, kind, moment)
        low += min(factor * least, factor * most)
        high += max(factor * least, factor * most)
    for factor, most in ((now, INTEGER_MAX), (passed, 0 if moment.begins else INTEGER_MAX)):
        low += min(0, factor * most)
        high += max(0, factor * most)
    return frozenset(
        sign for sign, there in ((-1, low < 0), (0, low <= 0 <= high), (1, high > 0)) if there
    )


def _type_of(path: str, moment: Moment) -> FieldType | None:
    types: Mapping[str, FieldType]
    for root, types in (
        (TERMS, moment.template.terms),
        (ARGUMENTS, moment.transition.arguments),
    ):
        if path.startswith(root):
            return types.get(path.removeprefix(root))
    return None


def _range(path: str, kind: FieldType | None, moment: Moment) -> tuple[int, int]:
    if path == USES:
        return (0, INTEGER_MAX if moment.used else 0)
    if kind is None:
        return _ANY
    if kind.kind == "int":
        return (kind.numbers[0], kind.numbers[1])
    return (0, LIST_MAX) if kind.kind in ("quorum", "count") else _ANY
