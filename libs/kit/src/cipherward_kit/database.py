"""SQLite as our services use it: one connection in one thread, every commit on the disk.

WAL with synchronous=FULL: a commit that was answered survives a power cut. The connection never
leaves its thread, so the event loop never waits for a disk and no two functions interleave.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from cipherward_kit.errors import CannotStart

R = TypeVar("R")
Work = Callable[[sqlite3.Connection], R]

# Grouped writes that may wait; each waiter is an RPC or a task of ours, which are bounded too.
GROUPED_MAX = 10_000
# Writes that share one commit: beyond this the commit is a small part of the group's time.
GROUP_WRITES_MAX = 1_000
BUSY_MILLISECONDS = 5_000  # only a backup tool ever holds the lock


class DatabaseNewer(CannotStart):
    """A newer release has written the database."""

    exit_status = 8


class DatabaseClosed(RuntimeError):
    """The database is not open."""


@dataclass(frozen=True, slots=True)
class _Grouped:
    work: Work[Any]
    answer: asyncio.Future[Any]


@dataclass(slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class Database:
    """One SQLite file. Enter it to open; functions get the connection inside a transaction.

    A function must not commit, roll back, or keep the connection or a cursor of it. It runs in
    the database's thread: it shares nothing with the event loop but its arguments and result.
    """

    def __init__(
        self, path: Path, schema: Sequence[str], *, grouped_max: int = GROUPED_MAX
    ) -> None:
        """Describe the database.

        Args:
            path: the file; made if missing, in an existing folder.
            schema: SQL scripts, oldest first. Script i brings version i (PRAGMA user_version) to
                i + 1, in one transaction. Never edit one that was released: append.
            grouped_max: grouped writes that may wait; further callers wait for room.
        """
        self._path = path
        self._schema = tuple(schema)
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._waiting: deque[_Grouped] = deque()
        self._room = asyncio.Semaphore(grouped_max)
        self._draining: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Database:
        """Open the file and bring it to the newest version.

        Raises:
            DatabaseNewer: a newer release has written it.
            sqlite3.Error: it cannot be opened or a script of `schema` fails.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            self._thread = None
            raise
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Let the grouped writes that wait commit, then close."""
        if self._draining is not None:
            await asyncio.wait((self._draining,))
        await self._in_thread(self._close)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)  # its last work is done

    async def read(self, function: Work[R]) -> R:
        """Return `function(connection)` over one state of the database; it must not write."""
        return await self._in_thread(lambda: self._inside("BEGIN", function))

    async def write(self, function: Work[R]) -> R:
        """Run `function(connection)` in one transaction and return its result when it is on disk.

        What the function raises rolls everything back and is raised here. A caller that is
        cancelled while the function runs does not know the outcome: it may be committed.
        """
        return await self._in_thread(lambda: self._inside("BEGIN IMMEDIATE", function))

    async def write_grouped(self, function: Work[R]) -> R:
        """As `write`, but many callers share one commit; use it for many small writes at once.

        Functions run in the order of the calls, each in a savepoint: what one raises undoes only
        its own writes. If the shared commit fails, every caller of the group gets that error. A
        caller cancelled before its function began has written nothing.
        """
        if self._thread is None:
            raise DatabaseClosed("the database is not open")
        async with self._room:
            answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            self._waiting.append(_Grouped(function, answer))
            if self._draining is None:
                self._draining = asyncio.ensure_future(self._drain())
            return await answer

    async def overwrite_deleted(self) -> None:
        """Let what is deleted from now on, keys and shares above all, be overwritten in the file
        and not only unlinked.
        """
        await self.read(lambda db: db.execute("PRAGMA secure_delete = ON").fetchone())

    async def _drain(self) -> None:
        """Commit group after group until nobody waits."""
        try:
            while self._waiting:
                count = min(len(self._waiting), GROUP_WRITES_MAX)
                taken = [self._waiting.popleft() for _ in range(count)]
                group = [item for item in taken if not item.answer.done()]
                works = [item.work for item in group]
                try:
                    outcomes = await self._in_thread(lambda works=works: self._group(works))
                except Exception as error:  # the commit failed: nobody's write is on disk
                    outcomes = [_Outcome(error=error) for _ in group]
                for item, outcome in zip(group, outcomes, strict=True):
                    _answer(item.answer, outcome)
        finally:
            self._draining = None

    async def _in_thread(self, function: Callable[[], R]) -> R:
        if self._thread is None:
            raise DatabaseClosed("the database is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    # What follows runs in the database's thread.

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise DatabaseClosed("the database is not open")
        return self._connection

    def _inside(self, begin: str, function: Work[R]) -> R:
        connection = self._opened()
        connection.execute(begin)
        try:
            result = function(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _group(self, works: Sequence[Work[Any]]) -> list[_Outcome]:
        def all_of_them(connection: sqlite3.Connection) -> list[_Outcome]:
            return [_one_of_a_group(connection, work) for work in works]

        return self._inside("BEGIN IMMEDIATE", all_of_them) if works else []

    def _open(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(self._schema):
            raise DatabaseNewer(
                f"{self._path} has version {version}, this release knows {len(self._schema)}; "
                "run the newer release, or restore a backup made before it"
            )
        for number in range(version, len(self._schema)):
            script = self._schema[number]
            # executescript knows no parameters; both are ours and trusted.
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number + 1};\nCOMMIT;"
            )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _one_of_a_group(connection: sqlite3.Connection, work: Work[Any]) -> _Outcome:
    connection.execute("SAVEPOINT one")
    try:
        value = work(connection)
    except Exception as error:
        if not connection.in_transaction:  # SQLite itself rolled back: a full disk, say
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return _Outcome(error=error)
    connection.execute("RELEASE one")
    return _Outcome(value)


def _answer(answer: asyncio.Future[Any], outcome: _Outcome) -> None:
    if answer.done():  # its caller was cancelled meanwhile
        return
    if outcome.error is not None:
        answer.set_exception(outcome.error)
    else:
        answer.set_result(outcome.value)
