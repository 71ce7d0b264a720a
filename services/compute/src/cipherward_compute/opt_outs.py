"""Patients who keep their rows out of studies, and when their choice counts.

Nothing of it goes on the chain. A choice carries the height of the newest block that this member
had applied when it came; it counts for a study whose counts are ordered by a later block, and for
both steps of that study alike, so that its values are of the patients who were counted. Subjects
stand here under keyed names: the store alone names no patient.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_chain.authorization import PSEUDONYM_BYTES
from cipherward_chain.opt_outs import Choice, Kind
from cipherward_compute.errors import OptOutMalformed
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database

REFERENCE_BYTES = 16  # random, so that a reference says nothing about its patient
# One patient has a row or a few in each of the at most 99 data sets, all under one reference.
LINKS_MAX = 64

# What counts for a study whose counts block `height` orders; alike for choices and links.
_COUNTS = "{0}.since < :height AND ({0}.until IS NULL OR {0}.until >= :height)"


@dataclass(frozen=True, slots=True)
class OptOutCounts:
    """How many are out now; `height` is the newest block here."""

    pseudonyms: int
    pseudonyms_unlinked: int
    references: int
    height: int


class OptOuts:
    """Keeps choices and links, and says which rows a study leaves out."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def name(self, kind: Kind, subject: bytes) -> bytes:
        """Return the keyed name (32 bytes) under which a subject stands here.

        Raises:
            OptOutMalformed: it has not the length of its kind.
        """
        length = REFERENCE_BYTES if kind == "reference" else PSEUDONYM_BYTES
        if len(subject) != length:
            raise OptOutMalformed(f"a {kind} has {length} bytes", length=length)
        return self._vault.subject(kind, subject)

    async def choose(self, kind: Kind, subject: bytes, choice: Choice) -> int:
        """Take a choice; return the height that it carries. The same one again changes nothing.

        Raises:
            OptOutMalformed: the subject is out of form.
        """
        name = self.name(kind, subject)
        write = _go_out if choice == "out" else _come_in

        def work(connection: sqlite3.Connection) -> int:
            height = _prune(connection)
            return write(connection, kind, name, height)

        return await self._database.write(work)

    async def link(self, pseudonym: bytes, references: Sequence[bytes]) -> None:
        """Let these references, and no others, be the rows of a pseudonym.

        Raises:
            OptOutMalformed: a subject is out of form, or they are too many.
        """
        if len(references) > LINKS_MAX:
            raise OptOutMalformed(f"a patient has at most {LINKS_MAX} references")
        name = self.name("pseudonym", pseudonym)
        wanted = {self.name("reference", reference) for reference in references}

        def work(connection: sqlite3.Connection) -> None:
            height = _prune(connection)
            rows = connection.execute(
                "SELECT reference FROM links WHERE pseudonym = ? AND until IS NULL", (name,)
            )
            standing = {reference for (reference,) in rows.fetchall()}
            for reference in standing - wanted:
                _unlink(connection, name, reference, height)
            connection.executemany(
                "INSERT INTO links (pseudonym, reference, since) VALUES (?, ?, ?)",
                [(name, reference, height) for reference in wanted - standing],
            )

        await self._database.write(work)

    async def is_linked(self, pseudonym: bytes) -> bool:
        """Say whether any rows are those of a pseudonym."""
        name = self.name("pseudonym", pseudonym)

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT 1 FROM links WHERE pseudonym = ? AND until IS NULL", (name,)
            )
            return row.fetchone() is not None

        return await self._database.read(work)

    async def before(self, height: int) -> frozenset[bytes]:
        """Return the names of the references that a study leaves out whose counts block `height`
        ordered.
        """

        def work(connection: sqlite3.Connection) -> frozenset[bytes]:
            rows = connection.execute(
                "SELECT subject FROM opt_outs o WHERE kind = 'reference' AND "
                + _COUNTS.format("o")
                + " UNION SELECT reference FROM links l"
                " JOIN opt_outs o ON o.kind = 'pseudonym' AND o.subject = l.pseudonym WHERE "
                + f"{_COUNTS.format('o')} AND {_COUNTS.format('l')}",
                {"height": height},
            )
            return frozenset(name for (name,) in rows)

        return await self._database.read(work)

    async def counts(self) -> OptOutCounts:
        """Return how many are out now."""
        return await self._database.read(_counts)


def _height(connection: sqlite3.Connection) -> int:
    (height,) = connection.execute("SELECT height FROM position").fetchone()
    return height


def _prune(connection: sqlite3.Connection) -> int:
    """Forget what no running or later study asks for; return the newest block's height."""
    height = _height(connection)
    (oldest,) = connection.execute(
        "SELECT min(opt_outs_height) FROM studies WHERE NOT ended AND opt_outs_height > 0"
    ).fetchone()
    needed = height + 1 if oldest is None else oldest
    for table in ("opt_outs", "links"):
        connection.execute(f"DELETE FROM {table} WHERE until < ?", (needed,))
    return height


def _go_out(connection: sqlite3.Connection, kind: Kind, name: bytes, height: int) -> int:
    row = connection.execute(
        "SELECT since FROM opt_outs WHERE kind = ? AND subject = ? AND until IS NULL", (kind, name)
    ).fetchone()
    if row is not None:
        return row[0]
    connection.execute(
        "INSERT INTO opt_outs (kind, subject, since) VALUES (?, ?, ?)", (kind, name, height)
    )
    return height


def _come_in(connection: sqlite3.Connection, kind: Kind, name: bytes, height: int) -> int:
    connection.execute(  # it never counted for any study
        "DELETE FROM opt_outs WHERE kind = ? AND subject = ? AND since = ?", (kind, name, height)
    )
    connection.execute(
        "UPDATE opt_outs SET until = ? WHERE kind = ? AND subject = ? AND until IS NULL",
        (height, kind, name),
    )
    return height


def _unlink(connection: sqlite3.Connection, name: bytes, reference: bytes, height: int) -> None:
    connection.execute(
        "DELETE FROM links WHERE pseudonym = ? AND reference = ? AND since = ?",
        (name, reference, height),
    )
    connection.execute(
        "UPDATE links SET until = ? WHERE pseudonym = ? AND reference = ? AND until IS NULL",
        (height, name, reference),
    )


def _counts(connection: sqlite3.Connection) -> OptOutCounts:
    (pseudonyms, unlinked) = connection.execute(
        "SELECT count(*), coalesce(sum(NOT EXISTS (SELECT 1 FROM links l"
        " WHERE l.pseudonym = o.subject AND l.until IS NULL)), 0)"
        " FROM opt_outs o WHERE kind = 'pseudonym' AND until IS NULL"
    ).fetchone()
    (references,) = connection.execute(
        "SELECT count(*) FROM ("
        "SELECT subject FROM opt_outs WHERE kind = 'reference' AND until IS NULL"
        " UNION SELECT reference FROM links l JOIN opt_outs o"
        " ON o.kind = 'pseudonym' AND o.subject = l.pseudonym"
        " WHERE o.until IS NULL AND l.until IS NULL)"
    ).fetchone()
    return OptOutCounts(pseudonyms, unlinked, references, _height(connection))
