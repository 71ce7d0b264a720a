"""Rows of whoever carries out orders: a block counts once, a report stays until it is settled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from cipherward_kit.database import Database
from cipherward_member.chain_rows import (
    POSITION_TABLE,
    REPORTS_TABLE,
    SqliteReports,
    add_reports,
    advance,
    settle_reports,
    stored_checkpoint,
)
from cipherward_member.reports import OrderKey, Outcome, PendingReport, Report


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(tmp_path / "rows.db", [POSITION_TABLE + REPORTS_TABLE]) as opened:
        yield opened


async def test_a_block_that_was_applied_before_moves_nothing(database: Database) -> None:
    assert await database.read(stored_checkpoint) == b""
    assert await database.write(lambda c: advance(c, 5, b"at 5"))
    assert not await database.write(lambda c: advance(c, 5, b"again"))
    assert not await database.write(lambda c: advance(c, 4, b"at 4"))
    assert await database.read(stored_checkpoint) == b"at 5"
    assert await database.write(lambda c: advance(c, 6, b"at 6"))
    assert await database.read(stored_checkpoint) == b"at 6"


async def test_of_two_reports_about_an_order_the_first_stays(database: Database) -> None:
    first = Report(OrderKey(1, 0), Outcome.DONE, b"first")
    await database.write(lambda c: add_reports(c, [first, replace(first, digest=b"second")]))
    await database.write(lambda c: add_reports(c, [replace(first, outcome=Outcome.FAILED)]))
    assert await SqliteReports(database).pending(10) == [PendingReport(first)]


async def test_a_report_is_pending_until_its_transaction_is_settled(database: Database) -> None:
    reports = [Report(OrderKey(1, i), Outcome.FAILED, b"") for i in range(3)]
    store = SqliteReports(database)
    await database.write(lambda c: add_reports(c, reversed(reports)))
    assert [one.report for one in await store.pending(2)] == reports[:2]
    sent = [PendingReport(reports[i], b"tx", b"id%d" % i, 7) for i in range(2)]
    await store.save(sent)
    assert await store.pending(2) == sent
    await database.write(lambda c: settle_reports(c, [b"id0", b"unknown"], [b"id1"]))
    left = [PendingReport(reports[1]), PendingReport(reports[2])]
    assert await store.pending(10) == left
    await store.save(sent[:1])  # a block took it meanwhile: it stays gone
    assert await store.pending(10) == left
