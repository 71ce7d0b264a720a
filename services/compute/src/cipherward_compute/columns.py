"""What a member commits to when it has encrypted its columns: the list of them, by digest.

The list is canonical CBOR. Its columns stand in the order of the data key's text, so that a place
says which column it is; every eight of them share a proof.

| field | value |
|---|---|
| version | 1 |
| study | the data key |
| member | whose columns |
| text, slots | digests of the text and of the slots |
| columns, proofs | SHA-256 of each ciphertext, and of each proof |
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.batches import CIPHERTEXTS_MAX
from cipherward_chain.canonical import NotCanonical, decode_map, encode
from cipherward_chain.domains import COLUMN_MANIFEST, COLUMN_PROOF, COLUMN_WEIGHTS
from cipherward_chain.fields import Fields
from cipherward_compute.column_keys import DataKey, Slots
from cipherward_compute.failures import SumDiffers
from cipherward_compute.framing import digest_of, framed
from cipherward_compute.store import Write
from cipherward_kit.database import Database
from cipherward_studies.columns import Column

VERSION = 1
WEIGHTS = (1 << 32) - 1  # different weights of a check, from 1


class ManifestMalformed(ValueError):
    """Octets are not the list of a member's columns of this data key."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns that share a proof. first: the place of the first one in the list."""

    number: int
    first: int
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns every member of a data key stores, and in which slots."""

    data_key: DataKey
    slots: Slots

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return all columns of one member, in the order of its list."""
        return self.data_key.text.columns(self.slots.blocks)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """Return the columns by proof."""
        columns = self.columns
        return tuple(
            Batch(number, first, columns[first : first + CIPHERTEXTS_MAX])
            for number, first in enumerate(range(0, len(columns), CIPHERTEXTS_MAX))
        )

    @property
    def flags(self) -> tuple[int, ...]:
        """Return the places of the flag columns."""
        return tuple(n for n, column in enumerate(self.columns) if column.kind == "flag")

    def proof_context(self, chain_id: str, member: str, batch: int) -> bytes:
        """Return what the proof of a batch is bound to: it is good nowhere else."""
        return framed(
            COLUMN_PROOF,
            chain_id.encode(),
            self.data_key.id,
            member.encode(),
            self.data_key.spec_digest,
            self.slots.digest,
            batch.to_bytes(4, "big"),
        )

    def weights(self, seed: bytes, commitments: Mapping[str, bytes], member: str) -> list[int]:
        """Return the weights of a member's flags, 1 <= weight < 2^32.

        Whoever knew them before could choose flags that cancel each other in the check.

        Args:
            seed: of the block that holds all commitments; it can be foreseen.
            commitments: of every member to its columns, by member; together they cannot.
        """
        found: list[int] = []
        committed = [
            part for name in sorted(commitments) for part in (name.encode(), commitments[name])
        ]
        for place in self.flags:
            number = place.to_bytes(4, "big")
            parts = (seed, self.data_key.id, member.encode(), number, *committed)
            drawn = int.from_bytes(digest_of(COLUMN_WEIGHTS, *parts)[:8], "big")
            found.append(1 + drawn % WEIGHTS)
        return found


@dataclass(frozen=True, slots=True)
class Manifest:
    """The list of a member's columns. columns, proofs: digests, in the layout's order."""

    study: bytes
    member: str
    text: bytes
    slots: bytes
    columns: tuple[bytes, ...]
    proofs: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """Return the canonical list."""
        return encode(
            {
                "version": VERSION,
                "study": self.study,
                "member": self.member,
                "text": self.text,
                "slots": self.slots,
                "columns": list(self.columns),
                "proofs": list(self.proofs),
            }
        )

    @property
    def commitment(self) -> bytes:
        """What the member tells the chain about its columns (32 bytes)."""
        return digest_of(COLUMN_MANIFEST, self.to_bytes())

    def of(self, layout: Layout, column: Column) -> bytes:
        """Return the digest of one column's ciphertext, by which its member's storage has it."""
        return self.columns[layout.columns.index(column)]


def parse_manifest(octets: bytes, layout: Layout, member: str) -> Manifest:
    """Return the list of a member's columns.

    Raises:
        ManifestMalformed: it is none, or it is of other columns, slots or another member.
    """
    try:
        fields = Fields(decode_map(octets))
        if fields.integer("version") != VERSION:
            raise ManifestMalformed("its columns are listed in another form")
        found = Manifest(
            fields.octets("study", length=ID_BYTES),
            fields.text("member"),
            fields.octets("text", length=DIGEST_BYTES),
            fields.octets("slots", length=DIGEST_BYTES),
            _digests(fields, "columns"),
            _digests(fields, "proofs"),
        )
        fields.end()
    except NotCanonical as error:
        raise ManifestMalformed(f"its list of columns: {error}") from None
    named = (found.study, found.member, found.text)
    if named != (layout.data_key.id, member, layout.data_key.spec_digest):
        raise ManifestMalformed("its columns are another member's, or of another data key")
    if found.slots != layout.slots.digest:
        raise ManifestMalformed("its columns have other slots")
    if len(found.columns) != len(layout.columns) or len(found.proofs) != len(layout.batches):
        raise ManifestMalformed("it has another number of columns")
    return found


def _digests(fields: Fields, name: str) -> tuple[bytes, ...]:
    found: list[bytes] = []
    for item in fields.items(name):
        if not isinstance(item, bytes) or len(item) != DIGEST_BYTES:
            raise NotCanonical(f"field {name} holds more than digests")
        found.append(item)
    return tuple(found)


class Manifests:
    """Keeps the lists of columns that this member has made, or verified, and the checks of flags.

    A peer's list is here once every column in it is proven; or a resharing has handed it over: then
    each batch is verified when it is used first.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, study: bytes, member: str) -> bytes:
        """Return the list of a member's columns, or b"": not made, or not verified yet."""

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT manifest FROM column_manifests WHERE study = ? AND member = ?",
                (study, member),
            ).fetchone()
            return b"" if row is None else row[0]

        return await self._database.read(work)

    async def all(self, study: bytes) -> dict[str, bytes]:
        """Return the lists of all members that have columns of a data key, by member."""

        def work(connection: sqlite3.Connection) -> dict[str, bytes]:
            rows = connection.execute(
                "SELECT member, manifest FROM column_manifests WHERE study = ?", (study,)
            )
            return dict(rows.fetchall())

        return await self._database.read(work)

    async def is_proven(self, study: bytes, member: str, batch: int) -> bool:
        """Return whether this member has verified the proof of a batch of columns."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT 1 FROM column_manifests m WHERE study = ? AND member = ? AND (NOT handed"
                " OR EXISTS (SELECT 1 FROM proven_columns p WHERE p.study = m.study"
                " AND p.member = m.member AND p.batch = ?))",
                (study, member, batch),
            )
            return row.fetchone() is not None

        return await self._database.read(work)

    async def proven(self, study: bytes, member: str, batch: int) -> None:
        """Keep that the proof of a batch of a handed list holds."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO proven_columns VALUES (?, ?, ?)", (study, member, batch)
            )

        await self._database.write(work)

    async def verified(self, study: bytes, member: str, manifest: bytes) -> None:
        """Keep a list whose columns are all proven: a restart does not verify them again."""
        await self._database.write(listed(study, member, manifest))

    async def checks(self, study: bytes, digest: bytes) -> bytes:
        """Return the packed checks that an order names.

        Raises:
            SumDiffers: this member has made no such.
        """

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT checks FROM column_checks WHERE study = ? AND digest = ?", (study, digest)
            ).fetchone()
            return b"" if row is None else row[0]

        found = await self._database.read(work)
        if not found:
            raise SumDiffers("the order names another check of the flags than this member made")
        return found


def listed(study: bytes, member: str, manifest: bytes) -> Write:
    """Return the effect of having a member's columns."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO column_manifests (study, member, manifest) VALUES (?, ?, ?)",
            (study, member, manifest),
        )

    return write


def checked(study: bytes, checks: bytes, digest: bytes) -> Write:
    """Return the effect of computing the checks of all flags."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO column_checks VALUES (?, ?, ?)", (study, digest, checks)
        )

    return write
