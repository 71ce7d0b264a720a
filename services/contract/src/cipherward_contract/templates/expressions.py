"""Where an instruction's argument comes from: paths into what the machine knows, and literals.

A path is `root.name`.

* `terms`, `arguments`, `variables`: of the instance, as the template says.
* `record`: the record that it is about. `id`, `owner`, `author`, `custodian`, `anchor_digest`,
  `slot_digest`, `key_epoch`, `guardians` (who holds a share of that epoch's key), `members` (they
  and the custodian), `keepers` (author and custodian).
* `actor`: who takes the transition. `key`, `member`, `pseudonym`, `scope`, `role`.
* `subject`: the registration that the terms `scope` and `pseudonym` name, or else the variables
  `subject_scope` and `subject_pseudonym`. `ciphertext`, `opening_key`, `key_epoch`, `sharing`,
  `threshold`, `guardians`.
* `ceremony`: the ceremony that the contract runs; names as in the orders share_key and use_sharing.
* `instance`: `id`. `block`: `time` (Unix seconds), `seed`. `registry`: `next_index`, the number
  that the next member gets.
* `parameters`: of the chain. `data_set_releases_max`, `data_set_rho_max`.

A literal is `{value: x}`; `{least: [..]}`, `{total: [..]}` and `{zeros: [..]}`, how many of them
are zero, take integers; `{joined: [..]}` makes one text of texts and ids (as hex), with slashes
between. There is nothing else: no loop, no condition, no text from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_contract.templates.types import INTEGER_MAX

Environment: TypeAlias = Mapping[str, Mapping[str, Value]]

FIXED_NAMES: Mapping[str, frozenset[str]] = {
    root: frozenset(names.split())
    for root, names in {
        "record": "id owner author custodian anchor_digest slot_digest key_epoch guardians members"
        " keepers",
        "actor": "key member pseudonym scope role",
        "subject": "ciphertext opening_key key_epoch sharing threshold guardians",
        "ceremony": "ceremony purpose key_epoch sharing members dealers threshold window start old"
        " public_key guardians",
        "instance": "id",
        "block": "time seed",
        "registry": "next_index",
        "parameters": "data_set_releases_max data_set_rho_max",
    }.items()
}
TEMPLATE_ROOTS = frozenset({"terms", "arguments", "variables"})
PARTS_MAX = 8  # of one operation: bounds what one argument costs


class ExpressionMalformed(ValueError):
    """An expression is not of the form, or names what does not exist."""


class NothingThere(LookupError):
    """A path leads to nothing in this instance: the machine has not recorded it yet."""


@dataclass(frozen=True, slots=True)
class Path:
    """`root.name`."""

    root: str
    name: str

    def evaluate(self, environment: Environment) -> Value:
        """Return what the path leads to, or raise `NothingThere`."""
        try:
            return environment[self.root][self.name]
        except KeyError:
            raise NothingThere(f"{self.root}.{self.name}") from None

    def paths(self) -> tuple[Path, ...]:
        """Return the paths inside."""
        return (self,)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value of the document itself."""

    value: Value

    def evaluate(self, environment: Environment) -> Value:
        """Return the value."""
        return self.value

    def paths(self) -> tuple[Path, ...]:
        """Return the paths inside: none."""
        return ()


def _zeros(numbers: Sequence[int]) -> int:
    return numbers.count(0)


_OPERATIONS: Mapping[str, Callable[[Sequence[int]], int]] = {
    "least": min,
    "total": sum,
    "zeros": _zeros,
}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The least or the total of integers, or how many of them are zero."""

    operation: str
    parts: tuple[Expression, ...]

    def evaluate(self, environment: Environment) -> Value:
        """Return the integer, or raise `NothingThere`."""
        numbers: list[int] = []
        for part in self.parts:
            number = part.evaluate(environment)
            if not isinstance(number, int):
                raise NothingThere("an integer")
            numbers.append(number)
        found = _OPERATIONS[self.operation](numbers)
        if abs(found) > INTEGER_MAX:
            raise NothingThere("an integer of 62 bits")
        return found

    def paths(self) -> tuple[Path, ...]:
        """Return the paths inside."""
        return tuple(path for part in self.parts for path in part.paths())


@dataclass(frozen=True, slots=True)
class Joined:
    """One text of several parts, with slashes between; bytes as lower-case hex."""

    parts: tuple[Expression, ...]

    def evaluate(self, environment: Environment) -> Value:
        """Return the text, or raise `NothingThere`."""
        texts: list[str] = []
        for part in self.parts:
            value = part.evaluate(environment)
            if isinstance(value, bytes):
                value = value.hex()
            if not isinstance(value, str):
                raise NothingThere("a text or an id")
            texts.append(value)
        return "/".join(texts)

    def paths(self) -> tuple[Path, ...]:
        """Return the paths inside."""
        return tuple(path for part in self.parts for path in part.paths())


Expression: TypeAlias = Path | Literal | Arithmetic | Joined


def parse_expression(value: Value) -> Expression:
    """Return the expression that a document describes, or raise `ExpressionMalformed`."""
    if isinstance(value, str):
        root, dot, name = value.partition(".")
        if not dot or not name or (root not in FIXED_NAMES and root not in TEMPLATE_ROOTS):
            raise ExpressionMalformed(f"{value} is no path")
        if root in FIXED_NAMES and name not in FIXED_NAMES[root]:
            raise ExpressionMalformed(f"{root} has no {name}")
        return Path(root, name)
    if isinstance(value, Mapping) and len(value) == 1:
        (operation,) = value
        if operation == "value":
            return Literal(value[operation])
        if operation == "joined" or operation in _OPERATIONS:
            parts = tuple(parse_expression(part) for part in Fields(value).items(operation))
            if 0 < len(parts) <= PARTS_MAX:
                return Joined(parts) if operation == "joined" else Arithmetic(operation, parts)
    raise ExpressionMalformed(
        "an expression is a path, a value, or a least, total, zeros or joined of"
        f" 1 to {PARTS_MAX} parts"
    )
