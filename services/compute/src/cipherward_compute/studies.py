"""Studies as this member has followed them: what readers see, and who waits for a change."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from cipherward_chain.canonical import decode, encode
from cipherward_compute.errors import NotYetMade, StudyUnknown
from cipherward_kit.database import Database
from cipherward_member.reports import OrderKey

PROPOSED, RELEASED, FAILED, WITHDRAWN = "proposed", "released", "failed", "withdrawn"
ENDED = "ended"  # with its permit
STEPS_TOTAL = 9  # three of the ceremony, three of the counts, three of the values


@dataclass(frozen=True, slots=True)
class Study:
    """A study at this member.

    Attributes:
        requester: the Ed25519 key that instantiated it; empty if that was not seen.
        release: the order that released the result, or None.
        online: the members that switch it.
        spec: its text, from the start order on.
        version: of the rows that were counted.
        opt_outs_height: the block that ordered the counts, before which opt-outs count; 0: none.
    """

    id: bytes
    requester: bytes
    members: tuple[str, ...]
    stage: str
    steps_done: int
    ended: bool
    failure: str
    release: OrderKey | None
    online: tuple[str, ...]
    spec: bytes
    version: bytes
    opt_outs_height: int


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
        "SELECT requester, members, lapses, stage, steps_done, ended, failure, release_height,"
        " release_number, release_set, spec, version, opt_outs_height FROM studies"
        " WHERE study = ?",
        (study,),
    ).fetchone()
    if row is None:
        return None
    requester, members, _, stage, done, ended, failure, height, number, online, *rest = row
    spec, version, opt_outs_height = rest
    return Study(
        id=study,
        requester=requester,
        members=_names(members),
        stage=stage,
        steps_done=done,
        ended=bool(ended),
        failure=failure,
        release=OrderKey(height, number) if height else None,
        online=_names(online),
        spec=spec,
        version=version,
        opt_outs_height=opt_outs_height,
    )


def end_study(connection: sqlite3.Connection, study: bytes, cause: str) -> None:
    """Say how a study ended that a block has ordered to retire, for one of `CAUSES`."""
    found = find_study(connection, study)
    if found is None or found.ended:
        return
    stage, failure = _ENDS[cause], found.failure
    if stage == ENDED:
        failure = "its data permit has ended"
    elif stage == FAILED and not failure:
        failure = f"it ended while {found.stage}: another member failed, or its time ran out"
    connection.execute(
        "UPDATE studies SET stage = ?, failure = ?, ended = 1 WHERE study = ?",
        (stage, failure, study),
    )


_ENDS = {"released": RELEASED, "failed": FAILED, "withdrawn": WITHDRAWN, "permit-ended": ENDED}


def lapse_studies(connection: sqlite3.Connection, block_seconds: int) -> list[bytes]:
    """End the studies whose time for approval is over; return their ids."""
    rows = connection.execute(
        "UPDATE studies SET stage = ?, ended = 1, failure = 'it was not approved in time'"
        " WHERE stage = ? AND lapses < ? RETURNING study",
        (FAILED, PROPOSED, block_seconds),
    )
    return [study for (study,) in rows.fetchall()]


def names_of(members: tuple[str, ...]) -> bytes:
    """Return member ids as they are stored."""
    return encode(list(members))


def _names(octets: bytes) -> tuple[str, ...]:
    value = decode(octets)
    assert isinstance(value, list)  # what `names_of` wrote
    return tuple(str(item) for item in value)
