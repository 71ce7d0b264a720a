"""The demonstration's real patients: the table in diabetes.csv, spread over hospitals."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Patient:
    """One row of the source; `number` is its place there, and all we know of who it is."""

    number: int
    values: dict[str, float]


def load_patients() -> list[Patient]:
    """Return all 442 patients of the source, in its order."""
    table = resources.files("cipherward_client.demo").joinpath("diabetes.csv")
    rows = csv.DictReader(table.read_text(encoding="ascii").splitlines())
    return [
        Patient(number, {name: float(text) for name, text in row.items()})
        for number, row in enumerate(rows)
    ]


def spread(patients: Sequence[Patient], hospitals: Sequence[str]) -> dict[str, list[Patient]]:
    """Deal the patients to the hospitals in turn: hospital i treats every n-th patient."""
    return {
        hospital: list(patients[place :: len(hospitals)])
        for place, hospital in enumerate(hospitals)
    }
