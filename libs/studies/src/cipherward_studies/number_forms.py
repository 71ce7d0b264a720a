"""Entries of a document that are numbers or flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from cipherward_chain.canonical import Value
from cipherward_studies.errors import Fault
from cipherward_studies.forms import (
    ABSENT,
    DECIMAL,
    INTEGER,
    REQUIRED,
    Absent,
    Schema,
    decimal_text,
    pointer,
    read_decimal,
    read_list,
)


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number within bounds, both included."""

    name: str
    low: float
    high: float
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the number as a float."""
        found = read_decimal(value, at, faults)
        if isinstance(found, Absent):
            return ABSENT
        if not self.low <= found <= self.high:
            faults.append(Fault(at, f"is outside {self.low:g} to {self.high:g}"))
            return ABSENT
        return found

    def value(self, read: Any) -> Value:
        """Return its decimal text."""
        return decimal_text(read)

    def schema(self) -> Schema:
        """Return a number within the bounds, or its text."""
        return {
            "type": ["number", "string"],
            "minimum": self.low,
            "maximum": self.high,
            "pattern": f"^(?:{DECIMAL.pattern})$",
        }


@dataclass(frozen=True, slots=True)
class Numbers:
    """Decimal numbers; ascending ones must rise from each to the next."""

    name: str
    least: int
    most: int
    ascending: bool = True
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the numbers as a tuple of floats."""
        before = len(faults)
        items = read_list(value, at, faults, self.least, self.most)
        numbers = [
            read_decimal(item, pointer(at, place), faults) for place, item in enumerate(items)
        ]
        if len(faults) > before:
            return ABSENT
        found = tuple(number for number in numbers if not isinstance(number, Absent))
        for place in range(1, len(found)):
            if self.ascending and found[place] <= found[place - 1]:
                faults.append(Fault(pointer(at, place), "is not above the one before"))
        return ABSENT if len(faults) > before else found

    def value(self, read: Any) -> Value:
        """Return their decimal texts."""
        return [decimal_text(number) for number in cast("tuple[float, ...]", read)]

    def schema(self) -> Schema:
        """Return a list of numbers or their texts. That they ascend is beyond JSON Schema."""
        return {
            "type": "array",
            "items": {"type": ["number", "string"], "pattern": f"^(?:{DECIMAL.pattern})$"},
            "minItems": self.least,
            "maxItems": self.most,
        }


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds, both included."""

    name: str
    low: int
    high: int
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the number as an int."""
        text = str(value) if isinstance(value, (int, str)) and type(value) is not bool else ""
        if not INTEGER.fullmatch(text) or not self.low <= int(text) <= self.high:
            faults.append(Fault(at, f"is no whole number from {self.low} to {self.high}"))
            return ABSENT
        return int(text)

    def value(self, read: Any) -> Value:
        """Return the number."""
        return cast("int", read)

    def schema(self) -> Schema:
        """Return a whole number within the bounds, or its text."""
        return {
            "type": ["integer", "string"],
            "minimum": self.low,
            "maximum": self.high,
            "pattern": f"^(?:{INTEGER.pattern})$",
        }


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    name: str
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return a bool; a text is `true` or `false`."""
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        faults.append(Fault(at, "is neither true nor false"))
        return ABSENT

    def value(self, read: Any) -> Value:
        """Return the bool."""
        return cast("bool", read)

    def schema(self) -> Schema:
        """Return a bool, or its text."""
        return {"enum": [True, False, "true", "false"]}
