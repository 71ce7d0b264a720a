"""Which of this member's patients earlier studies were about, so that none is singled out.

Two exact answers over cohorts that differ by a few patients tell, by subtraction, about these few.
Before it encrypts anything, a member compares its part of a study's cohort with its part of every
other exact study of that data set that runs or was released. The same part is fine; one that
differs by fewer patients than the larger of the two studies' minima is refused. A study with noise
is neither compared nor remembered: what can be subtracted from its answer is accounted for in the
privacy budget.

| what | rule |
|---|---|
| a patient | is told by the keyed name of the row's reference; without, by the row's place |
| a running study | counts as if it was released; forgotten if it ends without a release |
| a released one | is remembered for KEPT_SECONDS since its cohort was last asked about |
| so many | COHORTS_MAX different ones of a data set; then only those, until one is forgotten |

A full memory refuses: to forget the oldest instead would let anybody clear it by asking.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from cipherward_compute.failures import CohortsFull, CohortTooClose
from cipherward_compute.rows import PatientRows
from cipherward_compute.store import Write
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_studies.differencing import Fingerprints, check_differs
from cipherward_studies.errors import CohortTooSimilar
from cipherward_studies.plan import Plan
from cipherward_studies.variables import Columns

# Eight bytes a patient: 1.6 GB of a data set of 200,000 patients here, if no two are the same.
COHORTS_MAX = 1_000
# Longer than a data set's rows stay nearly the same.
KEPT_SECONDS = 5 * 365 * 86_400
PLACE = b"cohorts"


class CohortWatch:
    """Sees which patients of a member a plan uses, while its rows pass by."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._used: list[Fingerprints] = []

    def columns(self, rows: Iterable[PatientRows]) -> Iterator[Columns]:
        """Yield the columns of each chunk."""
        for chunk in rows:
            self._used.append(chunk.fingerprints[self._plan.prepared(chunk.columns).used])
            yield chunk.columns

    def fingerprints(self) -> Fingerprints:
        """Return those of the patients that were used, ascending."""
        return np.unique(np.concatenate([np.empty(0, np.uint64), *self._used]))


@dataclass(frozen=True, slots=True)
class Cohort:
    """This member's part of a study's cohort."""

    data_set: str
    minimum: int
    patients: Fingerprints = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Earlier:
    number: int
    name: bytes
    minimum: int


class Cohorts:
    """Remembers cohorts, and refuses those that are too close to one."""

    def __init__(self, database: Database, vault: Vault, clock: Callable[[], float]) -> None:
        """Describe the memory; `clock`: Unix seconds now."""
        self._database = database
        self._vault = vault
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()  # two studies must not overlook each other

    async def admit(self, study: bytes, cohort: Cohort) -> None:
        """Let an exact study go on, and remember its cohort.

        Raises:
            CohortTooClose: it differs by a few patients from another study's.
            CohortsFull: it is a new one, and no more are remembered.
            VaultCorrupt: what is remembered is damaged.
        """
        octets = cohort.patients.astype("<u8").tobytes()
        name = self._vault.name(cohort.data_set.encode() + octets)
        async with self._one_at_a_time:
            await self._database.write(lambda c: self._begin(c, study))
            for earlier in await self._database.read(lambda c: _near(c, cohort)):
                if earlier.name != name:
                    await self._check(cohort, earlier)
            sealed = await asyncio.to_thread(
                self._vault.seal, octets, PLACE, cohort.data_set.encode(), name
            )
            await self._database.write(lambda c: self._keep(c, study, cohort, name, sealed))

    async def _check(self, cohort: Cohort, earlier: _Earlier) -> None:
        def read(connection: sqlite3.Connection) -> bytes:
            row = connection.execute(
                "SELECT sealed FROM cohorts WHERE number = ?", (earlier.number,)
            )
            return row.fetchone()[0]

        def work(sealed: bytes) -> None:
            octets = self._vault.open(sealed, PLACE, cohort.data_set.encode(), earlier.name)
            known = np.frombuffer(octets, dtype="<u8").astype(np.uint64)
            check_differs(cohort.patients, [known], max(cohort.minimum, earlier.minimum))

        try:
            await asyncio.to_thread(work, await self._database.read(read))
        except CohortTooSimilar:
            raise CohortTooClose(
                "the cohort differs by fewer patients of this member than the minimum from that of"
                " another exact study"
            ) from None

    def _begin(self, connection: sqlite3.Connection, study: bytes) -> None:
        """Forget what an earlier try of this study left, and what is too old."""
        _leave(connection, study)
        connection.execute(
            "DELETE FROM cohorts WHERE asked_at < ?"
            " AND number NOT IN (SELECT cohort FROM cohort_studies)",
            (int(self._clock()) - KEPT_SECONDS,),
        )

    def _keep(
        self,
        connection: sqlite3.Connection,
        study: bytes,
        cohort: Cohort,
        name: bytes,
        sealed: bytes,
    ) -> None:
        now, size = int(self._clock()), cohort.patients.size
        known = connection.execute(
            "UPDATE cohorts SET asked_at = ?, minimum = max(minimum, ?)"
            " WHERE data_set = ? AND name = ? RETURNING number",
            (now, cohort.minimum, cohort.data_set, name),
        ).fetchone()
        if known is None:
            (count,) = connection.execute(
                "SELECT count(*) FROM cohorts WHERE data_set = ?", (cohort.data_set,)
            ).fetchone()
            if count >= COHORTS_MAX:
                raise CohortsFull(
                    f"{COHORTS_MAX} different cohorts of {cohort.data_set} were asked about here;"
                    " a further one cannot be compared with all later ones"
                )
            known = connection.execute(
                "INSERT INTO cohorts (data_set, name, patients, minimum, asked_at, sealed)"
                " VALUES (?, ?, ?, ?, ?, ?) RETURNING number",
                (cohort.data_set, name, size, cohort.minimum, now, sealed),
            ).fetchone()
        connection.execute("INSERT INTO cohort_studies VALUES (?, ?)", (study, known[0]))


def cohort_settled(study: bytes) -> Write:
    """Return the effect of a study's end: its cohort stays if a block has released a result."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE cohorts SET released = 1 WHERE number IN"
            " (SELECT cohort FROM cohort_studies WHERE study = ?)"
            " AND EXISTS (SELECT 1 FROM releases WHERE study = ?)",
            (study, study),
        )
        _leave(connection, study)

    return write


def _leave(connection: sqlite3.Connection, study: bytes) -> None:
    """Let a study's cohort go, unless it was released or another study runs over it."""
    connection.execute("DELETE FROM cohort_studies WHERE study = ?", (study,))
    connection.execute(
        "DELETE FROM cohorts WHERE NOT released"
        " AND number NOT IN (SELECT cohort FROM cohort_studies)"
    )


def _near(connection: sqlite3.Connection, cohort: Cohort) -> list[_Earlier]:
    """Return those whose size allows a difference below the minimum: the others differ by more."""
    rows = connection.execute(
        "SELECT number, name, minimum FROM cohorts"
        " WHERE data_set = ? AND abs(patients - ?) < max(minimum, ?)",
        (cohort.data_set, cohort.patients.size, cohort.minimum),
    )
    return [_Earlier(*row) for row in rows]
