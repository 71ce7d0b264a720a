"""Entries of a document: one declaration gives its reading, its canonical value and its schema.

A researcher's document (YAML or JSON; scalars may be texts, as YAML's BaseLoader leaves them) and
the canonical text of a study are read by the same forms. The canonical text has one form because
what was read is written again and compared.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from cipherward_chain.canonical import Value
from cipherward_studies.errors import Fault

# A sign, at most twelve digits and nine decimals: any physical quantity, always a finite double.
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?")
INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")
NAME = r"[a-z][a-z0-9_]{0,31}"  # of a variable, as data sets name them
DECIMALS = 9
REQUIRED: Any = object()  # the default of an entry that has none

Schema = dict[str, Any]


class Absent:
    """What a form returns for an entry that it could not read; the fault is in the list."""


ABSENT = Absent()


class Form(Protocol):
    """One named entry of a map."""

    @property
    def name(self) -> str:
        """Return the entry's name."""
        ...

    @property
    def default(self) -> Any:
        """Return its value when it is not written, or REQUIRED."""
        ...

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the entry's value, or ABSENT after adding a fault for each thing wrong."""
        ...

    def value(self, read: Any) -> Value:
        """Return the canonical value of what `read` returned."""
        ...

    def schema(self) -> Schema:
        """Return the entry's JSON Schema."""
        ...


def pointer(at: str, *steps: str | int) -> str:
    """Return a JSON pointer some steps below another one."""
    return at + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def read_map(
    forms: Sequence[Form], value: object, at: str, faults: list[Fault], *, also: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Return the entries of a map by name, or None after adding what is wrong with it.

    Args:
        also: names that may stand there and are read by somebody else.
    """
    if not isinstance(value, Mapping):
        faults.append(Fault(at, "is not a list of named entries"))
        return None
    found = cast("Mapping[object, object]", value)
    known = {form.name for form in forms} | set(also)
    before = len(faults)
    for name in found:
        if name not in known:
            text = f"is unknown here; entries are {', '.join(sorted(known))}"
            faults.append(Fault(pointer(at, str(name)), text))
    entries: dict[str, Any] = {}
    for form in forms:
        if form.name in found:
            entries[form.name] = form.read(found[form.name], pointer(at, form.name), faults)
        elif form.default is REQUIRED:
            faults.append(Fault(at, f"lacks {form.name}"))
        else:
            entries[form.name] = form.default
    return entries if len(faults) == before else None


def read_list(value: object, at: str, faults: list[Fault], least: int, most: int) -> list[Any]:
    """Return the items of a list; it is empty after a fault."""
    if not isinstance(value, (list, tuple)):
        faults.append(Fault(at, "is not a list"))
        return []
    items = list(cast("Sequence[Any]", value))
    if not least <= len(items) <= most:
        faults.append(Fault(at, f"has {len(items)} entries, and may have {least} to {most}"))
        return []
    return items


def map_value(forms: Sequence[Form], source: object) -> dict[str, Value]:
    """Return the canonical map of an object with an attribute for each form."""
    return {form.name: form.value(getattr(source, form.name)) for form in forms}


def map_schema(forms: Sequence[Form], kind: str | None = None) -> Schema:
    """Return the JSON Schema of a map; with `kind`, of one whose entry `kind` says that word."""
    properties: Schema = {} if kind is None else {"kind": {"const": kind}}
    properties |= {form.name: form.schema() | _default_schema(form) for form in forms}
    required = [form.name for form in forms if form.default is REQUIRED]
    return {
        "type": "object",
        "properties": properties,
        "required": required if kind is None else ["kind", *required],
        "additionalProperties": False,
    }


def _default_schema(form: Form) -> Schema:
    if form.default is REQUIRED:
        return {}
    default = form.default
    if isinstance(default, tuple):
        return {"default": list(cast("tuple[Any, ...]", default))}
    return {} if default is None else {"default": default}


def decimal_text(number: float) -> str:
    """Return the shortest decimal text of a number, at most nine decimals."""
    text = f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def read_decimal(value: object, at: str, faults: list[Fault]) -> float | Absent:
    """Return a number from its text, or from a number with at most nine decimals."""
    if isinstance(value, float) and math.isfinite(value):
        text = decimal_text(value)
        if float(text) != value:
            faults.append(Fault(at, f"has more than {DECIMALS} decimals"))
            return ABSENT
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    else:
        text = value if isinstance(value, str) else ""
    if not DECIMAL.fullmatch(text):
        faults.append(
            Fault(at, f"is no decimal number of at most 12 digits and {DECIMALS} decimals")
        )
        return ABSENT
    return float(text) + 0.0  # no negative zero


@dataclass(frozen=True, slots=True)
class Text:
    """A text that matches a pattern."""

    name: str
    pattern: str
    says: str  # what the pattern asks for, for a person
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the text."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return value
        faults.append(Fault(at, f"is not {self.says}"))
        return ABSENT

    def value(self, read: Any) -> Value:
        """Return the text."""
        return cast("str", read)

    def schema(self) -> Schema:
        """Return the pattern, anchored."""
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Word:
    """One of a list of words."""

    name: str
    words: tuple[str, ...]
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the word."""
        if isinstance(value, str) and value in self.words:
            return value
        faults.append(Fault(at, f"is not one of {', '.join(self.words)}"))
        return ABSENT

    def value(self, read: Any) -> Value:
        """Return the word."""
        return cast("str", read)

    def schema(self) -> Schema:
        """Return the words."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Words:
    """Some of a list of words, each once; kept in the list's order."""

    name: str
    words: tuple[str, ...]
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the words in their order, as a tuple."""
        before = len(faults)
        items = read_list(value, at, faults, 1, len(self.words))
        for place, item in enumerate(items):
            if item not in self.words:
                text = f"is not one of {', '.join(self.words)}"
                faults.append(Fault(pointer(at, place), text))
            elif item in items[:place]:
                faults.append(Fault(pointer(at, place), "stands there twice"))
        if len(faults) > before:
            return ABSENT
        return tuple(word for word in self.words if word in items)

    def value(self, read: Any) -> Value:
        """Return the words."""
        return cast("tuple[str, ...]", read)

    def schema(self) -> Schema:
        """Return the words and that each stands once."""
        return {
            "type": "array",
            "items": {"enum": list(self.words)},
            "minItems": 1,
            "uniqueItems": True,
        }


def variable_name(name: str, *, optional: bool = False) -> Text:
    """Return the form of a variable's name; an optional one that is absent is ""."""
    pattern = f"({NAME})?" if optional else NAME
    return Text(name, pattern, "the name of a variable", "" if optional else REQUIRED)


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts that match a pattern, in the document's order, each once."""

    name: str
    pattern: str
    says: str
    least: int
    most: int
    default: Any = REQUIRED

    def read(self, value: object, at: str, faults: list[Fault]) -> Any:
        """Return the texts as a tuple."""
        before = len(faults)
        items = read_list(value, at, faults, self.least, self.most)
        item_form = Text("", self.pattern, self.says)
        for place, item in enumerate(items):
            item_form.read(item, pointer(at, place), faults)
            if item in items[:place]:
                faults.append(Fault(pointer(at, place), "stands there twice"))
        return ABSENT if len(faults) > before else tuple(items)

    def value(self, read: Any) -> Value:
        """Return the texts."""
        return cast("tuple[str, ...]", read)

    def schema(self) -> Schema:
        """Return the texts' pattern and number."""
        return {
            "type": "array",
            "items": Text("", self.pattern, self.says).schema(),
            "minItems": self.least,
            "maxItems": self.most,
            "uniqueItems": True,
        }


def variable_names(name: str, least: int, most: int, *, default: Any = REQUIRED) -> Labels:
    """Return the form of a list of variables' names."""
    return Labels(name, NAME, "the name of a variable", least, most, default)
