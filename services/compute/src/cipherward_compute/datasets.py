"""This member's patients: rows of numbers by data set, encrypted at rest.

Rows leave this service only as sums under a study's collective key. The newest contribution of a
data set stands; a study that has counted one set of rows never encrypts the values of another.
Rows may carry references, by which patients who are out are left out; they are sealed with the
rows.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_compute.errors import (
    DataSetMalformed,
    DataSetTooLarge,
    RequestIdReused,
    StepFailed,
)
from cipherward_compute.opt_outs import REFERENCE_BYTES, OptOuts
from cipherward_compute.spec import DATA_SET, VARIABLE
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_threshold.study import VARIABLES_MAX, Rows

VALUES_MAX = 400_000  # 3.2 MB: fits a message of 4 MiB with room for names
VERSION_BYTES = 16
REQUESTS_KEPT = 10_000  # a hospital that contributes hourly has a year of them
PLACE = b"data_sets"


class RowsUnnamed(StepFailed):
    """Patients are out, and nothing says which rows are theirs: then no row is used."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as they are contributed: `values` row by row, NaN where one is missing.

    references: of the rows in their order, 16 bytes each; empty when they have none.
    """

    data_set: str
    variables: tuple[str, ...]
    values: Rows = field(repr=False)  # [patients, variables]
    references: bytes = field(default=b"", repr=False)

    def content(self) -> bytes:
        """Return bytes that tell two tables apart."""
        head = encode({"data_set": self.data_set, "variables": self.variables})
        return head + self.octets()

    def octets(self) -> bytes:
        """Return the rows as they are stored: the values, then the references."""
        return self.values.astype("<f8").tobytes() + self.references


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as it stands; `version` changes with every contribution."""

    version: bytes
    table: Table

    def columns(self, names: tuple[str, ...]) -> Rows:
        """Return the named columns in that order, or raise KeyError with one that is missing."""
        places = {name: place for place, name in enumerate(self.table.variables)}
        return self.table.values[:, [places[name] for name in names]]

    def without(self, out: frozenset[bytes], name_of: Callable[[bytes], bytes]) -> DataSet:
        """Return the data set without the rows whose reference's name is in `out`.

        About 2 us a row.

        Raises:
            RowsUnnamed: some are out, and the rows have no references.
        """
        if not out:
            return self
        table = self.table
        if not table.references:
            raise RowsUnnamed("patients are out, and the rows have no references to leave them out")
        takes_part = [
            name_of(table.references[at : at + REFERENCE_BYTES]) not in out
            for at in range(0, len(table.references), REFERENCE_BYTES)
        ]
        kept = table.values[np.array(takes_part)]
        return DataSet(self.version, Table(table.data_set, table.variables, kept))


def table_of(
    data_set: str, variables: tuple[str, ...], values: Rows, references: bytes = b""
) -> Table:
    """Return the table whose values come row after row, and so do its references, if it has them.

    Raises:
        DataSetTooLarge: more values or variables than a data set has.
        DataSetMalformed: names, number of values or references, or a value are out of form.
    """
    if len(values) > VALUES_MAX or len(variables) > VARIABLES_MAX:
        raise DataSetTooLarge(
            f"a data set has at most {VALUES_MAX} values of {VARIABLES_MAX} variables",
            values_max=VALUES_MAX,
            variables_max=VARIABLES_MAX,
        )
    if not DATA_SET.fullmatch(data_set):
        raise DataSetMalformed("a data set is named cohort-1 to cohort-99")
    if not variables or len(set(variables)) != len(variables):
        raise DataSetMalformed("a data set has variables of different names")
    if not all(VARIABLE.fullmatch(name) for name in variables):
        raise DataSetMalformed("a variable is named by lower-case letters, digits and _")
    if not len(values) or len(values) % len(variables):
        raise DataSetMalformed("a data set has whole rows, at least one")
    if bool(np.isinf(values).any()):
        raise DataSetMalformed("a value is infinite; a missing one is NaN")
    table = Table(data_set, variables, values.reshape(-1, len(variables)), references)
    if len(references) not in (0, REFERENCE_BYTES * len(table.values)):
        raise DataSetMalformed(f"a reference has {REFERENCE_BYTES} bytes; each row has one or none")
    return table


class DataSets:
    """Keeps and finds this member's data sets."""

    def __init__(self, database: Database, vault: Vault, opt_outs: OptOuts) -> None:
        self._database = database
        self._vault = vault
        self._opt_outs = opt_outs

    async def contribute(self, request_id: str, table: Table) -> int:
        """Put a table in the place of the data set; return its number of rows.

        Raises:
            DataSetMalformed: the request id is not a UUID.
            RequestIdReused: it belongs to another content.
        """
        _check_request_id(request_id)
        name, sealed = await asyncio.to_thread(self._sealed, table)
        rows = len(table.values)

        def work(connection: sqlite3.Connection) -> int:
            known = connection.execute(
                "SELECT name, patients FROM contribute_requests WHERE request_id = ?",
                (request_id,),
            ).fetchone()
            if known is not None:
                if known[0] != name:
                    raise RequestIdReused("the request id belongs to other rows")
                return known[1]
            connection.execute(
                "INSERT INTO contribute_requests (request_id, name, patients) VALUES (?, ?, ?)",
                (request_id, name, rows),
            )
            connection.execute(
                "DELETE FROM contribute_requests WHERE number <="
                " (SELECT max(number) FROM contribute_requests) - ?",
                (REQUESTS_KEPT,),
            )
            connection.execute(
                "INSERT OR REPLACE INTO data_sets VALUES (?, ?, ?, ?, ?)",
                (
                    table.data_set,
                    secrets.token_bytes(VERSION_BYTES),
                    encode({"variables": table.variables}),
                    rows,
                    sealed,
                ),
            )
            return rows

        return await self._database.write(work)

    async def variables(self, data_set: str) -> tuple[str, ...] | None:
        """Return the variables of a data set, or None if it is not here."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute("SELECT variables FROM data_sets WHERE name = ?", (data_set,))
            found = row.fetchone()
            return None if found is None else found[0]

        octets = await self._database.read(work)
        return None if octets is None else _variables(octets)

    async def find(self, data_set: str) -> DataSet | None:
        """Return a data set as it stands, or None.

        Raises:
            VaultCorrupt: what is stored is not what was contributed.
        """

        def work(connection: sqlite3.Connection) -> tuple[bytes, bytes, int, bytes] | None:
            return connection.execute(
                "SELECT version, variables, patients, sealed FROM data_sets WHERE name = ?",
                (data_set,),
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            return None
        version, variables, patients, sealed = row
        table = await asyncio.to_thread(
            self._opened, data_set, _variables(variables), patients, sealed
        )
        return DataSet(version, table)

    async def taking_part(self, data_set: str, height: int) -> DataSet | None:
        """Return a data set without the rows of patients who are out of a study whose counts block
        `height` orders, or None.

        Raises:
            RowsUnnamed: some are out, and the rows have no references.
            VaultCorrupt: as `find`.
        """
        found = await self.find(data_set)
        if found is None:
            return None
        out = await self._opt_outs.before(height)
        name_of = partial(self._opt_outs.name, "reference")
        return await asyncio.to_thread(found.without, out, name_of)

    def _sealed(self, table: Table) -> tuple[bytes, bytes]:
        return (
            self._vault.name(table.content()),
            self._vault.seal(table.octets(), PLACE, table.data_set.encode()),
        )

    def _opened(
        self, data_set: str, variables: tuple[str, ...], patients: int, sealed: bytes
    ) -> Table:
        octets = self._vault.open(sealed, PLACE, data_set.encode())
        end = 8 * patients * len(variables)  # of the values, 8 bytes each
        values = np.frombuffer(octets[:end], dtype="<f8").astype(np.float64)
        return Table(data_set, variables, values.reshape(patients, -1), octets[end:])


def _variables(octets: bytes) -> tuple[str, ...]:
    return Fields(decode_map(octets)).texts("variables")


def _check_request_id(request_id: str) -> None:
    try:
        canonical = str(uuid.UUID(request_id))
    except ValueError:
        canonical = ""
    if canonical != request_id:
        raise DataSetMalformed("the request id is not a UUID in lower case")
