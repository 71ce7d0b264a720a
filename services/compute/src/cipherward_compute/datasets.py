"""This member's patients: rows of numbers by data set, encrypted at rest in chunks.

Rows leave this service only as sums under a study's collective key. A contribution is stored chunk
by chunk beside what stands, and takes its place whole, in one transaction: one that is cut off
changes nothing, and its chunks go. A study that has counted one set of rows never encrypts the
values of another. Rows may carry references, by which patients who are out are left out; their
keyed names are sealed with the rows.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cipherward_compute.datasets_form import (
    Arriving,
    Chunk,
    Column,
    Header,
    RowsEnd,
    RowsPart,
    check_header,
    columns_octets,
    parse_columns,
)
from cipherward_compute.errors import (
    ContributionsFull,
    DataSetMalformed,
    DiskFull,
    RequestIdReused,
    StepFailed,
)
from cipherward_compute.failures import RowsChanged
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.rows import Stored, TakingPart
from cipherward_compute.vault import Vault, VaultCorrupt
from cipherward_kit.database import Database, Work

R = TypeVar("R")
VERSION_BYTES = 16
REQUESTS_KEPT = 10_000  # a hospital that contributes hourly has a year of them
PLACE = b"data_sets"
# Each holds the references of its rows in memory, 160 MB at most.
CONTRIBUTIONS_MAX = 4
CLEARED_AT_ONCE = 4  # chunks a transaction: overwriting them takes the database's thread some ms
FETCH_SECONDS = 60.0  # one chunk, while others use the database


class RowsUnnamed(StepFailed):
    """Patients are out, and nothing says which rows are theirs: then no row is used."""

    reason = "ROWS_UNNAMED"


@dataclass(frozen=True, slots=True)
class _Standing:
    version: bytes
    columns: tuple[Column, ...]
    named: bool
    chunks: int


class DataSets:
    """Keeps and finds this member's data sets."""

    def __init__(self, database: Database, vault: Vault, opt_outs: OptOuts) -> None:
        self._database = database
        self._vault = vault
        self._opt_outs = opt_outs
        self._arriving: set[bytes] = set()  # versions

    async def contribute(self, header: Header, parts: AsyncIterator[RowsPart | RowsEnd]) -> int:
        """Put rows in the place of the data set, once they are all here; return how many.

        The same request again changes nothing. Memory follows two parts, and 16 bytes a row.

        Raises:
            DataSetMalformed, DataSetTooLarge: the header or the rows are out of form.
            RequestIdReused: the request id belongs to another content.
            ContributionsFull: as many as the bound allows are under way.
            DiskFull: there is no room for the rows; those that stood still stand.
        """
        check_header(header)
        if len(self._arriving) >= CONTRIBUTIONS_MAX:
            raise ContributionsFull(
                f"{CONTRIBUTIONS_MAX} contributions are under way; try again later",
                contributions_max=CONTRIBUTIONS_MAX,
            )
        version = secrets.token_bytes(VERSION_BYTES)
        self._arriving.add(version)
        try:
            arriving = Arriving(header, partial(self._opt_outs.name, "reference"))
            chunks = 0
            said: RowsEnd | None = None
            async for part in parts:
                if said is not None:
                    raise DataSetMalformed("a message comes after the end")
                if isinstance(part, RowsEnd):
                    said = part
                    continue
                chunk = await asyncio.to_thread(arriving.add, part)
                if chunk is not None:
                    await self._keep(header.data_set, version, chunks, chunk)
                    chunks += 1
            last, content = await asyncio.to_thread(arriving.end, said)
            if last is not None:
                await self._keep(header.data_set, version, chunks, last)
                chunks += 1
            standing = _Standing(version, header.columns, bool(arriving.named), chunks)
            name = self._vault.name(content)
            return await self._put_in_place(header, arriving.rows, standing, name)
        finally:
            self._arriving.discard(version)
            with suppress(DiskFull):  # what is left over goes with the next ones, or at the start
                await self.clear()

    async def clear(self) -> None:
        """Destroy the chunks of no data set: of replaced ones, and of contributions cut off."""
        while await self._written(partial(_clear_some, frozenset(self._arriving))):
            pass

    async def columns(self, data_set: str) -> tuple[Column, ...] | None:
        """Return the variables of a data set, or None if it is not here."""
        standing = await self._database.read(partial(_standing, data_set))
        return None if standing is None else standing.columns

    async def taking_part(self, data_set: str, height: int) -> TakingPart | None:
        """Return a data set without the rows of patients who are out of a study whose counts block
        `height` orders, or None. Its chunks are read while they are used.

        Raises:
            RowsUnnamed: some are out, and the rows have no references.
        """
        standing = await self._database.read(partial(_standing, data_set))
        if standing is None:
            return None
        out = await self._opt_outs.before(height)
        if out and not standing.named:
            raise RowsUnnamed("patients are out, and the rows have no references to leave them out")
        fetch = self._fetching(data_set, standing.version)
        stored = Stored(standing.columns, standing.named, standing.chunks, fetch)
        return TakingPart(standing.version, stored, out)

    async def _keep(self, data_set: str, version: bytes, number: int, chunk: Chunk) -> None:
        place = chunk_place(data_set, version, number)
        sealed = await asyncio.to_thread(self._vault.seal, chunk.octets, *place)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO data_set_chunks VALUES (?, ?, ?)", (version, number, sealed)
            )

        await self._written(work)

    async def _put_in_place(
        self, header: Header, rows: int, standing: _Standing, name: bytes
    ) -> int:
        def work(connection: sqlite3.Connection) -> int:
            known = connection.execute(
                "SELECT name, patients FROM contribute_requests WHERE request_id = ?",
                (header.request_id,),
            ).fetchone()
            if known is not None:
                if known[0] != name:
                    raise RequestIdReused("the request id belongs to other rows")
                return known[1]
            connection.execute(
                "INSERT INTO contribute_requests (request_id, name, patients) VALUES (?, ?, ?)",
                (header.request_id, name, rows),
            )
            connection.execute(
                "DELETE FROM contribute_requests WHERE number <="
                " (SELECT max(number) FROM contribute_requests) - ?",
                (REQUESTS_KEPT,),
            )
            connection.execute(
                "INSERT OR REPLACE INTO data_sets VALUES (?, ?, ?, ?, ?, ?)",
                (
                    header.data_set,
                    standing.version,
                    columns_octets(standing.columns),
                    rows,
                    int(standing.named),
                    standing.chunks,
                ),
            )
            return rows

        return await self._written(work)

    async def _written(self, work: Work[R]) -> R:
        """Do `work` in one transaction; without room for it, nothing of it is done."""
        try:
            return await self._database.write(work)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            raise DiskFull("the disk has no room for the rows") from None

    def _fetching(self, data_set: str, version: bytes) -> Callable[[int], bytes]:
        """Return what fetches and opens a chunk from a thread beside the event loop."""
        loop = asyncio.get_running_loop()

        def fetch(number: int) -> bytes:
            read = self._database.read(partial(_sealed, data_set, version, number))
            sealed = asyncio.run_coroutine_threadsafe(read, loop).result(FETCH_SECONDS)
            return self._vault.open(sealed, *chunk_place(data_set, version, number))

        return fetch


def chunk_place(data_set: str, version: bytes, number: int) -> tuple[bytes, ...]:
    """Return the place that a chunk is sealed for; `number`: in the order of the rows."""
    return PLACE, data_set.encode(), version, number.to_bytes(4, "big")


def _standing(data_set: str, connection: sqlite3.Connection) -> _Standing | None:
    row = connection.execute(
        "SELECT version, variables, named, chunks FROM data_sets WHERE name = ?", (data_set,)
    ).fetchone()
    if row is None:
        return None
    version, columns, named, chunks = row
    return _Standing(version, parse_columns(columns), bool(named), chunks)


def _sealed(data_set: str, version: bytes, number: int, connection: sqlite3.Connection) -> bytes:
    row = connection.execute(
        "SELECT sealed FROM data_set_chunks WHERE version = ? AND number = ?", (version, number)
    ).fetchone()
    if row is not None:
        return row[0]
    standing = _standing(data_set, connection)
    if standing is None or standing.version != version:
        raise RowsChanged("this member's rows have changed while they were read")
    raise VaultCorrupt("what this member keeps on its disk is damaged")


def _clear_some(arriving: frozenset[bytes], connection: sqlite3.Connection) -> bool:
    """Destroy some chunks of no data set; return whether there were any."""
    standing = {version for (version,) in connection.execute("SELECT version FROM data_sets")}
    versions = connection.execute("SELECT DISTINCT version FROM data_set_chunks").fetchall()
    gone = [version for (version,) in versions if version not in standing | arriving]
    if not gone:
        return False
    connection.execute(
        "DELETE FROM data_set_chunks WHERE rowid IN"
        " (SELECT rowid FROM data_set_chunks WHERE version = ? LIMIT ?)",
        (gone[0], CLEARED_AT_ONCE),
    )
    return True
