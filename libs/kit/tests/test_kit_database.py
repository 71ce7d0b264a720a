"""Transactions that are whole, also when many callers share a commit."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cipherward_kit.database import Database, DatabaseClosed, DatabaseNewer, Work

SCHEMA = ["CREATE TABLE act (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL)"]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "x.db", SCHEMA) as db:
        yield db


def insert(name: str, *, fail: bool = False) -> Work[str]:
    def work(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO act (name) VALUES (?)", (name,))
        if fail:
            raise LookupError(name)
        return name

    return work


def names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM act ORDER BY id")]


def pragma(name: str) -> Work[Any]:
    return lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0]


async def test_what_is_written_is_read(db: Database) -> None:
    assert await db.write(insert("a")) == "a"
    assert await db.read(names) == ["a"]


async def test_what_is_deleted_can_be_overwritten_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    secret = os.urandom(8).hex()

    def kept() -> bool:
        return secret.encode() in path.read_bytes()

    async with Database(path, SCHEMA) as db:
        await db.overwrite_deleted()
        for name in (secret, "b"):
            await db.write(insert(name))
        await db.read(pragma("user_version"))
    assert kept()
    async with Database(path, SCHEMA) as db:
        await db.overwrite_deleted()
        await db.write(lambda connection: connection.execute("DELETE FROM act WHERE id = 1"))
    assert not kept()


async def test_the_settings_are_the_durable_ones(db: Database) -> None:
    assert await db.read(pragma("journal_mode")) == "wal"
    assert await db.read(pragma("synchronous")) == 2  # FULL
    assert await db.read(pragma("foreign_keys")) == 1


@pytest.mark.parametrize("method", ["write", "write_grouped"])
async def test_a_function_that_fails_writes_nothing(db: Database, method: str) -> None:
    with pytest.raises(LookupError, match="a"):
        await getattr(db, method)(insert("a", fail=True))
    await getattr(db, method)(insert("b"))
    assert await db.read(names) == ["b"]


async def test_grouped_writes_share_commits_and_one_failure_is_its_own(db: Database) -> None:
    statements: list[str] = []
    await db.read(lambda connection: connection.set_trace_callback(statements.append))
    answers = await asyncio.gather(
        *(db.write_grouped(insert(f"n{i}", fail=i % 10 == 3)) for i in range(100)),
        return_exceptions=True,
    )
    assert statements.count("COMMIT") < 10
    failed = [i for i, answer in enumerate(answers) if isinstance(answer, LookupError)]
    assert failed == list(range(3, 100, 10))
    kept = [f"n{i}" for i in range(100) if i % 10 != 3]
    assert await db.read(names) == kept  # in the order of the calls
    assert [answer for answer in answers if isinstance(answer, str)] == kept


async def test_a_constraint_in_a_group_hurts_its_caller_only(db: Database) -> None:
    answers = await asyncio.gather(
        *(db.write_grouped(insert(name)) for name in ("a", "a", "b")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [str, sqlite3.IntegrityError, str]
    assert await db.read(names) == ["a", "b"]


async def test_a_commit_that_fails_is_told_to_the_whole_group(db: Database) -> None:
    await db.write(
        lambda connection: connection.execute(
            "CREATE TABLE child (name TEXT REFERENCES act (name) DEFERRABLE INITIALLY DEFERRED)"
        )
    )

    def orphan(connection: sqlite3.Connection) -> None:  # found out at the commit
        connection.execute("INSERT INTO child VALUES ('nobody')")

    answers = await asyncio.gather(
        db.write_grouped(insert("a")), db.write_grouped(orphan), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [sqlite3.IntegrityError] * 2
    assert await db.read(names) == []
    assert await db.write_grouped(insert("b")) == "b"


async def test_more_writers_than_the_bound_wait_for_room(tmp_path: Path) -> None:
    async with Database(tmp_path / "x.db", SCHEMA, grouped_max=3) as db:
        await asyncio.gather(*(db.write_grouped(insert(str(i))) for i in range(20)))
        assert await db.read(names) == [str(i) for i in range(20)]


async def test_a_caller_that_goes_away_before_its_turn_writes_nothing(db: Database) -> None:
    async with asyncio.timeout(10):
        first = asyncio.ensure_future(db.write_grouped(insert("first")))
        await asyncio.sleep(0)
        gone = asyncio.ensure_future(db.write_grouped(insert("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await first
        await db.write_grouped(insert("last"))
    assert "gone" not in await db.read(names)


async def test_closing_lets_waiting_writes_commit(tmp_path: Path) -> None:
    async with Database(tmp_path / "x.db", SCHEMA) as db:
        waiting = [asyncio.ensure_future(db.write_grouped(insert(str(i)))) for i in range(10)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [str(i) for i in range(10)]
    async with Database(tmp_path / "x.db", SCHEMA) as db:
        assert len(await db.read(names)) == 10


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    db = Database(tmp_path / "x.db", SCHEMA)
    for attempt in (db.read(names), db.write(insert("a")), db.write_grouped(insert("a"))):
        with pytest.raises(DatabaseClosed):
            await attempt


async def test_an_older_database_is_brought_up_and_a_newer_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with Database(path, SCHEMA) as db:
        await db.write(insert("a"))
    newer = [*SCHEMA, "ALTER TABLE act ADD COLUMN height INTEGER NOT NULL DEFAULT 7"]
    async with Database(path, newer) as db:
        assert await db.read(lambda c: c.execute("SELECT height FROM act").fetchall()) == [(7,)]
    with pytest.raises(DatabaseNewer, match="version 2, this release knows 1"):
        await Database(path, SCHEMA).__aenter__()


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with Database(path, SCHEMA):
        pass
    broken = [*SCHEMA, "CREATE TABLE half (id); CREATE TABLE act (id)"]
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        await Database(path, broken).__aenter__()
    async with Database(path, SCHEMA) as db:
        tables = await db.read(lambda c: c.execute("SELECT name FROM sqlite_schema").fetchall())
        assert ("half",) not in tables


WRITER = """
import asyncio, sys
from pathlib import Path
from cipherward_kit.database import Database

async def main():
    async with Database(Path(sys.argv[1]), [sys.argv[2]]) as db:
        async def one(i):
            row = (i, str(i))
            await db.write_grouped(lambda c: c.execute("INSERT INTO act VALUES (?, ?)", row))
            print(i, flush=True)
        for start in range(0, 1_000_000, 50):
            await asyncio.gather(*(one(i) for i in range(start, start + 50)))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_kill_loses_no_write_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    command = [sys.executable, "-c", WRITER, str(path), SCHEMA[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        answered = [int(writer.stdout.readline()) for _ in range(300)]
        os.kill(writer.pid, 9)
        answered += [int(line) for line in writer.stdout if line.endswith("\n")]
    connection = sqlite3.connect(path)
    kept = {row[0] for row in connection.execute("SELECT id FROM act")}
    connection.close()
    assert set(answered) <= kept
