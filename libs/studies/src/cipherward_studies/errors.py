"""Every refusal of this library, one class per distinct cause.

All are `ValueError`s: a service or the SDK maps them to its own codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class StudyError(ValueError):
    """Base of every refusal here.

    Keyword arguments are the variables of the message, as text, so that a service can pass them
    on without parsing it. They are public: names of variables, counts of slots, never a value.
    """

    def __init__(self, message: str, **metadata: str | int) -> None:
        super().__init__(message)
        self.metadata = {key: str(value) for key, value in metadata.items()}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one entry of a document; `pointer` is a JSON pointer (RFC 6901)."""

    pointer: str
    text: str


class DraftInvalid(StudyError):
    """A researcher's document describes no study; `faults` lists everything that is wrong."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        lines = [f"{fault.pointer or '/'}: {fault.text}" for fault in faults]
        super().__init__("; ".join(lines), faults=len(lines))
        self.faults = tuple(faults)


class SpecMalformed(StudyError):
    """Octets are not the one text of a study."""


class AnalysisRefused(StudyError):
    """An analysis cannot be computed: its variables, groups or edges do not fit."""


class TooManySlots(StudyError):
    """A study has more counts or values than one batch of ciphertexts carries."""


class ColumnsMalformed(StudyError):
    """A chunk of rows lacks a variable of the study, or its columns differ in length."""


class ColumnsDiffer(StudyError):
    """A study of stored columns names one that is not stored, or not in such a form."""


class ValueMissing(StudyError):
    """A patient has no value of a variable that refuses missing values."""


class ValueOutside(StudyError):
    """A patient's value is outside the plausible range of a variable that refuses this."""


class FlagUndeclared(StudyError):
    """A variable is declared a number, and every patient here has 0 or 1: its sums are counts."""


class CohortTooSmall(StudyError):
    """Fewer patients than the minimum, beside this member's own."""


class ContributorsTooFew(StudyError):
    """Fewer than three members have patients in the study."""


class CohortTooSimilar(StudyError):
    """The cohort differs by fewer patients than the minimum from one that was released."""


class CountsMalformed(StudyError):
    """Opened counts are not those of the plan: their number, or one of them, is impossible."""


class VerdictMalformed(StudyError):
    """Octets are not a list of cells of the plan."""


class IterateRefused(StudyError):
    """The parameters of a round are out of form or out of bounds."""


class TotalsMalformed(StudyError):
    """Released totals are not those of the plan: their number, or one of them, is impossible."""
