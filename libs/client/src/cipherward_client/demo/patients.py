"""The demonstration's real patients: the bundled table `diabetes`, spread over hospitals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_client.demo.tables import load_table, rows_of


@dataclass(frozen=True, slots=True)
class Patient:
    """One row of the source; `number` is its place there, and all we know of who it is."""

    number: int
    values: dict[str, float]


def load_patients() -> list[Patient]:
    """Return all 442 patients of the source, in its order."""
    table = load_table("diabetes")
    return [
        Patient(number, dict(zip(table, row, strict=True)))
        for number, row in enumerate(rows_of(table).tolist())
    ]


def spread(patients: Sequence[Patient], hospitals: Sequence[str]) -> dict[str, list[Patient]]:
    """Deal the patients to the hospitals in turn: hospital i treats every n-th patient."""
    return {
        hospital: list(patients[place :: len(hospitals)])
        for place, hospital in enumerate(hospitals)
    }
