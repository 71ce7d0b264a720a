"""Traces beside blocks: for the ledger's own member only, and never in what is signed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cipherward.chain.v1 import block_pb2 as chain
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_kit import tracing
from cipherward_kit.testing import eventually
from cipherward_kit.tls import Caller
from cipherward_kit.tracing import SpanContext
from cipherward_ledger import traces
from cipherward_ledger.traces import TransactionTraces
from tests.servers import collector as otlp

DEADLINE = 20.0
PARENT = SpanContext(0xA1, 0xB2, sampled=True)
OWN, OTHER = Caller("hospital-a", "storage"), Caller("hospital-b", "storage")


@pytest.fixture
async def collector() -> AsyncGenerator[otlp.Collector]:
    async with otlp.recording("ledger", "hospital-a") as running:
        yield running


def block_of(*contents: bytes) -> chain.ProvenBlock:
    return chain.ProvenBlock(transactions=contents)


def admitted(known: TransactionTraces, *contents: bytes) -> None:
    with tracing.within(PARENT):
        for content in contents:
            known.admitted(hashlib.sha256(content).digest(), 0)


async def first_with_transactions(ledger: Any, member: str) -> pb.StreamBlocksResponse:
    stub = LedgerServiceStub(ledger.served.channel_as(member, "storage"))
    call = stub.StreamBlocks(pb.StreamBlocksRequest(from_height=1))
    async with asyncio.timeout(DEADLINE):
        async for answer in call:
            if answer.block.transactions:
                call.cancel()
                return answer
    raise AssertionError("the stream has ended")


async def test_a_request_its_transaction_and_its_block_are_one_trace(
    world: Any, ledger: Any, collector: otlp.Collector
) -> None:
    client = LedgerServiceStub(ledger.served.channel_as("hospital-a", "client"))
    with tracing.span("request"):
        content = world.transaction()
        answer = await client.Submit(pb.SubmitRequest(transaction=content), timeout=DEADLINE)
    await ledger.receipt(answer.transaction_id)
    own = await first_with_transactions(ledger, "hospital-a")
    root, transaction = await collector.has("request", "transaction")
    submit = next(span for span in collector.named("Submit") if span.kind == "server")
    assert transaction.parent == submit.id
    assert {transaction.trace, submit.trace} == {root.trace}
    assert transaction.attributes == {"cipherward.block.height": world.contract.committed - 1}
    (named,) = own.traces.traces
    assert named.position == 0
    assert named.traceparent == f"00-{root.trace}-{transaction.id}-01"


async def test_reports_of_a_service_are_transactions_in_the_trace_of_their_order(
    world: Any, ledger: Any, collector: otlp.Collector
) -> None:
    sent = 0
    for member in ("hospital-a", "hospital-b"):  # the other one's begins a trace of its own
        service = LedgerServiceStub(ledger.served.channel_as(member, "storage"))
        contents = [world.transaction() for _ in range(2)]
        request = pb.SubmitBatchRequest(transactions=contents)
        with tracing.within(PARENT):
            answer = await service.SubmitBatch(request, timeout=DEADLINE)
        for verdict in answer.verdicts:
            await ledger.receipt(verdict.transaction_id)
            sent += 1
    follower = LedgerServiceStub(ledger.served.channel_as("hospital-a", "storage"))
    following = follower.StreamBlocks(pb.StreamBlocksRequest(from_height=1))
    async with asyncio.timeout(DEADLINE):
        while sent:  # a follower that is told of all their blocks ends their spans
            sent -= len((await anext(aiter(following))).block.transactions)
    following.cancel()
    await eventually(lambda: len(collector.named("transaction")) == 4, what="all reports")
    trace = f"{PARENT.trace_id:032x}"
    served = [span for span in collector.named("SubmitBatch") if span.kind == "server"]
    (own,) = (span for span in served if span.trace == trace)
    transactions = [span for span in collector.named("transaction") if span.trace == trace]
    assert [span.parent for span in transactions] == [own.id] * 2


async def test_other_members_services_get_the_same_block_without_its_trace(
    world: Any, ledger: Any, collector: otlp.Collector
) -> None:
    await ledger.receipt(await ledger.submit(world.transaction()))
    own = await first_with_transactions(ledger, "hospital-a")
    other = await first_with_transactions(ledger, "hospital-b")
    assert own.block == other.block
    assert len(own.traces.traces) == 1
    assert not other.HasField("traces")


async def test_a_holders_request_begins_a_trace_whatever_it_hands_in(
    world: Any, ledger: Any, collector: otlp.Collector
) -> None:
    request = pb.SubmitRequest(transaction=world.transaction())
    handed_in = (("traceparent", PARENT.to_traceparent()),)
    await ledger.stub.Submit(request, timeout=DEADLINE, metadata=handed_in)
    (submit,) = await collector.has("Submit")
    assert submit.parent == ""
    assert submit.trace != f"{PARENT.trace_id:032x}"


async def test_without_traces_nothing_stands_beside_a_block(world: Any, ledger: Any) -> None:
    await ledger.receipt(await ledger.submit(world.transaction()))
    assert not (await first_with_transactions(ledger, "hospital-a")).HasField("traces")


async def test_a_block_shown_twice_has_the_same_traces(collector: otlp.Collector) -> None:
    known = TransactionTraces("hospital-a", in_topic=True)
    admitted(known, b"second")
    block = block_of(b"first", b"second")
    shown = known.for_caller(OWN, 7, block)
    assert [one.position for one in shown.traces] == [1]
    assert known.for_caller(OWN, 7, block) == shown
    assert pb.BlockTraces.FromString(known.for_topic(7, block)) == shown
    for stranger in (OTHER, None):
        assert not known.for_caller(stranger, 7, block).traces


async def test_a_topic_that_other_members_read_holds_no_trace(collector: otlp.Collector) -> None:
    known = TransactionTraces("hospital-a", in_topic=False)
    admitted(known, b"one")
    assert known.for_topic(1, block_of(b"one")) == b""
    assert known.for_caller(OWN, 1, block_of(b"one")).traces


async def test_what_is_remembered_is_bounded(
    collector: otlp.Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WAITING_MAX", "BLOCKS_MAX", "BLOCK_TRACES_MAX"):
        monkeypatch.setattr(traces, name, 2)
    known = TransactionTraces("hospital-a")
    contents = [bytes([number]) for number in range(3)]
    admitted(known, *contents)
    assert [t.position for t in known.for_caller(OWN, 1, block_of(*contents)).traces] == [1, 2]
    (given_up,) = await collector.has("transaction")
    assert given_up.failed
    for height in range(2, 5):
        admitted(known, b"x")
        known.for_caller(OWN, height, block_of(b"x"))
    kept = [h for h in range(1, 5) if known.for_caller(OWN, h, block_of(b"x")).traces]
    assert kept == [3, 4]
    admitted(known, *contents[:2])
    admitted(known, contents[2])  # makes room by giving one up
    assert len(known.for_caller(OWN, 9, block_of(*contents)).traces) == 2


async def test_a_trace_that_is_not_recorded_is_not_handed_on(collector: otlp.Collector) -> None:
    known = TransactionTraces("hospital-a")
    with tracing.within(SpanContext(1, 2, sampled=False)):
        known.admitted(hashlib.sha256(b"x").digest(), 0)
    assert not known.for_caller(OWN, 1, block_of(b"x")).traces
