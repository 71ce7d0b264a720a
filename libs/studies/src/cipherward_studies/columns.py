"""Which columns the members of a data key store encrypted: the text, and the slots of a column.

The text is canonical CBOR, named on the chain by its SHA-256:

| field | value |
|---|---|
| version | 1 |
| data_set | `cohort-<1..99>`, as in a study's text |
| variables | 1 to 16 of {name, unit, low, high, fraction_bits}; bounds are decimal texts |

A variable has two columns at every member: its values in steps of 2^-fraction_bits, 0 where there
is none, and flags, 1 where there is a value. A column has one slot for each pseudonym that has
enrolled, in blocks of as many slots as a ciphertext carries.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np

from cipherward_studies.document import BOUND, Maps
from cipherward_studies.errors import DraftInvalid, Fault, StudyError
from cipherward_studies.forms import (
    ABSENT,
    Absent,
    Form,
    Text,
    pointer,
    read_map,
    variable_name,
)
from cipherward_studies.number_forms import Integer, Number
from cipherward_studies.texts import parse_text, text_of
from cipherward_studies.variables import Floats, Integers, Mask

VARIABLES_MAX = 16  # with four blocks 64 flags, which one check of a member's flags covers
BLOCKS_MAX = 4
# A value is below 2^20 steps: the product of two, over all slots, stays below 2^57, half of t.
VALUE_BITS = 20
FRACTION_BITS_MAX = 20

ColumnKind: TypeAlias = Literal["flag", "value"]


class ColumnTextMalformed(StudyError):
    """Octets are not the one text of a data key's columns."""


@dataclass(frozen=True, slots=True)
class StoredVariable:
    """A variable that is stored encrypted; its plausible range includes both ends."""

    name: str
    low: float
    high: float
    unit: str = ""
    fraction_bits: int = 0

    @property
    def step(self) -> float:
        """What one step of the stored integers is worth."""
        return 2.0**-self.fraction_bits

    def steps(self, values: Floats) -> tuple[Integers, Mask]:
        """Return values in steps, below 2^VALUE_BITS, and which of them are there.

        What is missing (NaN) or implausible is not there, and 0.
        """
        there = (values >= self.low) & (values <= self.high)
        steps = np.rint(np.where(there, values, 0.0) * (1 << self.fraction_bits))
        return steps.astype(np.int64), there


@dataclass(frozen=True, slots=True)
class Column:
    """One ciphertext of a member: a variable's values or flags in the slots of a block."""

    variable: str
    block: int
    kind: ColumnKind


@dataclass(frozen=True, slots=True)
class ColumnText:
    """The columns of a data key. octets: the text; `digest` is its name on the chain."""

    data_set: str
    variables: tuple[StoredVariable, ...]
    octets: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The text's name on the chain."""
        return hashlib.sha256(self.octets).digest()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables, in the text's order."""
        return tuple(variable.name for variable in self.variables)

    def variable(self, name: str) -> StoredVariable:
        """Return a variable by its name, or raise KeyError."""
        return {variable.name: variable for variable in self.variables}[name]

    def columns(self, blocks: int) -> tuple[Column, ...]:
        """Return a member's columns in the order in which they are encrypted."""
        return tuple(
            Column(variable.name, block, kind)
            for block in range(blocks)
            for variable in self.variables
            for kind in get_args(ColumnKind)
        )

    @classmethod
    def from_document(cls, document: object) -> ColumnText:
        """Return the columns of a parsed YAML or JSON document.

        Raises:
            DraftInvalid: with every fault and its JSON pointer.
        """
        faults: list[Fault] = []
        entries = read_map(_CONTENT, document, "", faults)
        names = [one.name for one in entries["variables"]] if entries and not faults else []
        if len(set(names)) != len(names):
            faults.append(Fault("/variables", "has a name twice"))
        if entries is None or faults:
            raise DraftInvalid(faults)
        return cls(**entries, octets=text_of(_CONTENT, entries))


def parse_column_text(octets: bytes) -> ColumnText:
    """Return the columns whose text is `octets`.

    Raises:
        ColumnTextMalformed: it is not such a text.
    """
    return parse_text(octets, ColumnText.from_document, "columns", ColumnTextMalformed)


def blocks_of(slots: int, block_slots: int) -> int:
    """Return how many blocks so many slots take."""
    return math.ceil(slots / block_slots)


def block_values(values: Integers, block: int, block_slots: int) -> Sequence[int]:
    """Return the slots of one block; the last one may have fewer."""
    part = values[block * block_slots : (block + 1) * block_slots]
    return cast("Sequence[int]", part.tolist())


def _variable(entries: dict[str, Any], at: str, faults: list[Fault]) -> StoredVariable | Absent:
    if entries["low"] >= entries["high"]:
        faults.append(Fault(pointer(at, "high"), "is not above low"))
        return ABSENT
    most = max(abs(entries["low"]), abs(entries["high"])) * (1 << entries["fraction_bits"])
    if most >= 1 << VALUE_BITS:
        text = f"makes values of 2^{VALUE_BITS} steps or more: take fewer bits"
        faults.append(Fault(pointer(at, "fraction_bits"), text))
        return ABSENT
    return StoredVariable(**entries)


_CONTENT: tuple[Form, ...] = (
    Text("data_set", r"cohort-[1-9][0-9]?", "cohort-1 to cohort-99"),
    Maps(
        "variables",
        (
            variable_name("name"),
            Text("unit", r"[^\x00-\x1f\x7f]{0,32}", "a unit of at most 32 characters", ""),
            Number("low", -BOUND, BOUND),
            Number("high", -BOUND, BOUND),
            Integer("fraction_bits", 0, FRACTION_BITS_MAX, 0),
        ),
        _variable,
        1,
        VARIABLES_MAX,
    ),
)
