"""A study's answer: the results of its analyses, and over whom they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cipherward_studies.analysis import Result


@dataclass(frozen=True, slots=True)
class Answer:
    """What a released study says.

    Attributes:
        patients: who took part; in a private release off by its noise.
        excluded: patients of the cohort with a missing or implausible value; None when it is not
            told, because they are fewer than the minimum (or none).
        private: noise was added.
        rounds: released rounds of values.
        left_out: labels of the cells that were too small to be published.
    """

    patients: int
    excluded: int | None
    minimum: int
    private: bool
    rounds: int
    left_out: tuple[str, ...]
    results: tuple[Result, ...]

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "patients": self.patients,
            "excluded": self.excluded,
            "minimum": self.minimum,
            "private": self.private,
            "rounds": self.rounds,
            "left_out": list(self.left_out),
            "results": [{"kind": one.kind} | one.to_document() for one in self.results],
        }
