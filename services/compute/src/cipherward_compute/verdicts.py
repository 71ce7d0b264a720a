"""Which cells the guardians leave out: said to the chain as digests, and shown to one another.

A contributor leaves out what any of the guardians leaves out whose verdicts the order of the values
names, so that every member encrypts the same cells, and the requester knows which.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from cipherward_compute.store import Write
from cipherward_kit.database import Database


class Verdicts:
    """Finds the verdicts about studies, by member."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, study: bytes, member: str) -> bytes:
        """Return a member's verdict about a study, or b"" before it is known here."""
        return (await self.all(study)).get(member, b"")

    async def all(self, study: bytes) -> dict[str, bytes]:
        """Return the verdicts about a study that are known here."""

        def work(connection: sqlite3.Connection) -> dict[str, bytes]:
            rows = connection.execute(
                "SELECT member, verdict FROM verdicts WHERE study = ? ORDER BY member", (study,)
            )
            return dict(rows.fetchall())

        return await self._database.read(work)


def judged(study: bytes, verdicts: Mapping[str, bytes]) -> Write:
    """Return the effect of judging the counts, or of learning whose judgement counts."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM verdicts WHERE study = ?", (study,))
        connection.executemany(
            "INSERT INTO verdicts VALUES (?, ?, ?)",
            [(study, member, verdict) for member, verdict in verdicts.items()],
        )

    return write
