"""Data keys as this member has followed them: their texts, and the slots of their columns.

Every pseudonym that the chain registers in the scope of a data key, after the key's contract was
proposed and no later than the block that fixes the columns, has one slot, in the order of its
octets. Who that is, and at which hospital, nobody reads from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_chain.acts import ID_BYTES
from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.domains import COLUMN_SLOTS
from cipherward_chain.fields import Fields
from cipherward_compute.errors import (
    ColumnTextMalformed,
    ColumnTextUnknown,
    DataKeyUnknown,
    StepFailed,
)
from cipherward_compute.failures import SpecNotHandedOver
from cipherward_compute.framing import digest_of
from cipherward_kit.database import Database
from cipherward_studies import columns as column_texts
from cipherward_studies.columns import BLOCKS_MAX, ColumnText, parse_column_text
from cipherward_threshold.parameters import profile

DATA_KEY = "data-key"  # the template
PROFILE = "product-1"  # what multiplies
SCOPE = "study:"  # of the pseudonyms that enrol, before the key's id in hexadecimal
BLOCK_SLOTS = profile(PROFILE).slots
SLOTS_MAX = BLOCKS_MAX * BLOCK_SLOTS


class NotFixed(StepFailed):
    """The slots of the columns are not fixed yet, as far as this member has followed the chain."""

    reason = "COLUMNS_NOT_FIXED"


class NobodyEnrolled(StepFailed):
    """No pseudonym is registered for the data key."""

    reason = "NOBODY_ENROLLED"


class TooManyEnrolled(StepFailed):
    """More pseudonyms are registered than the columns of a member have slots."""

    reason = "TOO_MANY_ENROLLED"


def study_scope(data_key: bytes) -> str:
    """Return the scope in which patients enrol for a data key."""
    return SCOPE + data_key.hex()


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What the contract of a data key says about its columns."""

    data_set: str
    minimum: int
    spec_digest: bytes

    @classmethod
    def read(cls, terms: dict[str, Value]) -> KeyTerms | None:
        """Return what the terms of a contract say, or None: no data key of this release."""
        try:
            fields = Fields(terms)
            return cls(
                fields.text("data_set"),
                fields.integer("minimum", minimum=1),
                fields.octets("spec_digest", length=32),
            )
        except NotCanonical:
            return None


@dataclass(frozen=True, slots=True)
class Registered:
    """A pseudonym that a block has registered in the scope of a data key."""

    data_key: bytes
    pseudonym: bytes


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key at this member; `fixed_at` is the block that fixed its columns, 0 before."""

    id: bytes
    data_set: str
    minimum: int
    spec_digest: bytes
    text: ColumnText
    fixed_at: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Whose slots the columns of a data key have: pseudonyms, ascending.

    digest: what all members must agree on.
    """

    data_key: bytes
    pseudonyms: tuple[bytes, ...] = field(repr=False)
    digest: bytes

    @classmethod
    def of(cls, data_key: bytes, pseudonyms: tuple[bytes, ...]) -> Slots:
        """Return the slots of these pseudonyms, ascending; 5 ms for all that there can be."""
        return cls(data_key, pseudonyms, digest_of(COLUMN_SLOTS, data_key, b"".join(pseudonyms)))

    @property
    def blocks(self) -> int:
        """How many blocks of slots a column takes."""
        return column_texts.blocks_of(len(self.pseudonyms), BLOCK_SLOTS)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many slots each block has."""
        whole, rest = divmod(len(self.pseudonyms), BLOCK_SLOTS)
        return (BLOCK_SLOTS,) * whole + ((rest,) if rest else ())


class ColumnKeys:
    """Finds data keys, takes their texts, and says which slots their columns have."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_text(self, octets: bytes) -> bytes:
        """Keep the text of a data key that a block has proposed; return its digest.

        Raises:
            ColumnTextMalformed: it is no such text.
            ColumnTextUnknown: no data key names it, as far as this member knows.
        """
        try:
            text = parse_column_text(octets)
        except column_texts.ColumnTextMalformed as error:
            raise ColumnTextMalformed(str(error)) from None

        def work(connection: sqlite3.Connection) -> None:
            known = connection.execute(
                "UPDATE data_keys SET text = ? WHERE spec_digest = ? AND data_set = ?"
                " RETURNING study",
                (octets, text.digest, text.data_set),
            )
            if not known.fetchall():
                raise ColumnTextUnknown("no data key that is known here has that text")

        await self._database.write(work)
        return text.digest

    async def data_key(self, study: bytes) -> DataKey:
        """Return a data key.

        Raises:
            DataKeyUnknown: no block has proposed it.
            SpecNotHandedOver: nobody has given its text to this member.
        """

        def work(connection: sqlite3.Connection) -> tuple[str, int, bytes, bytes, int] | None:
            return connection.execute(
                "SELECT data_set, minimum, spec_digest, text, fixed_at FROM data_keys"
                " WHERE study = ?",
                (study,),
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            raise DataKeyUnknown("no such data key is known here")
        data_set, minimum, spec_digest, text, fixed_at = row
        if not text:
            raise SpecNotHandedOver("the text of the columns was not handed to this member")
        return DataKey(study, data_set, minimum, spec_digest, parse_column_text(text), fixed_at)

    async def held(self) -> list[bytes]:
        """Return the data keys of which this member holds a share, ascending."""

        def work(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT study FROM data_keys JOIN ceremonies USING (study)"
                " WHERE key_share <> x'' ORDER BY study"
            )
            return [study for (study,) in rows]

        return await self._database.read(work)

    async def slots(self, study: bytes) -> Slots:
        """Return the slots of a data key's columns: the same at every member.

        Raises:
            NotFixed: they are not fixed yet.
            NobodyEnrolled, TooManyEnrolled: there are none, or more than columns have.
        """

        def work(connection: sqlite3.Connection) -> Slots | None:
            row = connection.execute("SELECT fixed_at FROM data_keys WHERE study = ?", (study,))
            found = row.fetchone()
            if found is None or not found[0]:
                return None
            rows = connection.execute(
                "SELECT pseudonym FROM registrations WHERE study = ? AND height <= ?"
                " ORDER BY pseudonym LIMIT ?",
                (study, found[0], SLOTS_MAX + 1),
            )
            return Slots.of(study, tuple(pseudonym for (pseudonym,) in rows))

        found = await self._database.read(work)
        if found is None:
            raise NotFixed("the columns of this data key are not fixed yet")
        if not found.pseudonyms:
            raise NobodyEnrolled("no patient has enrolled for this data key")
        if len(found.pseudonyms) > SLOTS_MAX:
            raise TooManyEnrolled(f"columns have at most {SLOTS_MAX} slots")
        return found


def data_key_of(scope: str) -> bytes:
    """Return the data key whose patients enrol in a scope, or b"" if it is no such scope."""
    try:
        found = bytes.fromhex(scope.removeprefix(SCOPE))
    except ValueError:
        return b""
    return found if len(found) == ID_BYTES and scope == study_scope(found) else b""


def begin_data_key(connection: sqlite3.Connection, study: bytes, terms: KeyTerms) -> None:
    """Remember a data key that a block has proposed: from now on its registrations count."""
    connection.execute(
        "INSERT OR IGNORE INTO data_keys (study, data_set, minimum, spec_digest)"
        " VALUES (?, ?, ?, ?)",
        (study, terms.data_set, terms.minimum, terms.spec_digest),
    )


def register(
    connection: sqlite3.Connection, height: int, registered: tuple[Registered, ...]
) -> None:
    """Keep the registrations of a block for data keys that are known and not fixed."""
    connection.executemany(
        "INSERT OR IGNORE INTO registrations SELECT study, ?, ? FROM data_keys"
        " WHERE study = ? AND NOT fixed_at",
        [(one.pseudonym, height, one.data_key) for one in registered],
    )


def fix_slots(connection: sqlite3.Connection, study: bytes, height: int) -> None:
    """Close the enrolment of a data key: the block of `height` fixes its columns."""
    connection.execute(
        "UPDATE data_keys SET fixed_at = ? WHERE study = ? AND NOT fixed_at", (height, study)
    )


def forget_enrolments(connection: sqlite3.Connection, studies: Sequence[bytes]) -> None:
    """Forget who has enrolled for data keys that have ended."""
    for table in ("enrolments", "registrations"):
        connection.executemany(
            f"DELETE FROM {table} WHERE study = ?", [(study,) for study in studies]
        )
