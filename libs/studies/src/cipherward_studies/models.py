"""The text of a risk model: weights of stored columns, for scores of single patients.

The text is canonical CBOR, named on the chain by its SHA-256:

| field | value |
|---|---|
| version | 1 |
| data_set | `cohort-<1..99>`, as in the text of the columns |
| kind | linear, or logistic: its score has a probability too |
| intercept | a decimal text of at most nine significant digits |
| terms | 1 to 64 of {variable, at, weight}: whose column, and its weight in the variable's unit |

Whoever treats a patient learns the score; the members see neither values nor scores. The intercept
and the probability are added after the score is opened.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias, cast

from cipherward_chain.canonical import Value
from cipherward_studies.document import Maps
from cipherward_studies.errors import ColumnsDiffer, DraftInvalid, Fault, StudyError
from cipherward_studies.forms import (
    ABSENT,
    REQUIRED,
    Absent,
    Form,
    Schema,
    Text,
    Word,
    map_value,
    pointer,
    read_map,
    variable_name,
)
from cipherward_studies.texts import parse_text, text_of

TERMS_MAX = 64  # columns of one linear form
WEIGHT_MAX = 10**6
WEIGHT_DIGITS = 9  # published coefficients have four to six
WEIGHT_DECIMALS = 15  # nine digits behind a unit that makes a variable's values large

ModelKind: TypeAlias = Literal["linear", "logistic"]

_DECIMAL = re.compile(rf"-?(0|[1-9][0-9]{{0,6}})(\.[0-9]{{1,{WEIGHT_DECIMALS}}})?")


class ModelMalformed(StudyError):
    """Octets are not the one text of a risk model."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A decimal number of few digits and of at most `WEIGHT_MAX`, of either sign."""

    name: str
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the number as an exact decimal, without zeros that say nothing."""
        if isinstance(value, float) and math.isfinite(value):
            text = f"{Decimal(repr(value)):f}"
        else:
            text = str(value) if isinstance(value, (int, str)) and type(value) is not bool else ""
        if not _DECIMAL.fullmatch(text):
            says = f"is no decimal number of at most 7 digits and {WEIGHT_DECIMALS} decimals"
            faults.append(Fault(at, says))
            return ABSENT
        found = Decimal(text).normalize() + 0  # no negative zero
        if len(found.as_tuple().digits) > WEIGHT_DIGITS:
            faults.append(Fault(at, f"has more than {WEIGHT_DIGITS} significant digits"))
            return ABSENT
        if abs(found) > WEIGHT_MAX:
            faults.append(Fault(at, f"is outside -{WEIGHT_MAX} to {WEIGHT_MAX}"))
            return ABSENT
        return found

    def value(self, read: Any) -> Value:
        """Return its decimal text."""
        return f"{cast('Decimal', read):f}"

    def schema(self) -> Schema:
        """Return a number within the bounds, or its text; its digits are beyond JSON Schema."""
        return {
            "type": ["number", "string"],
            "minimum": -WEIGHT_MAX,
            "maximum": WEIGHT_MAX,
            "pattern": f"^(?:{_DECIMAL.pattern})$",
        }


@dataclass(frozen=True, slots=True)
class ModelTerm:
    """A member's stored column of a variable, and its weight."""

    variable: str
    at: str
    weight: Decimal


@dataclass(frozen=True, slots=True)
class Model:
    """A risk model; `octets` is its text, and `digest` its name on the chain."""

    data_set: str
    kind: ModelKind
    intercept: Decimal
    terms: tuple[ModelTerm, ...]
    octets: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The text's name on the chain."""
        return hashlib.sha256(self.octets).digest()

    @property
    def members(self) -> tuple[str, ...]:
        """Whose columns it weighs, each once, in the text's order."""
        return tuple(dict.fromkeys(term.at for term in self.terms))

    def to_bytes(self) -> bytes:
        """Return the text."""
        return self.octets

    def to_document(self) -> dict[str, Value]:
        """Return a document that `from_document` reads as this model: canonical values only."""
        return map_value(FORMS, self)

    def check_members(self, members: Sequence[str]) -> None:
        """Accept the members that store columns under the data key.

        Raises:
            ColumnsDiffer: a column is at none of them.
        """
        for name in self.members:
            if name not in members:
                raise ColumnsDiffer(f"{name} stores no columns under this key")

    @classmethod
    def from_document(cls, document: object) -> Model:
        """Return the model of a parsed YAML or JSON document.

        Numbers may be numbers or their texts, so that 1.10 can stay what was written.

        Raises:
            DraftInvalid: with every fault and its JSON pointer.
        """
        faults: list[Fault] = []
        entries = read_map(FORMS, document, "", faults)
        if entries is not None and not faults:
            terms = cast("tuple[ModelTerm, ...]", entries["terms"])
            if len({(term.variable, term.at) for term in terms}) < len(terms):
                faults.append(Fault("/terms", "has one column twice"))
        if entries is None or faults:
            raise DraftInvalid(faults)
        return cls(**entries, octets=text_of(FORMS, entries))


def parse_model(octets: bytes) -> Model:
    """Return the model whose text is `octets`.

    Raises:
        ModelMalformed: it is not such a text.
    """
    return parse_text(octets, Model.from_document, "model", ModelMalformed)


def _term(entries: dict[str, Any], at: str, faults: list[Fault]) -> ModelTerm | Absent:
    if entries["weight"] == 0:
        faults.append(Fault(pointer(at, "weight"), "is 0: leave the term out"))
        return ABSENT
    return ModelTerm(**entries)


_TERM: tuple[Form, ...] = (
    variable_name("variable"),
    Text("at", r"[a-z][a-z0-9-]{1,30}", "the name of a member"),
    Coefficient("weight"),
)
FORMS: tuple[Form, ...] = (
    Text("data_set", r"cohort-[1-9][0-9]?", "cohort-1 to cohort-99"),
    Word("kind", ("linear", "logistic")),
    Coefficient("intercept"),
    Maps("terms", _TERM, _term, 1, TERMS_MAX),
)
