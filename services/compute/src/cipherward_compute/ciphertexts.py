"""This member's contributions and the sums of all."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from cipherward_chain.canonical import decode, encode
from cipherward_compute.failures import NothingContributed, SumDiffers
from cipherward_compute.store import Write
from cipherward_compute.sums import Stage, Sum
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database

COUNTS = b"sums/own_counts"


@dataclass(frozen=True, slots=True)
class Contribution:
    """A member's own batch of a sum, and the batch of sums once it is made.

    own: packed ciphertexts and proof; empty when this member adds without having contributed.
    total: packed. digest: of the sums' keys and c1.
    """

    own: bytes
    total: bytes = b""
    digest: bytes = b""
    sealed_counts: bytes = field(default=b"", repr=False)


class Ciphertexts:
    """Finds contributions and sums."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def find(self, wanted: Sum) -> Contribution | None:
        """Return the contribution, or None before it is made."""

        def work(connection: sqlite3.Connection) -> Contribution | None:
            row = connection.execute(
                "SELECT own, total, digest, own_counts FROM sums"
                " WHERE study = ? AND stage = ? AND round = ? AND refreshed = ?",
                _key(wanted),
            ).fetchone()
            return None if row is None else Contribution(*row)

        return await self._database.read(work)

    async def contributed(self, wanted: Sum) -> Contribution:
        """Return the contribution.

        Raises:
            NothingContributed: this member made none.
        """
        found = await self.find(wanted)
        if found is None or not found.own:
            raise NothingContributed(f"this member has contributed no {wanted.stage}")
        return found

    async def total(self, study: bytes, stage: Stage, digest: bytes) -> tuple[Sum, bytes]:
        """Return the sum that an order names by its digest, and the packed batch.

        Raises:
            SumDiffers: this member has made no such sum.
        """

        def work(connection: sqlite3.Connection) -> tuple[int, bytes, bytes] | None:
            return connection.execute(
                "SELECT round, refreshed, total FROM sums"
                " WHERE digest = ? AND study = ? AND stage = ?",
                (digest, study, stage),
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            raise SumDiffers(f"the order names another sum of {stage} than this member made")
        return Sum(study, stage, row[0], row[1]), row[2]

    def seal_counts(self, study: bytes, counts: list[int]) -> bytes:
        """Return this member's own counts as they are stored."""
        return self._vault.seal(encode(counts), COUNTS, study)

    async def own_counts(self, study: bytes) -> list[int]:
        """Return what this member counted for a study.

        Raises:
            NothingContributed: it has not counted.
            VaultCorrupt: it is not what was stored.
        """
        found = await self.contributed(Sum(study, "counts"))
        counts = decode(self._vault.open(found.sealed_counts, COUNTS, study))
        assert isinstance(counts, list)  # what `seal_counts` wrote
        return [count for count in counts if isinstance(count, int)]


def contributed(wanted: Sum, own: bytes, sealed_counts: bytes = b"") -> Write:
    """Return the effect of encrypting."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO sums (study, stage, round, refreshed, own, own_counts)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (*_key(wanted), own, sealed_counts),
        )

    return write


def counted(wanted: Sum, own: bytes, sealed_counts: bytes, text: CountedText) -> Write:
    """Return the effect of encrypting the counts: the study has its text and its rows now."""

    def write(connection: sqlite3.Connection) -> None:
        contributed(wanted, own, sealed_counts)(connection)
        texted(wanted.study, text)(connection)

    return write


def texted(study: bytes, text: CountedText) -> Write:
    """Return the effect of knowing the text of a study: it waits no more."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE studies SET spec = ?, version = ? WHERE study = ?",
            (text.spec, text.version, study),
        )
        connection.execute("DELETE FROM specs WHERE digest = ?", (text.spec_digest,))

    return write


@dataclass(frozen=True, slots=True)
class CountedText:
    """What a study has been counted with: its text, and the version of the rows."""

    spec: bytes
    spec_digest: bytes
    version: bytes


def added(wanted: Sum, total: bytes, digest: bytes) -> Write:
    """Return the effect of adding all contributions.

    Whoever has committed to a round has added the one before: its inputs are not asked for again.
    """

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO sums (study, stage, round, refreshed, total, digest)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (study, stage, round, refreshed)"
            " DO UPDATE SET total = excluded.total, digest = excluded.digest",
            (*_key(wanted), total, digest),
        )
        connection.execute(
            "UPDATE sums SET own = x'' WHERE study = ? AND stage = 'values' AND round < ?",
            (wanted.study, wanted.round),
        )

    return write


def forgotten(study: bytes) -> Write:
    """Return the effect of a study's end: its inputs go, the sums that were released stay."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM opened WHERE study = ?", (study,))
        connection.execute(
            "DELETE FROM sums WHERE study = ? AND digest NOT IN"
            " (SELECT digest FROM releases WHERE study = ?)",
            (study, study),
        )
        connection.execute("UPDATE sums SET own = x'' WHERE study = ?", (study,))

    return write


def _key(wanted: Sum) -> tuple[bytes, str, int, bytes]:
    return wanted.study, wanted.stage, wanted.round, wanted.refreshed
