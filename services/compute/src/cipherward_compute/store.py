"""What the chain has decided, as this member keeps it: one transaction a block, one a step.

An order is taken with its block and is gone with its effect: a restart carries out what is left,
and nothing twice. A report is on disk with the effect that it reports.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_chain.canonical import encode
from cipherward_compute.instructions import (
    Instruction,
    ReleaseResult,
    RetireKey,
    StartStudy,
    opens,
    stage_of,
)
from cipherward_compute.studies import PROPOSED, end_study, lapse_studies, names_of
from cipherward_kit.database import Database
from cipherward_member.chain_rows import (
    SqliteReports,
    add_reports,
    advance,
    settle_reports,
    stored_checkpoint,
)
from cipherward_member.reports import OrderKey, Report

Write: TypeAlias = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class Proposed:
    """A study that a block has instantiated; `lapses` is the block time that ends its approval."""

    study: bytes
    requester: bytes
    members: tuple[str, ...]
    lapses: int


@dataclass(frozen=True, slots=True)
class Taken:
    """An order for this member, and its canonical bytes."""

    instruction: Instruction
    octets: bytes


@dataclass(frozen=True, slots=True)
class BlockEffects:
    """What one block means here.

    time: of the block, Unix seconds.
    reports: of orders that cannot even be read. settled: ids of transactions in the block.
    rebuilt: ids of those that it refused for their time, whose reports are to be sent anew.
    """

    height: int
    checkpoint: bytes
    time: int
    proposed: tuple[Proposed, ...] = ()
    taken: tuple[Taken, ...] = ()
    reports: tuple[Report, ...] = ()
    settled: tuple[bytes, ...] = ()
    rebuilt: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """An order that is taken and not carried out."""

    key: OrderKey
    study: bytes
    octets: bytes


class ChainStore:
    """Orders, reports and the position in the chain."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reports = SqliteReports(database)

    async def checkpoint(self) -> bytes:
        """Return where to go on, or b"" before the first block."""
        return await self._database.read(stored_checkpoint)

    async def apply(self, effects: BlockEffects) -> list[bytes]:
        """Make all effects of a block and its checkpoint durable together, once.

        Returns:
            The studies that ended because nobody approved them in time.
        """
        return await self._database.write(lambda connection: _apply(connection, effects))

    async def waiting(self) -> list[WaitingOrder]:
        """Return the orders that are not carried out, oldest first."""

        def work(connection: sqlite3.Connection) -> list[WaitingOrder]:
            rows = connection.execute(
                "SELECT height, number, study, octets FROM orders ORDER BY height, number"
            )
            return [
                WaitingOrder(OrderKey(height, number), study, octets)
                for height, number, study, octets in rows
            ]

        return await self._database.read(work)

    async def finish(
        self, key: OrderKey, write: Write, report: Report | None, failure: str = ""
    ) -> bool:
        """Make the effect of an order, its end and its report durable together.

        Args:
            write: the effect. Nothing is written if the order is gone: its study has ended.
            report: what the chain is told.
            failure: why it failed, in words without data; empty when it is done.

        Returns:
            Whether the order was still there.
        """

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "DELETE FROM orders WHERE height = ? AND number = ? RETURNING study",
                (key.height, key.index),
            ).fetchone()
            if row is None:
                return False
            write(connection)
            connection.execute(
                "UPDATE studies SET steps_done = steps_done + ?,"
                " failure = CASE failure WHEN '' THEN ? ELSE failure END WHERE study = ?",
                (int(not failure), failure, row[0]),
            )
            if report is not None:
                add_reports(connection, [report])
            return True

        return await self._database.write(work)


def _apply(connection: sqlite3.Connection, effects: BlockEffects) -> list[bytes]:
    if not advance(connection, effects.height, effects.checkpoint):  # applied before
        return []
    connection.executemany(
        "INSERT OR IGNORE INTO studies (study, requester, members, lapses, stage)"
        " VALUES (?, ?, ?, ?, ?)",
        [(p.study, p.requester, names_of(p.members), p.lapses, PROPOSED) for p in effects.proposed],
    )
    for taken in effects.taken:
        _take(connection, taken)
    add_reports(connection, effects.reports)
    settle_reports(connection, effects.settled, effects.rebuilt)
    return lapse_studies(connection, effects.time)


def _take(connection: sqlite3.Connection, taken: Taken) -> None:
    instruction = taken.instruction
    shared = instruction.shared
    connection.execute(  # a study of which this member saw no beginning has no requester here
        "INSERT OR IGNORE INTO studies (study, requester, members, lapses, stage)"
        " VALUES (?, x'', ?, 0, ?)",
        (shared.study, names_of(shared.members), stage_of(instruction)),
    )
    if isinstance(instruction, RetireKey):
        connection.execute("DELETE FROM orders WHERE study = ?", (shared.study,))
        end_study(connection, shared.study, instruction.cause)
    else:
        connection.execute(
            "UPDATE studies SET stage = ?, members = ? WHERE study = ? AND NOT ended",
            (stage_of(instruction), names_of(shared.members), shared.study),
        )
    if isinstance(instruction, StartStudy) and instruction.starts:
        connection.execute(
            "UPDATE studies SET opt_outs_height = ? WHERE study = ? AND NOT opt_outs_height",
            (shared.key.height, shared.study),
        )
    if isinstance(instruction, ReleaseResult):
        connection.execute(
            "UPDATE studies SET release_height = ?, release_number = ?, release_set = ?"
            " WHERE study = ?",
            (
                shared.key.height,
                shared.key.index,
                encode(list(instruction.online)),
                shared.study,
            ),
        )
    what = opens(instruction)
    if what:
        connection.execute("INSERT OR IGNORE INTO opened VALUES (?, ?)", (shared.study, what))
    connection.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
        (
            shared.key.height,
            shared.key.index,
            shared.study,
            type(instruction).__name__,
            taken.octets,
        ),
    )
