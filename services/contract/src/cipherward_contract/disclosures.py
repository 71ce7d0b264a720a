"""Who asked for access to a record: the local index, with the transaction that proves each row."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cipherward_contract.index_rows import (
    AccessAsked,
    AccessReported,
    IndexRow,
    InstanceMade,
    NoticeGiven,
)
from cipherward_contract.notices import save_notice


class Stage(IntEnum):
    """How far an access came; the numbers are those of the proto's DisclosureStage."""

    REFUSED = 1
    ORDERED = 2
    CARRIED_OUT = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class DisclosureRow:
    """One access, or one refused attempt; `sequence` is its place in the index."""

    sequence: int
    stage: Stage
    transaction_id: bytes
    height: int
    time_ns: int
    member: str
    role: str
    purpose: str
    instance: bytes
    order: tuple[int, int] | None
    report_transaction_id: bytes
    reason: str


def save_rows(
    connection: sqlite3.Connection, height: int, time_ns: int, rows: Sequence[IndexRow]
) -> None:
    """Write what the block at `height` adds to the index."""
    for row in rows:
        if isinstance(row, InstanceMade):
            connection.execute(
                "INSERT INTO instance_index (object, instance) VALUES (?, ?)",
                (row.object, row.instance),
            )
        elif isinstance(row, AccessAsked):
            _save_access(connection, height, time_ns, row)
        elif isinstance(row, NoticeGiven):
            save_notice(connection, height, time_ns, row)
        else:
            _save_report(connection, row)


def _save_access(
    connection: sqlite3.Connection, height: int, time_ns: int, row: AccessAsked
) -> None:
    order = row.order or (None, None)
    connection.execute(
        "INSERT INTO disclosure (record, stage, transaction_id, height, time_ns, member, role,"
        " purpose, instance, order_height, order_index, report_transaction_id, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.record,
            int(Stage.ORDERED if row.order else Stage.REFUSED),
            row.transaction_id,
            height,
            time_ns,
            row.asker.member,
            row.asker.role,
            row.purpose,
            row.instance,
            *order,
            b"",
            row.reason,
        ),
    )


def _save_report(connection: sqlite3.Connection, row: AccessReported) -> None:
    stage = Stage.CARRIED_OUT if row.done else Stage.FAILED
    connection.execute(
        "UPDATE disclosure SET stage = ?, report_transaction_id = ?"
        " WHERE order_height = ? AND order_index = ?",
        (int(stage), row.transaction_id, *row.order),
    )


def list_disclosures(
    connection: sqlite3.Connection, record: bytes, after: int, limit: int
) -> list[DisclosureRow]:
    """Return the first `limit` rows of a record behind sequence `after`, oldest first."""
    rows = connection.execute(
        "SELECT sequence, stage, transaction_id, height, time_ns, member, role, purpose, instance,"
        " order_height, order_index, report_transaction_id, reason FROM disclosure"
        " WHERE record = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (record, after, limit),
    )
    return [
        DisclosureRow(
            row[0],
            Stage(row[1]),
            *row[2:9],
            order=None if row[9] is None else (row[9], row[10]),
            report_transaction_id=row[11],
            reason=row[12],
        )
        for row in rows
    ]


def list_instances(
    connection: sqlite3.Connection, object_id: bytes, after: int, limit: int
) -> list[tuple[int, bytes]]:
    """Return the first `limit` (sequence, instance id) about an object behind sequence `after`."""
    rows = connection.execute(
        "SELECT sequence, instance FROM instance_index"
        " WHERE object = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (object_id, after, limit),
    )
    return [(row[0], row[1]) for row in rows]
