"""Bundled tables of real patients (`data/SOURCES.md` says whose they are, and under which licence).

| table | patients | columns |
|---|---|---|
| diabetes | 442 | ten baseline variables, progression after a year |
| breast_cancer | 569 | ten features of a tumour, malignant or not |
| gbsg2 | 686 | eight variables of women with breast cancer, time to recurrence or death |
| actg175 | 2139 | ten variables of adults with HIV, time to AIDS or death |
| lung | 228 | seven variables of patients with lung cancer, time to death; some are missing |
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib import resources

import numpy as np

from cipherward_studies.variables import Columns, Floats

PACKAGE = "cipherward_client.demo.data"
DIGESTS: Mapping[str, str] = {  # SHA-256 of each file
    "actg175": "cbd831c34c44dd70553c5bdef7cda03344408524c992e00a5ac65961ef050d01",
    "breast_cancer": "9aa31266b4b463cc26721f51494abe13031173fbee2ebf8ef1d4cfa6abad7d68",
    "diabetes": "9193026b7622ff944f0a6855a10107b24caf50dad69787c46e6890e69c27faca",
    "gbsg2": "f6cff92eb8a86cf6653534909e205640c84257dd2ff318edf6706894644ca0ee",
    "lung": "b3d3d92e2b2462f39a2c646d202f775aa96bc02fdeb276252ed809778944697f",
}


class TableDamaged(ValueError):
    """A bundled table is not the one that was shipped."""


def load_table(name: str) -> Columns:
    """Return a bundled table by column, its patients in the source's order; NaN where missing.

    Raises:
        KeyError: there is no such table.
        TableDamaged: its file has another digest.
    """
    octets = resources.files(PACKAGE).joinpath(f"{name}.csv").read_bytes()
    return read_table(name, octets)


def read_table(name: str, octets: bytes) -> Columns:
    """Return the content of a table's file.

    Raises:
        KeyError: there is no such table.
        TableDamaged: another digest.
    """
    if hashlib.sha256(octets).hexdigest() != DIGESTS[name]:
        raise TableDamaged(f"the bundled table {name} is not the one that was shipped")
    rows = list(csv.reader(octets.decode("ascii").splitlines()))
    values = [[float(text) if text else math.nan for text in row] for row in rows[1:]]
    return dict(zip(rows[0], np.array(values, dtype=np.float64).T, strict=True))


def dealt(table: Columns, names: Sequence[str], members: Sequence[str]) -> dict[str, Columns]:
    """Return columns of a table dealt to members in turn: member i has every n-th patient."""
    step = len(members)
    return {
        member: {name: table[name][place::step] for name in names}
        for place, member in enumerate(members)
    }


def rows_of(columns: Columns) -> Floats:
    """Return columns as rows, [patients, columns]."""
    return np.column_stack(list(columns.values()))
