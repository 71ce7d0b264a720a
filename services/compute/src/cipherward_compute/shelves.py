"""What the scrub reads again here: everything that is sealed for longer than a step takes.

Opening a piece is the comparison: it opens only as it was put, in its own place. What is not sealed
is compared with what the chain or its sender says of it whenever it is used.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cipherward_compute import cohorts, columns_flags, metrics, shares
from cipherward_compute.datasets import VERSION_BYTES, chunk_place
from cipherward_compute.key_rows import source_of
from cipherward_compute.keyring import KEY_SHARE
from cipherward_compute.vault import Vault, VaultCorrupt
from cipherward_kit.database import Database
from cipherward_member.scrub import Figures, PieceCorrupt, PieceGone

FIGURES: Final = Figures(metrics.SCRUBBED, metrics.SCRUB_CORRUPT, metrics.SCRUB_COMPLETED)
DIGEST_BYTES: Final = 32  # of a key, and of a c1

Connection: TypeAlias = sqlite3.Connection


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed value as it is stored, and the place that it was sealed for."""

    octets: bytes = field(repr=False)
    place: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SealedShelf:
    """Sealed values of one kind. names: returns those after a name, ascending; find: returns the
    value of a name, None if it is gone.
    """

    kind: str
    database: Database
    vault: Vault
    names: Callable[[Connection, bytes, int], list[bytes]]
    find: Callable[[Connection, bytes], Sealed | None]

    async def page(self, after: bytes, limit: int) -> Sequence[bytes]:
        """Return names of values."""
        return await self.database.read(lambda connection: self.names(connection, after, limit))

    async def read(self, name: bytes) -> AsyncGenerator[int]:
        """Open a value."""
        found = await self.database.read(lambda connection: self.find(connection, name))
        if found is None:
            raise PieceGone
        yield len(found.octets)
        try:
            await asyncio.to_thread(self.vault.open, found.octets, *found.place)
        except VaultCorrupt:
            raise PieceCorrupt from None


def sealed_shelves(database: Database, vault: Vault) -> tuple[SealedShelf, ...]:
    """Return the shelves of a compute service's database."""
    return (
        SealedShelf("rows", database, vault, _chunk_names, _chunk),
        SealedShelf("cohort", database, vault, _cohort_names, _cohort),
        SealedShelf("flags", database, vault, _flag_names, _flags),
        SealedShelf("key_share", database, vault, _key_share_names, _key_share),
        SealedShelf("share", database, vault, _share_names, _share),
    )


# Chunks of contributed rows: version and number. Those that are arriving, or about to be cleared,
# belong to no data set.


def _chunk_names(connection: Connection, after: bytes, limit: int) -> list[bytes]:
    version, number = after[:VERSION_BYTES], int.from_bytes(after[VERSION_BYTES:], "big")
    rows = connection.execute(
        "SELECT c.version, c.number FROM data_set_chunks c JOIN data_sets d USING (version)"
        " WHERE (c.version, c.number) > (?, ?) ORDER BY c.version, c.number LIMIT ?",
        (version, number, limit),
    )
    return [version + number.to_bytes(4, "big") for version, number in rows]


def _chunk(connection: Connection, name: bytes) -> Sealed | None:
    version, number = name[:VERSION_BYTES], int.from_bytes(name[VERSION_BYTES:], "big")
    row = connection.execute(
        "SELECT d.name, c.sealed FROM data_set_chunks c JOIN data_sets d USING (version)"
        " WHERE c.version = ? AND c.number = ?",
        (version, number),
    ).fetchone()
    return None if row is None else Sealed(row[1], chunk_place(row[0], version, number))


# Cohorts that results were released of: their number.


def _cohort_names(connection: Connection, after: bytes, limit: int) -> list[bytes]:
    query = "SELECT number FROM cohorts WHERE number > ? ORDER BY number LIMIT ?"
    rows = connection.execute(query, (int.from_bytes(after, "big"), limit))
    return [number.to_bytes(8, "big") for (number,) in rows]


def _cohort(connection: Connection, name: bytes) -> Sealed | None:
    row = connection.execute(
        "SELECT sealed, data_set, name FROM cohorts WHERE number = ?",
        (int.from_bytes(name, "big"),),
    ).fetchone()
    return None if row is None else Sealed(row[0], (cohorts.PLACE, row[1].encode(), row[2]))


# Of which slots of its columns this member has encrypted a value: the data key.


def _flag_names(connection: Connection, after: bytes, limit: int) -> list[bytes]:
    query = "SELECT study FROM own_flags WHERE study > ? ORDER BY study LIMIT ?"
    return [study for (study,) in connection.execute(query, (after, limit))]


def _flags(connection: Connection, name: bytes) -> Sealed | None:
    query = "SELECT sealed FROM own_flags WHERE study = ?"
    row = connection.execute(query, (name,)).fetchone()
    return None if row is None else Sealed(row[0], (columns_flags.PLACE, name))


# This member's shares of keys: the study or the data key.


def _key_share_names(connection: Connection, after: bytes, limit: int) -> list[bytes]:
    query = (
        "SELECT study FROM ceremonies WHERE key_share <> x'' AND study > ? ORDER BY study LIMIT ?"
    )
    return [study for (study,) in connection.execute(query, (after, limit))]


def _key_share(connection: Connection, name: bytes) -> Sealed | None:
    query = "SELECT key_share FROM ceremonies WHERE study = ? AND key_share <> x''"
    row = connection.execute(query, (name,)).fetchone()
    if row is None:
        return None
    return Sealed(row[0], (KEY_SHARE, source_of(connection, name) or name))


# The log of the shares that were given: digests of the key and of what was decrypted.


def _share_names(connection: Connection, after: bytes, limit: int) -> list[bytes]:
    rows = connection.execute(
        "SELECT key_digest, c1_digest FROM shares WHERE share <> x''"
        " AND (key_digest, c1_digest) > (?, ?) ORDER BY key_digest, c1_digest LIMIT ?",
        (after[:DIGEST_BYTES], after[DIGEST_BYTES:], limit),
    )
    return [key_digest + c1_digest for key_digest, c1_digest in rows]


def _share(connection: Connection, name: bytes) -> Sealed | None:
    key_digest, c1_digest = name[:DIGEST_BYTES], name[DIGEST_BYTES:]
    row = connection.execute(
        "SELECT share FROM shares WHERE key_digest = ? AND c1_digest = ? AND share <> x''",
        (key_digest, c1_digest),
    ).fetchone()
    return None if row is None else Sealed(row[0], (shares.PLACE, key_digest, c1_digest))
