"""What members and owners were told: rows of the local index, one a recipient."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from cipherward_contract.index_rows import NoticeGiven

OWNER = ""  # in the place of a member: the owner of the record


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One notice; `sequence` is its place in the index, `due` is in Unix seconds or 0."""

    sequence: int
    kind: str
    record: bytes
    instance: bytes
    height: int
    time_ns: int
    due: int


def save_notice(
    connection: sqlite3.Connection, height: int, time_ns: int, row: NoticeGiven
) -> None:
    """Write a notice of the block at `height` for each recipient, and for the record's owner."""
    told = sorted(set(row.recipients)) + ([OWNER] if row.record else [])
    connection.executemany(
        "INSERT INTO notice (member, record, kind, instance, height, time_ns, due)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(who, row.record, row.kind, row.instance, height, time_ns, row.due) for who in told],
    )


def member_notices(
    connection: sqlite3.Connection, member: str, after: int, limit: int
) -> list[NoticeRow]:
    """Return the first `limit` notices to a member behind sequence `after`, oldest first."""
    return _rows(connection, "member = ?", (member,), (after, limit))


def owner_notices(
    connection: sqlite3.Connection, record: bytes, after: int, limit: int
) -> list[NoticeRow]:
    """Return the first `limit` notices to the owner of a record behind sequence `after`."""
    return _rows(connection, "member = ? AND record = ?", (OWNER, record), (after, limit))


def _rows(
    connection: sqlite3.Connection,
    condition: str,
    values: tuple[str | bytes, ...],
    page: tuple[int, int],
) -> list[NoticeRow]:
    rows = connection.execute(
        "SELECT sequence, kind, record, instance, height, time_ns, due FROM notice"
        f" WHERE {condition} AND sequence > ? ORDER BY sequence LIMIT ?",  # a text of ours
        (*values, *page),
    )
    return [NoticeRow(*row) for row in rows]
