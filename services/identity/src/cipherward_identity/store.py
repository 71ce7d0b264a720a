"""What identity keeps: admissions by the hash of their code, grants, holders to renew, progress.

No name, no code and no secret: an admission is a random id that the desk chose, and a holder is
known by a key that only this issuer sees.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from cipherward_anoncred.octets import pack, unpack
from cipherward_anoncred.schema import STAFF
from cipherward_chain.checkpoint import Checkpoint
from cipherward_kit.database import Database
from cipherward_member.chain_rows import advance, stored_checkpoint

ADMISSION_TABLES = """
    CREATE TABLE admission (
        request_id BLOB PRIMARY KEY,
        salt BLOB NOT NULL,
        code_hash BLOB NOT NULL UNIQUE,
        schema TEXT NOT NULL,
        attributes BLOB NOT NULL,
        expires_at INTEGER NOT NULL,
        identity BLOB,
        request_digest BLOB,
        answer BLOB,
        CHECK ((identity IS NULL) = (request_digest IS NULL)),
        CHECK ((identity IS NULL) = (answer IS NULL))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX admission_open ON admission (expires_at) WHERE identity IS NULL;
    CREATE INDEX admission_used ON admission (identity) WHERE identity IS NOT NULL;
    CREATE TABLE holder (
        identity BLOB PRIMARY KEY,
        record BLOB NOT NULL,
        ended INTEGER NOT NULL CHECK (ended IN (0, 1))
    ) STRICT, WITHOUT ROWID;
"""


class AdmissionConflict(ValueError):
    """The request id stands for an admission with another schema or attributes."""


class StoreFull(ValueError):
    """As many unused admissions as the bound allows."""


class CodeUsed(ValueError):
    """The code does not exist any more, or another request has used it."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What a desk has checked. `expires_at` in seconds of Unix time; `code_hash` 32 bytes."""

    request_id: bytes
    salt: bytes
    code_hash: bytes
    schema: str
    attributes: tuple[bytes, ...]
    expires_at: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The request that used a code, by its digest, and what it was answered."""

    request_digest: bytes
    grant: bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a grant is for: the identity key towards this issuer, and what renewal needs."""

    identity: bytes
    record: bytes


class IdentityStore:
    """The service's SQLite file; every method is one transaction and is on disk when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, wanted: Admission, *, now: int, open_max: int) -> Admission:
        """Keep an admission, or return the one that already stands under its request id.

        Unused admissions that expired before `now` are forgotten first.

        Raises:
            AdmissionConflict: the request id stands for something else.
            StoreFull: `open_max` unused admissions stand already.
        """

        def work(connection: sqlite3.Connection) -> Admission:
            connection.execute(
                "DELETE FROM admission WHERE identity IS NULL AND expires_at <= ?", (now,)
            )
            row = connection.execute(
                f"SELECT {_ADMISSION} FROM admission WHERE request_id = ?", (wanted.request_id,)
            ).fetchone()
            if row is not None:
                kept = _admission(row)
                if (kept.schema, kept.attributes) != (wanted.schema, wanted.attributes):
                    raise AdmissionConflict("another admission has this request id")
                return kept
            (count,) = connection.execute(
                "SELECT count(*) FROM admission WHERE identity IS NULL"
            ).fetchone()
            if count >= open_max:
                raise StoreFull(f"{count} unused admissions")
            connection.execute(
                f"INSERT INTO admission ({_ADMISSION}) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    wanted.request_id,
                    wanted.salt,
                    wanted.code_hash,
                    wanted.schema,
                    pack(*wanted.attributes),
                    wanted.expires_at,
                ),
            )
            return wanted

        return await self._database.write_grouped(work)

    async def admission(self, code_hash: bytes) -> tuple[Admission, Answered | None] | None:
        """Return the admission of a code with what it was answered, if it was used; or None."""

        def work(connection: sqlite3.Connection) -> tuple[Admission, Answered | None] | None:
            row = connection.execute(
                f"SELECT {_ADMISSION}, request_digest, answer FROM admission WHERE code_hash = ?",
                (code_hash,),
            ).fetchone()
            if row is None:
                return None
            digest, answer = row[-2:]
            return _admission(row[:-2]), None if digest is None else Answered(digest, answer)

        return await self._database.read(work)

    async def keep_grant(
        self, code_hash: bytes, answered: Answered, holder: Holder, *, now: int
    ) -> bytes:
        """Use a code: keep its answer and its holder; return the grant that stands.

        That is the stored one if the same request was answered meanwhile. A holder who comes again
        with the same secret takes the place of its earlier record, also of an ended one: the desk
        has admitted it again.

        Raises:
            CodeUsed: another request has used the code, or the admission expired or is gone.
        """

        def work(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT request_digest, answer, expires_at FROM admission WHERE code_hash = ?",
                (code_hash,),
            ).fetchone()
            if row is None:
                raise CodeUsed("the admission is gone")
            digest, answer, expires_at = row
            if digest is not None:
                if digest != answered.request_digest:
                    raise CodeUsed("another request has used the code")
                return answer
            if expires_at <= now:  # it expired, or was ended, while the grant was made
                raise CodeUsed("the admission has expired")
            connection.execute(
                "UPDATE admission SET identity = ?, request_digest = ?, answer = ?"
                " WHERE code_hash = ?",
                (holder.identity, answered.request_digest, answered.grant, code_hash),
            )
            connection.execute(
                "INSERT INTO holder (identity, record, ended) VALUES (?, ?, 0)"
                " ON CONFLICT (identity) DO UPDATE SET record = excluded.record, ended = 0",
                (holder.identity, holder.record),
            )
            return answered.grant

        return await self._database.write_grouped(work)

    async def renewable(self, identity: bytes) -> bytes | None:
        """Return the issuer record of a holder that is not ended, or None."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(
                "SELECT record FROM holder WHERE identity = ? AND ended = 0", (identity,)
            ).fetchone()
            return None if row is None else row[0]

        return await self._database.read(work)

    async def admission_of_staff(self, identity: bytes) -> bytes | None:
        """Return the newest admission that a staff credential of that key came from, or None.

        Patients are not found, whatever their key: nobody opens them.
        """

        def work(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(
                "SELECT request_id FROM admission WHERE identity = ? AND schema = ?"
                " ORDER BY expires_at DESC LIMIT 1",
                (identity, STAFF.name),
            ).fetchone()
            return None if row is None else row[0]

        return await self._database.read(work)

    async def end(self, request_id: bytes) -> bool:
        """Let the holder of an admission be renewed no more; an unused code dies. Idempotent.

        Returns:
            Whether an admission with that request id exists.
        """

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT identity FROM admission WHERE request_id = ?", (request_id,)
            ).fetchone()
            if row is None:
                return False
            # A code that was never used is dead at once, and forgotten by the next admission.
            connection.execute(
                "UPDATE admission SET expires_at = 0 WHERE request_id = ? AND identity IS NULL",
                (request_id,),
            )
            connection.execute("UPDATE holder SET ended = 1 WHERE identity = ?", (row[0],))
            return True

        return await self._database.write(work)

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep how far the chain was followed."""
        height, octets = checkpoint.height, checkpoint.to_bytes()
        await self._database.write_grouped(lambda connection: advance(connection, height, octets))

    async def load_checkpoint(self) -> bytes:
        """Return how far the chain was followed, or b"" if never."""
        return await self._database.read(stored_checkpoint)


_ADMISSION = "request_id, salt, code_hash, schema, attributes, expires_at"
_Row = tuple[bytes, bytes, bytes, str, bytes, int]


def _admission(row: _Row) -> Admission:
    request_id, salt, code_hash, schema, attributes, expires_at = row
    return Admission(request_id, salt, code_hash, schema, tuple(unpack(attributes)), expires_at)
