"""This member's contributions and the sums of all, by study and stage."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import Stage
from cipherward_compute.store import Write
from cipherward_kit.database import Database


@dataclass(frozen=True, slots=True)
class Contribution:
    """A member's own ciphertext of a stage, and the sum of all once it is made.

    own_patients: how many of its patients are in it, which only this member knows.
    total_c1: the digest of the sum's key and c1.
    """

    own: bytes
    own_patients: int
    total: bytes = b""
    total_c1: bytes = b""


class Ciphertexts:
    """Finds contributions and sums."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, study: bytes, stage: Stage) -> Contribution | None:
        """Return the contribution, or None before it is made."""

        def work(connection: sqlite3.Connection) -> Contribution | None:
            row = connection.execute(
                "SELECT own, own_patients, total, total_c1 FROM ciphertexts"
                " WHERE study = ? AND stage = ?",
                (study, stage),
            ).fetchone()
            return None if row is None else Contribution(*row)

        return await self._database.read(work)

    async def contributed(self, study: bytes, stage: Stage) -> Contribution:
        """Return the contribution.

        Raises:
            StepFailed: this member made none.
        """
        found = await self.find(study, stage)
        if found is None or not found.own:
            raise StepFailed(f"this member has contributed no {stage}")
        return found

    async def total(self, study: bytes, stage: Stage, c1_digest: bytes) -> Contribution:
        """Return the contribution with its sum, which must be the one that an order names.

        Raises:
            StepFailed: this member has no sum, or another one.
        """
        found = await self.contributed(study, stage)
        if not found.total or found.total_c1 != c1_digest:
            raise StepFailed(f"the order names another sum of {stage} than this member made")
        return found


def contributed(study: bytes, stage: Stage, contribution: Contribution) -> Write:
    """Return the effect of encrypting."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO ciphertexts (study, stage, own, own_patients)"
            " VALUES (?, ?, ?, ?)",
            (study, stage, contribution.own, contribution.own_patients),
        )

    return write


def counted(
    study: bytes, contribution: Contribution, spec: bytes, spec_digest: bytes, version: bytes
) -> Write:
    """Return the effect of encrypting the counts: the study has its text and its rows now."""

    def write(connection: sqlite3.Connection) -> None:
        contributed(study, "counts", contribution)(connection)
        connection.execute(
            "UPDATE studies SET spec = ?, version = ? WHERE study = ?", (spec, version, study)
        )
        connection.execute("DELETE FROM specs WHERE digest = ?", (spec_digest,))

    return write


def added(study: bytes, stage: Stage, total: bytes, c1_digest: bytes) -> Write:
    """Return the effect of adding all contributions."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE ciphertexts SET total = ?, total_c1 = ? WHERE study = ? AND stage = ?",
            (total, c1_digest, study, stage),
        )

    return write
