"""Studies as this member has followed them: what readers see, and who waits for a change."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from cipherward_chain.canonical import decode, encode
from cipherward_compute.errors import NotReleased, NotYetMade, StudyUnknown
from cipherward_compute.failures import (
    KEY_ENDED,
    MEMBER_FAILED,
    MEMBER_SILENT,
    NOT_APPROVED,
    PERMIT_ENDED,
    RELEASE_DEAD,
    TIME_OUT,
    CohortTooSmall,
)
from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey

PROPOSED, RELEASED, FAILED, WITHDRAWN = "proposed", "released", "failed", "withdrawn"
ENDED = "ended"  # with its permit, or with its data key
RETIRED = "retired"  # a data key that has done its work
HANDED_OVER, SUPERSEDED = "handed_over", "superseded"  # a resharing in force, and before another
# Steps of this member: of the key and the counts, of each round of values, of a release anew.
STEPS_BEFORE, STEPS_OF_ROUND, STEPS_OF_ATTEMPT = 6, 3, 3
# Of a study of stored columns; of a risk score's use; of a resharing, for who deals and stays.
STEPS_OF = {"column-study": 4, "risk-score": 5, "key-resharing": 7}


@dataclass(frozen=True, slots=True)
class Study:
    """A study at this member.

    Attributes:
        requester: the Ed25519 key that instantiated it; empty if that was not seen.
        round: the newest of the values, from 1; 0 before.
        attempts: releases that were begun anew with a refreshed sum.
        failure: why it failed, in words, and the word of a closed list for it; or empty.
        release: the order that released the newest result, or None.
        reported, failed: who has reported about the newest order, and whose step failed; sorted.
        awaited: whose report about it the contract still waits for, sorted.
        spec: its text, from the start order on.
        version: of the rows that were counted.
        opt_outs_height: the block that ordered the counts, before which opt-outs count; 0: none.
    """

    id: bytes
    requester: bytes
    members: tuple[str, ...]
    template: str
    stage: str
    steps_done: int
    round: int
    attempts: int
    ended: bool
    failure: str
    failure_reason: str
    spec: bytes
    version: bytes
    opt_outs_height: int
    release: OrderKey | None
    reported: tuple[str, ...]
    failed: tuple[str, ...]
    awaited: tuple[str, ...]

    @property
    def steps_total(self) -> int:
        """How many steps there are, of the rounds and attempts that are known."""
        rounds = STEPS_OF_ROUND * max(1, self.round)
        steps = STEPS_OF.get(self.template, STEPS_BEFORE + rounds)
        uses = max(1, self.round) if self.template == "risk-score" else 1
        return steps * uses + STEPS_OF_ATTEMPT * self.attempts


@dataclass(frozen=True, slots=True)
class Release:
    """A released result: the digest of its sums, and the members that switch them."""

    order: OrderKey
    digest: bytes
    online: tuple[str, ...]


class News:
    """Wakes those who wait for a change of a study. Used on the event loop only."""

    def __init__(self) -> None:
        self._waiters: dict[bytes, set[asyncio.Event]] = {}

    def tell(self, study: bytes) -> None:
        """Wake everybody who listens for this study."""
        for event in self._waiters.pop(study, ()):
            event.set()

    @contextmanager
    def listening(self, study: bytes) -> Generator[asyncio.Event]:
        """Yield an event that the next change sets: enter *before* looking at the study."""
        event = asyncio.Event()
        self._waiters.setdefault(study, set()).add(event)
        try:
            yield event
        finally:
            waiters = self._waiters.get(study)
            if waiters is not None:
                waiters.discard(event)
                if not waiters:
                    del self._waiters[study]


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most `seconds`; return whether it came."""
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await event.wait()
    except TimeoutError:
        return False
    return True


class Studies:
    """Finds studies."""

    def __init__(self, database: Database, news: News) -> None:
        self._database = database
        self.news = news

    async def find(self, study: bytes) -> Study | None:
        """Return the study, or None."""

        def work(connection: sqlite3.Connection) -> Study | None:
            return find_study(connection, study)

        return await self._database.read(work)

    async def known(self, study: bytes, seconds: float = 0.0) -> Study:
        """Return the study; wait at most `seconds` for the block that starts it.

        Raises:
            StudyUnknown: there is none.
        """
        with self.news.listening(study) as event:
            found = await self.find(study)
            if found is None and seconds and await happens(event, seconds):
                found = await self.find(study)
        if found is None:
            raise StudyUnknown("no such study is known here")
        return found

    async def of_member(self, study: bytes, member: str) -> Study:
        """Return the study if `member` is one of its members.

        Raises:
            StudyUnknown: it is not, or there is no such study.
        """
        found = await self.known(study)
        if member not in found.members:
            raise StudyUnknown("no such study is known here")
        return found

    async def release(self, study: bytes, order: OrderKey) -> Release:
        """Return what an order has released of a study.

        Raises:
            NotReleased: nothing, or not yet here.
        """

        def work(connection: sqlite3.Connection) -> tuple[bytes, bytes] | None:
            return connection.execute(
                "SELECT digest, online FROM releases WHERE study = ? AND height = ? AND number = ?",
                (study, order.height, order.index),
            ).fetchone()

        row = await self._database.read(work)
        if row is None:
            raise NotReleased("that order has released no result here")
        return Release(order, row[0], _names(row[1]))

    async def require_opened(self, study: bytes, what: str) -> None:
        """Return if all members' commitments stand on the chain, so that `what` may be shown.

        Raises:
            NotYetMade: they do not yet, as far as the chain is known here.
        """

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT 1 FROM opened WHERE study = ? AND what = ?", (study, what)
            )
            return row.fetchone() is not None

        if not await self._database.read(work):
            raise NotYetMade("not all members have committed, as far as this one knows")


def find_study(connection: sqlite3.Connection, study: bytes) -> Study | None:
    """Return the study as it stands in this transaction, or None."""
    row = connection.execute(
        "SELECT requester, members, template, stage, steps_done, round, attempts, ended, failure,"
        " failure_reason, spec, version, opt_outs_height, awaited FROM studies WHERE study = ?",
        (study,),
    ).fetchone()
    if row is None:
        return None
    requester, members, *middle, ended, failure, reason, spec, version, height, awaited = row
    release = connection.execute(
        "SELECT height, number FROM releases WHERE study = ? ORDER BY height DESC, number DESC",
        (study,),
    ).fetchone()
    answers = connection.execute(
        "SELECT member, failed FROM answers WHERE study = ? ORDER BY member", (study,)
    ).fetchall()
    reported = tuple(member for member, _ in answers)
    still = () if ended else tuple(sorted(set(_names(awaited)) - set(reported)))
    return Study(
        study,
        requester,
        _names(members),
        *middle,
        ended=bool(ended),
        failure=failure,
        failure_reason=reason,
        spec=spec,
        version=version,
        opt_outs_height=height,
        release=None if release is None else OrderKey(*release),
        reported=reported,
        failed=tuple(member for member, failed in answers if failed),
        awaited=still,
    )


def end_study(connection: sqlite3.Connection, study: bytes, cause: str) -> None:
    """Say how a study ended that a block has ordered to retire, for one of `CAUSES`."""
    found = find_study(connection, study)
    if found is None or found.ended:
        return
    stage, reason, failure = _ENDS[cause], found.failure_reason, found.failure
    if cause == "permit-ended":
        reason, failure = PERMIT_ENDED, "its data permit has ended"
    elif cause == "key-ended":
        reason, failure = KEY_ENDED, "the data key that it computes with has ended"
    elif stage == FAILED and not failure:
        awaited = connection.execute(
            "SELECT awaited FROM studies WHERE study = ?", (study,)
        ).fetchone()
        reason, failure = why_ended(found, _names(awaited[0]))
    connection.execute(
        "UPDATE studies SET stage = ?, failure_reason = ?, failure = ?, ended = 1 WHERE study = ?",
        (stage, reason, failure, study),
    )


_ENDS = {
    **{"released": RELEASED, "failed": FAILED, "withdrawn": WITHDRAWN},
    **dict.fromkeys(("permit-ended", "key-ended"), ENDED),
    **dict.fromkeys(("retired", "expired", "spent"), RETIRED),
}


def why_ended(study: Study, awaited: tuple[str, ...]) -> tuple[str, str]:
    """Return why a study has failed that failed nothing here: who did, or who was silent."""
    if study.failed:
        names = ", ".join(study.failed)
        if study.stage == "checking":  # as the contract calls it, which knows no causes
            return CohortTooSmall.reason, f"while checking: {names} did not pass the counts"
        return MEMBER_FAILED, f"while {study.stage}: {names} could not take the step"
    silent = ", ".join(name for name in awaited if name not in study.reported)
    if not silent:
        return TIME_OUT, f"it ended while {study.stage}: too few reports, or its time ran out"
    if study.stage in ("checking", "releasing"):
        return RELEASE_DEAD, f"while {study.stage}: {silent} gave no part in time, at any attempt"
    return MEMBER_SILENT, f"while {study.stage}: {silent} did not answer in time"


def lapse_studies(connection: sqlite3.Connection, block_seconds: int) -> list[bytes]:
    """End the studies whose time for approval is over; return their ids."""
    rows = connection.execute(
        "UPDATE studies SET stage = ?, ended = 1, failure_reason = ?,"
        " failure = 'it was not approved in time'"
        " WHERE stage = ? AND lapses < ? RETURNING study",
        (FAILED, NOT_APPROVED, PROPOSED, block_seconds),
    )
    return [study for (study,) in rows.fetchall()]


def names_of(members: tuple[str, ...]) -> bytes:
    """Return member ids as they are stored."""
    return encode(list(members))


def _names(octets: bytes) -> tuple[str, ...]:
    value = decode(octets)
    assert isinstance(value, list)  # what `names_of` wrote
    return tuple(str(item) for item in value)
