"""Where an instruction's argument comes from: paths into what the machine knows, and literals.

A path is `root.name`. The roots: `terms`, `arguments`, `variables` of the instance; `record` (`id`,
`owner`, `author`, `custodian`, `anchor_digest`, `slot_digest`); `actor` (`key`, `member`);
`instance` (`id`); `block` (`time` in Unix seconds, `seed`); `registry` (`next_index`, the number
that the next member gets). A literal is `{value: x}`; `{least:
[..]}` and `{total: [..]}` take integers. There is nothing else: no loop, no condition, no text from
outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_contract.templates.values import INTEGER_MAX

Environment: TypeAlias = Mapping[str, Mapping[str, Value]]

FIXED_NAMES: Mapping[str, frozenset[str]] = {
    "record": frozenset({"id", "owner", "author", "custodian", "anchor_digest", "slot_digest"}),
    "actor": frozenset({"key", "member"}),
    "instance": frozenset({"id"}),
    "block": frozenset({"time", "seed"}),
    "registry": frozenset({"next_index"}),
}
TEMPLATE_ROOTS = frozenset({"terms", "arguments", "variables"})


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


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The least or the total of integers."""

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
        found = min(numbers) if self.operation == "least" else sum(numbers)
        if abs(found) > INTEGER_MAX:
            raise NothingThere("an integer of 62 bits")
        return found

    def paths(self) -> tuple[Path, ...]:
        """Return the paths inside."""
        return tuple(path for part in self.parts for path in part.paths())


Expression: TypeAlias = Path | Literal | Arithmetic


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
        if operation in ("least", "total"):
            parts = tuple(parse_expression(part) for part in Fields(value).items(operation))
            if parts:
                return Arithmetic(operation, parts)
    raise ExpressionMalformed("an expression is a path, a value, a least or a total")
