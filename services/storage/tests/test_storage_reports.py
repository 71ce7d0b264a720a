"""Reports: sent until a block holds them, the same bytes after a crash, anew when too late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import check_authorization, parse_transaction
from cipherward_kit.testing import eventually

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestReader
    from cipherward_storage.testing_world import World

from prometheus_client import REGISTRY


def pending() -> float:
    return REGISTRY.get_sample_value("cipherward_chain_reports_pending") or 0.0


async def test_a_report_is_signed_by_the_member_and_settled_by_its_block(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        await world.reports(1)
        transaction = parse_transaction(world.ledger.submitted[0])
        assert check_authorization(transaction, world.genesis.chain_id) is None
        assert transaction.body.acts[0].report.order.height == order.height
        await world.block(transaction.raw)
        await eventually(lambda: pending() == 0, what="the settlement")


async def test_a_crash_between_effect_and_report_reports_what_was_released(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        world.ledger.away = True
        record = await world.stored(1000)
        order = await world.released(record, reader)
        before = await world.key(record, order, reader)
        await eventually(lambda: pending() == 1, what="the attempt")
        await world.stop()
        world.ledger.away = False
        await world.start()
        (report,) = await world.reports(1)
        await world.block()
        assert await world.key(record, order, reader) == before
        assert report.outcome == chain_pb.OUTCOME_DONE


async def test_a_restart_sends_the_same_transaction_again(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        await world.released(record, reader)
        await world.reports(1)
        await world.stop()
        await world.start()
        await world.reports(2)
        assert world.ledger.submitted[0] == world.ledger.submitted[1]


async def test_a_ledger_that_is_away_gets_the_report_when_it_is_back(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        world.ledger.away = True
        record = await world.stored(1000)
        await world.released(record, reader)
        await eventually(lambda: pending() == 1, what="the attempt")
        world.ledger.away = False
        await world.reports(1)


@pytest.mark.parametrize("reason", ["TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"])
async def test_a_report_that_came_too_late_is_made_anew(
    open_world: OpenWorld, reader: TestReader, reason: str
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        await world.released(record, reader)
        await world.reports(1)
        first = world.ledger.submitted[0]
        await world.block(first, results=[TransactionResult(reason=reason)])
        await world.reports(2)
        second = world.ledger.submitted[1]
        assert parse_transaction(second).body.acts == parse_transaction(first).body.acts
        assert parse_transaction(second).id != parse_transaction(first).id


async def test_a_report_whose_time_passed_in_no_block_is_made_anew(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        await world.released(record, reader)
        await world.reports(1)
        world.clock.advance(600)
        await another_release(world, reader)
        reports = await world.reports(3)
        assert len({report.order.height for report in reports}) == 2


async def another_release(world: World, reader: TestReader) -> None:
    """Release something else, which wakes the sender."""
    await world.released(await world.stored(10), reader, grant=b"H" * 16)


@pytest.mark.parametrize("reason", ["ALREADY_REPORTED", "ORDER_NOT_CURRENT", "ORDER_UNKNOWN"])
async def test_a_report_that_the_chain_does_not_want_is_not_sent_again(
    open_world: OpenWorld, reader: TestReader, reason: str
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        await world.released(record, reader)
        await world.reports(1)
        refused = [TransactionResult(reason=reason)]
        await world.block(world.ledger.submitted[0], results=refused)
        await another_release(world, reader)
        await world.reports(2)
        heights = [
            parse_transaction(t).body.acts[0].report.order.height for t in world.ledger.submitted
        ]
        assert len(set(heights)) == 2


async def test_a_refused_submission_is_tried_with_a_new_transaction(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        world.ledger.refusal = "TRANSACTION_EXPIRED"
        record = await world.stored(1000)
        await world.released(record, reader)
        await world.reports(1)
        world.ledger.refusal = ""
        await another_release(world, reader)
        await world.reports(3)
        ids = {parse_transaction(raw).id for raw in world.ledger.submitted}
        assert len(ids) == 3
