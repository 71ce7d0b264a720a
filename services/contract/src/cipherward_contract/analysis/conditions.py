"""Policies' conditions as a small language of atoms, made from Cedar's own JSON form.

What cannot be taken apart (pattern matching, extension types, arithmetic that is not linear) is one
opaque atom: it may be true or false at any time, and erring where Cedar could err.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeAlias

from cipherward_contract.analysis.linear import Linear
from cipherward_contract.analysis.totality import is_total
from cipherward_contract.analysis.vocabulary import FLAG, NUMBER, TEXT, TEXTS, Vocabulary

# Cedar's JSON of one expression: a map of one operator.
Est: TypeAlias = Mapping[str, Any]  # its leaves have no type of their own


@dataclass(frozen=True, slots=True)
class Fixed:
    """True or false whatever happens."""

    value: bool


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean attribute."""

    path: str


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Both:
    """`left && right`: right is looked at only where left is true."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Either:
    """`left || right`: right is looked at only where left is false."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Choice:
    """`if condition then then else otherwise`."""

    condition: Condition
    then: Condition
    otherwise: Condition


@dataclass(frozen=True, slots=True)
class Order:
    """`form SIGN 0`, where the sign is <, <= or ==."""

    form: Linear
    sign: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text: an attribute's if `is_path`, else a constant."""

    word: str
    is_path: bool


@dataclass(frozen=True, slots=True)
class Same:
    """Two equal texts."""

    left: Text
    right: Text


@dataclass(frozen=True, slots=True)
class Among:
    """An attribute that is a set of texts holds the text."""

    path: str
    element: Text


@dataclass(frozen=True, slots=True)
class Opaque:
    """Anything else, by its Cedar JSON; `errs` says that its evaluation may fail."""

    source: str
    errs: bool


Condition: TypeAlias = Fixed | Flag | Not | Both | Either | Choice | Order | Same | Among | Opaque


class Reading:
    """Reads the conditions of one transition, whose vocabulary tells what each path is."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._types = vocabulary

    def condition(self, est: Est) -> Condition:
        """Return an expression of type Bool."""
        ((operator, value),) = est.items()
        match operator:
            case "Value":
                return Fixed(bool(value))
            case "!":
                return _not(self.condition(value["arg"]))
            case "&&":
                return Both(self.condition(value["left"]), self.condition(value["right"]))
            case "||":
                return Either(self.condition(value["left"]), self.condition(value["right"]))
            case "if-then-else":
                return Choice(*(self.condition(value[part]) for part in ("if", "then", "else")))
            case "has":
                path = _path(value["left"])
                known = path is not None and isinstance(value["attr"], str)
                return Fixed(self._types.has(f"{path}.{value['attr']}")) if known else _opaque(est)
            case "is":
                kinds = {"principal": "Actor", "resource": "Instance"}
                return Fixed(kinds.get(_path(value["left"]) or "") == value["entity_type"])
            case ".":
                path = _path(est)
                return Flag(path) if path and self._kind(path) == FLAG else _opaque(est)
            case "==":
                return self._same(est, value["left"], value["right"])
            case "!=":
                return _not(self._same(est, value["left"], value["right"]))
            case "<" | "<=":
                return self._order(est, operator, value["left"], value["right"])
            case ">" | ">=":
                sign = {">": "<", ">=": "<="}[operator]
                return self._order(est, sign, value["right"], value["left"])
            case "contains":
                return self._contains(est, value["left"], value["right"])
            case "containsAny" | "containsAll":
                return self._contains_more(est, operator, value["left"], value["right"])
            case _:
                return _opaque(est)

    def _kind(self, path: str) -> str:
        return self._types.types.get(path, "")

    def _type_of(self, est: Est) -> str:
        """Return the Cedar type of an expression, as far as it matters; else ""."""
        ((operator, value),) = est.items()
        if operator == "Value":
            if isinstance(value, bool):
                return FLAG
            return {True: NUMBER, False: TEXT}[isinstance(value, int)]
        if operator == ".":
            return self._kind(_path(est) or "")
        if operator == "if-then-else":
            return self._type_of(value["then"])
        if operator in ("+", "-", "*", "neg"):
            return NUMBER
        boolean = ("!", "&&", "||", "==", "!=", "<", "<=", ">", ">=", "contains", "has", "like")
        return FLAG if operator in boolean else ""

    def _same(self, est: Est, left: Est, right: Est) -> Condition:
        for one, other in ((left, right), (right, left)):
            choice = one.get("if-then-else")
            if choice is not None:  # looked at from outside: each of its ends against the other
                return Choice(
                    self.condition(choice["if"]),
                    self._same(est, choice["then"], other),
                    self._same(est, choice["else"], other),
                )
        kinds = {self._type_of(left), self._type_of(right)}
        if kinds == {NUMBER}:
            return self._order(est, "==", left, right)
        if kinds == {FLAG}:
            first, second = self.condition(left), self.condition(right)
            return Choice(first, second, _not(second))
        texts = _text(left), _text(right)
        if kinds == {TEXT} and texts[0] is not None and texts[1] is not None:
            return Same(texts[0], texts[1])
        return _opaque(est)

    def _order(self, est: Est, sign: str, left: Est, right: Est) -> Condition:
        for one, other, turned in ((left, right, False), (right, left, True)):
            choice = one.get("if-then-else")
            if choice is not None:
                ends = [(other, choice[end]) if turned else (choice[end], other) for end in _ENDS]
                then, otherwise = (self._order(est, sign, *pair) for pair in ends)
                return Choice(self.condition(choice["if"]), then, otherwise)
        first, second = self._number(left), self._number(right)
        if first is None or second is None or first.may_overflow or second.may_overflow:
            return _opaque(est)
        return _ordered(first.plus(second, -1), sign)

    def _number(self, est: Est) -> Linear | None:
        ((operator, value),) = est.items()
        if operator == "Value" and isinstance(value, int):
            return Linear((), value)
        if operator == ".":
            path = _path(est)
            return Linear(((path, 1),)) if path and self._kind(path) == NUMBER else None
        if operator == "neg":
            found = self._number(value["arg"])
            return None if found is None else found.times(-1)
        if operator not in ("+", "-", "*"):
            return None
        left, right = self._number(value["left"]), self._number(value["right"])
        if left is None or right is None:
            return None
        if operator != "*":
            return left.plus(right, 1 if operator == "+" else -1)
        if left.parts and right.parts:
            return None
        return right.times(left.constant) if not left.parts else left.times(right.constant)

    def _contains(self, est: Est, holder: Est, element: Est) -> Condition:
        items: Sequence[Est] | None = holder.get("Set")
        if items is not None:
            return _either([self._same(est, item, element) for item in items])
        path, text = _path(holder), _text(element)
        if path is None or text is None or self._kind(path) != TEXTS:
            return _opaque(est)
        return Among(path, text)

    def _contains_more(self, est: Est, operator: str, holder: Est, elements: Est) -> Condition:
        items: Sequence[Est] | None = elements.get("Set")
        if items is None:
            return _opaque(est)
        found = [self._contains(est, holder, item) for item in items]
        return _either(found) if operator == "containsAny" else _all(found)


_ENDS = ("then", "else")


def _ordered(form: Linear, sign: str) -> Condition:
    """Return `form SIGN 0` over the sum that grows with time and uses, if either sum does."""
    if not form.falls:
        return Order(form, sign)
    turned = form.times(-1)
    if sign == "==":
        return Order(turned, sign)
    return Not(Order(turned, {"<": "<=", "<=": "<"}[sign]))


def _not(part: Condition) -> Condition:
    return Fixed(not part.value) if isinstance(part, Fixed) else Not(part)


def _either(parts: Sequence[Condition]) -> Condition:
    return reduce(Either, parts) if parts else Fixed(False)


def _all(parts: Sequence[Condition]) -> Condition:
    return reduce(Both, parts) if parts else Fixed(True)


def _path(est: Est) -> str | None:
    """Return `root.name.name` of nested attributes of a variable, or None."""
    if "Var" in est:
        return str(est["Var"])
    inner = est.get(".")
    if inner is None:
        return None
    left = _path(inner["left"])
    return None if left is None else f"{left}.{inner['attr']}"


def _text(est: Est) -> Text | None:
    value = est.get("Value")
    if isinstance(value, str):
        return Text(value, is_path=False)
    path = _path(est)
    return None if path is None else Text(path, is_path=True)


def _opaque(est: Est) -> Condition:
    return Opaque(json.dumps(est, sort_keys=True), errs=not is_total(est))
