"""What a step of a runbook shows when its alert has the cause that it is tried out with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

Labels = Mapping[str, str]

# What most diagnoses begin with, as it stands in their pages: of everybody, and of one member.
DOCTOR: Final = "cipherward doctor --data DIR"
DOCTOR_OF_MEMBER: Final = "cipherward doctor --data DIR --member hospital-a"


@dataclass(frozen=True, slots=True)
class Answer:
    """An expression has a series with these labels, whose value lies between the bounds."""

    labels: Labels = field(default_factory=dict[str, str])
    least: float = -math.inf
    most: float = math.inf


@dataclass(frozen=True, slots=True)
class Printed:
    """A command prints what holds `part`, and not `lacks`; see `holds`. None: lacks nothing."""

    part: object
    lacks: object = None


@dataclass(frozen=True, slots=True)
class Logged:
    """The alert's process has logged an event with these fields since the cause began."""

    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Finding:
    """Where the diagnosis of an alert shows its cause.

    about: labels of the alert whose runbook is followed; others of its name may fire, too. step: an
    expression or a command as it stands in the runbook, or the name of an event of the log.
    """

    alert: str
    about: Labels
    step: str
    shows: Answer | Printed | Logged


def silent(process: str) -> Printed:
    """Return what the doctor says of a process that does not answer."""
    problem = {"check": "services", "where": process, "problem": "nobody answers"}
    return Printed({"problems": [problem]})


def holds(whole: object, part: object) -> bool:
    """Say whether a document has a part.

    Of a mapping each entry of the part must be there, of a list something that has each of its
    entries; a text must contain the part's, anything else be equal to it.
    """
    if isinstance(part, Mapping):
        wanted = cast("Mapping[str, object]", part)
        if not isinstance(whole, Mapping):
            return False
        given = cast("Mapping[str, object]", whole)
        return all(name in given and holds(given[name], wanted[name]) for name in wanted)
    if isinstance(part, list):
        entries = cast("Sequence[object]", whole) if isinstance(whole, list) else ()
        wanted_entries = cast("Sequence[object]", part)
        return all(any(holds(entry, one) for entry in entries) for one in wanted_entries)
    if isinstance(part, str):
        return isinstance(whole, str) and part in whole
    return whole == part
