"""Patients who have enrolled for the columns of a data key, and which of our rows are theirs.

The pseudonym that the chain registers for a data key and the one by which this hospital knows the
patient meet here only, and under keyed names: the store alone names no patient, and links nobody
to the chain.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cipherward_chain.domains import ENROLLED
from cipherward_compute.column_keys import Slots
from cipherward_compute.datasets_form import NAME_BYTES
from cipherward_compute.errors import DataKeyUnknown, EnrolmentClosed
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.rows import PatientRows
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_studies.variables import Floats, Integers

# Later than every block: a choice that stands now counts, whenever it came.
NOW = 2**62


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a patient shows to its hospital: the pseudonyms of scopes `study:` and `care:`."""

    data_key: bytes
    study_pseudonym: bytes = field(repr=False)
    care_pseudonym: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What became of it. linked: the hospital knows the patient's rows. registered: the chain has
    the pseudonym, so that it has a slot."""

    linked: bool
    registered: bool


class Enrolments:
    """Keeps enrolments, and finds the slots of rows."""

    def __init__(self, database: Database, vault: Vault, opt_outs: OptOuts) -> None:
        self._database = database
        self._vault = vault
        self._opt_outs = opt_outs

    async def enrol(self, enrolment: Enrolment) -> Enrolled:
        """Take an enrolment; the patient's newest one at this member counts.

        Raises:
            DataKeyUnknown: no such data key is known here.
            EnrolmentClosed: its columns are fixed, or it has ended.
        """
        study, subject = enrolment.data_key, self._subject(enrolment)
        care = self._opt_outs.name("pseudonym", enrolment.care_pseudonym)

        def work(connection: sqlite3.Connection) -> Enrolled:
            _require_open(connection, study)
            connection.execute(
                "INSERT OR REPLACE INTO enrolments VALUES (?, ?, ?)", (study, subject, care)
            )
            return Enrolled(
                _holds(connection, "links WHERE pseudonym = ? AND until IS NULL", care),
                _holds(
                    connection,
                    "registrations WHERE study = ? AND pseudonym = ?",
                    study,
                    enrolment.study_pseudonym,
                ),
            )

        return await self._database.write(work)

    async def withdraw(self, enrolment: Enrolment) -> Enrolled:
        """Take an enrolment back; one that is not there is taken back too.

        Raises:
            as `enrol`.
        """
        study, subject = enrolment.data_key, self._subject(enrolment)
        care = self._opt_outs.name("pseudonym", enrolment.care_pseudonym)

        def work(connection: sqlite3.Connection) -> Enrolled:
            _require_open(connection, study)
            connection.execute(
                "DELETE FROM enrolments WHERE study = ? AND (subject = ? OR pseudonym = ?)",
                (study, subject, care),
            )
            return Enrolled(linked=False, registered=False)

        return await self._database.write(work)

    async def places(self, slots: Slots) -> dict[bytes, int]:
        """Return the slot of each of our rows' names (NAME_BYTES) whose patient has enrolled here.

        Rows of patients who are out now are not there: an opt-out wins, whenever it came.
        """
        subjects = await asyncio.to_thread(self._places_of, slots)  # 0.2 s for all there can be

        def work(connection: sqlite3.Connection) -> list[tuple[bytes, bytes]]:
            return connection.execute(
                "SELECT e.subject, l.reference FROM enrolments e"
                " JOIN links l ON l.pseudonym = e.pseudonym AND l.until IS NULL WHERE e.study = ?",
                (slots.data_key,),
            ).fetchall()

        linked = await self._database.read(work)
        out = await self._opt_outs.before(NOW)
        return {
            reference[:NAME_BYTES]: subjects[subject]
            for subject, reference in linked
            if subject in subjects and reference not in out
        }

    def _places_of(self, slots: Slots) -> dict[bytes, int]:
        return {
            self._name(slots.data_key, pseudonym): place
            for place, pseudonym in enumerate(slots.pseudonyms)
        }

    def _subject(self, enrolment: Enrolment) -> bytes:
        return self._name(enrolment.data_key, enrolment.study_pseudonym)

    def _name(self, data_key: bytes, pseudonym: bytes) -> bytes:
        return self._vault.keyed_name(ENROLLED, data_key, pseudonym)


def slot_values(
    places: dict[bytes, int], slots: int, names: Sequence[str], chunks: Iterable[PatientRows]
) -> dict[str, Floats]:
    """Return the value of each slot by variable; NaN where no row, or more than one, is its.

    A row is found by 64 bits of its keyed name: with ten million rows and sixty thousand slots a
    stranger's row is taken once in 10^7 columns.
    """
    wanted = np.array([int.from_bytes(name[:8], "little") for name in places], dtype=np.uint64)
    order = np.argsort(wanted)
    wanted, at = wanted[order], np.array(list(places.values()), dtype=np.int64)[order]
    found = {name: np.full(slots, np.nan) for name in names}
    rows: Integers = np.zeros(slots, dtype=np.int64)
    for chunk in chunks:
        if not len(wanted):
            break
        near = np.minimum(np.searchsorted(wanted, chunk.fingerprints), len(wanted) - 1)
        ours = np.flatnonzero(wanted[near] == chunk.fingerprints)
        slot = at[near[ours]]
        np.add.at(rows, slot, 1)
        for name in names:
            found[name][slot] = chunk.columns[name][ours]
    for name in names:
        found[name][rows > 1] = np.nan
    return found


def _require_open(connection: sqlite3.Connection, study: bytes) -> None:
    row = connection.execute(
        "SELECT k.fixed_at, s.ended FROM data_keys k JOIN studies s ON s.study = k.study"
        " WHERE k.study = ?",
        (study,),
    ).fetchone()
    if row is None:
        raise DataKeyUnknown("no such data key is known here")
    if row[0] or row[1]:
        raise EnrolmentClosed("the enrolment for this data key is closed")


def _holds(connection: sqlite3.Connection, where: str, *values: bytes) -> bool:
    return connection.execute(f"SELECT 1 FROM {where}", values).fetchone() is not None
