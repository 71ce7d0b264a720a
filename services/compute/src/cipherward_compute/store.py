"""What the chain has decided, as this member keeps it: one transaction a block, one a step.

An order is taken with its block and is gone with its effect: a restart carries out what is left,
and nothing twice. A report is on disk with the effect that it reports.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from cipherward_compute.column_keys import (
    KeyTerms,
    Registered,
    begin_data_key,
    fix_slots,
    forget_enrolments,
    register,
)
from cipherward_compute.inference.rows import (
    Refused,
    ScoreTerms,
    begin_scores,
    forget_scores,
    settle_uses,
    take_score_order,
)
from cipherward_compute.instructions import (
    RISK_SCORE,
    FixColumns,
    HandOverKey,
    Instruction,
    ReleaseResult,
    ReshareKey,
    RetireKey,
    StartStudy,
)
from cipherward_compute.key_rows import begin_resharing, hand_over
from cipherward_compute.order_meaning import awaited, concerned, opens, stage_of, supersedes
from cipherward_compute.progress import Answer, await_answers, take_answers
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
    """A study that a block has instantiated; `lapses` is the block time that ends its approval.

    columns: what the terms of a data key say about its columns. scores: what those of a risk score
    say.
    """

    study: bytes
    requester: bytes
    members: tuple[str, ...]
    lapses: int
    template: str = "study"
    columns: KeyTerms | None = None
    scores: ScoreTerms | None = None


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
    answers: of all members, to orders of earlier blocks. registered: pseudonyms for data keys.
    refused: this member's transactions that it refuses.
    """

    height: int
    checkpoint: bytes
    time: int
    proposed: tuple[Proposed, ...] = ()
    taken: tuple[Taken, ...] = ()
    reports: tuple[Report, ...] = ()
    settled: tuple[bytes, ...] = ()
    rebuilt: tuple[bytes, ...] = ()
    answers: tuple[Answer, ...] = ()
    registered: tuple[Registered, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed: a word of a closed list, and words without data."""

    reason: str
    text: str


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
            The studies that ended because nobody approved them in time, and those about which
            members have reported.
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
        self, key: OrderKey, write: Write, report: Report | None, failed: Failure | None = None
    ) -> bool:
        """Make the effect of an order, its end and its report durable together.

        Args:
            write: the effect. Nothing is written if the order is gone: its study has ended.
            report: what the chain is told.
            failed: why it failed; None when it is done.

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
            if failed is None:
                connection.execute(
                    "UPDATE studies SET steps_done = steps_done + 1 WHERE study = ?", row
                )
            else:  # the first failure is the one that explains the others
                connection.execute(
                    "UPDATE studies SET failure = ?, failure_reason = ?"
                    " WHERE study = ? AND failure = ''",
                    (failed.text, failed.reason, row[0]),
                )
            if report is not None:
                add_reports(connection, [report])
            return True

        return await self._database.write(work)


def _apply(connection: sqlite3.Connection, effects: BlockEffects) -> list[bytes]:
    if not advance(connection, effects.height, effects.checkpoint):  # applied before
        return []
    connection.executemany(
        "INSERT OR IGNORE INTO studies (study, requester, members, lapses, template, stage)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (p.study, p.requester, names_of(p.members), p.lapses, p.template, PROPOSED)
            for p in effects.proposed
        ],
    )
    for proposed in effects.proposed:
        if proposed.columns is not None:
            begin_data_key(connection, proposed.study, proposed.columns)
        if proposed.scores is not None:
            begin_scores(connection, proposed.study, proposed.scores)
    register(connection, effects.height, effects.registered)
    answered = take_answers(connection, effects.answers)  # of orders before this block's
    for taken in effects.taken:
        _take(connection, taken, effects.time)
    add_reports(connection, effects.reports)
    settle_reports(connection, effects.settled, effects.rebuilt)
    lapsed = lapse_studies(connection, effects.time)
    forget_enrolments(connection, lapsed)
    settled = settle_uses(connection, effects.refused, effects.time)
    forget_scores(connection, lapsed)
    return [*answered, *lapsed, *settled]


def _take(connection: sqlite3.Connection, taken: Taken, block_seconds: int) -> None:
    instruction = taken.instruction
    shared = instruction.shared
    study, key = shared.study, shared.key
    connection.execute(  # a study of which this member saw no beginning has no requester here
        "INSERT OR IGNORE INTO studies (study, requester, members, lapses, template, stage)"
        " VALUES (?, x'', ?, 0, ?, ?)",
        (study, names_of(concerned(instruction)), shared.template, stage_of(instruction)),
    )
    connection.executemany(
        "DELETE FROM orders WHERE study = ? AND instruction = ?",
        [(study, kind) for kind in supersedes(instruction)],
    )
    if isinstance(instruction, RetireKey):
        end_study(connection, study, instruction.cause)
    else:
        connection.execute(
            "UPDATE studies SET stage = ? WHERE study = ? AND NOT ended",
            (stage_of(instruction), study),
        )
        if shared.template != RISK_SCORE or len(shared.members) > 1:  # not who masks alone
            connection.execute(
                "UPDATE studies SET members = ? WHERE study = ? AND NOT ended",
                (names_of(concerned(instruction)), study),
            )
        await_answers(connection, study, key, awaited(instruction))
    if isinstance(instruction, StartStudy):
        _start(connection, instruction)
    if shared.template == RISK_SCORE:
        take_score_order(connection, instruction, block_seconds)
    if isinstance(instruction, FixColumns):
        fix_slots(connection, study, key.height)
    if isinstance(instruction, ReshareKey):
        begin_resharing(connection, study, instruction.resharing.source)
    if isinstance(instruction, HandOverKey):  # no later order may meet the old share
        hand_over(connection, study, instruction.resharing.source, key.height)
    if isinstance(instruction, ReleaseResult):
        connection.execute(
            "INSERT INTO releases VALUES (?, ?, ?, ?, ?)",
            (key.height, key.index, study, instruction.digest, names_of(instruction.online)),
        )
    what = opens(instruction)
    if what:
        connection.execute("INSERT OR IGNORE INTO opened VALUES (?, ?)", (study, what))
    connection.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
        (key.height, key.index, study, type(instruction).__name__, taken.octets),
    )


def _start(connection: sqlite3.Connection, instruction: StartStudy) -> None:
    shared = instruction.shared
    if instruction.starts:
        connection.execute(
            "UPDATE studies SET opt_outs_height = ? WHERE study = ? AND NOT opt_outs_height",
            (shared.key.height, shared.study),
        )
    connection.execute(
        "UPDATE studies SET round = ?, attempts = attempts + ? WHERE study = ?",
        (instruction.round, int(instruction.step == "refresh"), shared.study),
    )
