"""What a service records of a block whose transactions are traced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_kit import tracing
from cipherward_kit.testing import eventually
from cipherward_kit.tracing import SpanContext
from cipherward_member import traced_orders
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_member.reports import OrderKey
from cipherward_member.source_following import Place, follow_source
from cipherward_member.traced_blocks import BLOCKS_MAX, TracedBlocks
from tests.servers import collector as otlp

PARENT = SpanContext(0xA1, 0xB2, sampled=True)
OTHER = SpanContext(0xA3, 0xB4, sampled=True)


@pytest.fixture
async def collector() -> AsyncGenerator[otlp.Collector]:
    async with otlp.recording("storage", "hospital-a") as running:
        yield running


class Beside:
    """A feed that tells traces beside its blocks, as the ledger's does."""

    def __init__(self, chain: TestChain, traced: TracedBlocks) -> None:
        self._chain = chain
        self._traced = traced
        self.beside: dict[int, ledger_pb.BlockTraces] = {}

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        async for block in self._chain.blocks_from(height):
            if height in self.beside:
                self._traced.told(height, self.beside[height])
            yield block
            height += 1


def traces(**named: str) -> ledger_pb.BlockTraces:
    return ledger_pb.BlockTraces(
        traces=[
            ledger_pb.TransactionTrace(position=int(place.strip("_")), traceparent=text)
            for place, text in named.items()
        ]
    )


async def carried_out(
    folder: Path, beside: ledger_pb.BlockTraces
) -> list[tuple[int, SpanContext | None]]:
    """Follow a block of two transactions; return heights and what span each was carried out in."""
    genesis, keys = make_genesis()
    chain = TestChain(genesis, keys)
    orders = [chain.order(0, "release_key"), chain.order(1, "notify"), chain.order(2, "notify")]
    results = [TransactionResult(), TransactionResult(order_count=3)]
    height = chain.next_height()
    chain.append([b"first", b"second"], results=results, orders=orders)
    traced, seen = TracedBlocks(), list[tuple[int, SpanContext | None]]()
    feed = Beside(chain, traced)
    feed.beside[height] = beside

    async def handle(block: VerifiedBlock) -> None:
        seen.append((block.height, tracing.current()))
        progress.saw(block.height, block.next_time_ns)

    progress = ChainProgress(30)
    place = Place(genesis, MemberRegistry(genesis, folder / REGISTRY_FILE), folder, b"")
    source = BlockSource(feed, traces=traced)
    following = asyncio.create_task(follow_source(source, place, handle, progress))
    try:
        await eventually(lambda: progress.height == len(chain.blocks), what="the chain")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return [one for one in seen if one[0] == height]


async def test_the_orders_of_a_traced_transaction_are_carried_out_in_its_trace(
    collector: otlp.Collector, tmp_path: Path
) -> None:
    beside = traces(_1=PARENT.to_traceparent())
    ((height, current),) = await carried_out(tmp_path, beside)
    (block,) = await collector.has("block")
    assert (block.trace, block.parent) == (f"{PARENT.trace_id:032x}", f"{PARENT.span_id:016x}")
    assert block.kind == "consumer"
    assert block.attributes == {
        "cipherward.block.height": height,
        "cipherward.order.instructions": ["release_key", "notify"],
    }
    assert current is not None
    assert f"{current.span_id:016x}" == block.id


async def test_an_order_that_takes_longer_than_its_block_is_in_the_trace_too(
    collector: otlp.Collector, tmp_path: Path
) -> None:
    ((height, _),) = await carried_out(tmp_path, traces(_1=PARENT.to_traceparent()))
    with traced_orders.carrying_out(OrderKey(height, 1)):
        inside = tracing.current()
    with pytest.raises(OSError, match="disk"), traced_orders.carrying_out(OrderKey(height, 2)):
        raise OSError("disk")
    with traced_orders.carrying_out(OrderKey(height, 3)):
        assert tracing.current() is None  # an order of nobody's trace
    (block,) = await collector.has("block")
    await eventually(lambda: len(collector.named("order")) == 2, what="both")
    done, failed = collector.named("order")
    assert (done.trace, done.parent, done.failed) == (block.trace, block.id, False)
    assert (failed.trace, failed.parent, failed.failed) == (block.trace, block.id, True)
    assert done.attributes == {
        "cipherward.block.height": height,
        "cipherward.order.instructions": ["notify"],
    }
    assert inside is not None
    assert f"{inside.span_id:016x}" == done.id
    # What is reported of them belongs to their own spans, of the first one to its block's.
    reported = [traced_orders.span_of(OrderKey(height, index)) for index in range(4)]
    assert [span and f"{span.span_id:016x}" for span in reported] == [
        block.id,
        done.id,
        failed.id,
        None,
    ]


async def test_the_newest_orders_are_remembered(
    collector: otlp.Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced_orders, "ORDERS_MAX", 2)
    heights = range(10**6, 10**6 + 4)  # of no other test
    for height in heights:
        traced_orders.remember([Order(height, 0, bytes(16), "test", "notify", {})], PARENT)
    in_trace: list[int] = []
    for height in heights:
        with traced_orders.carrying_out(OrderKey(height, 0)):
            in_trace += [height] if tracing.current() is not None else []
    assert in_trace == list(heights[-2:])


async def test_two_traced_transactions_of_a_block_have_a_span_each(
    collector: otlp.Collector, tmp_path: Path
) -> None:
    beside = traces(_0=PARENT.to_traceparent(), _1=OTHER.to_traceparent())
    ((_, current),) = await carried_out(tmp_path, beside)
    await eventually(lambda: len(collector.named("block")) == 2, what="both")
    assert {span.trace for span in collector.spans} == {
        f"{PARENT.trace_id:032x}",
        f"{OTHER.trace_id:032x}",
    }
    assert current is None  # of which of them a call would be, is a guess


@pytest.mark.parametrize(
    "beside",
    [traces(_0="nonsense"), traces(_9=PARENT.to_traceparent()), traces()],
    ids=["damaged", "of no transaction", "none"],
)
async def test_traces_that_make_no_sense_change_nothing(
    collector: otlp.Collector, tmp_path: Path, beside: ledger_pb.BlockTraces
) -> None:
    assert [current for _, current in await carried_out(tmp_path, beside)] == [None]
    assert collector.spans == []


async def test_a_service_without_a_collector_carries_out_the_block_all_the_same(
    tmp_path: Path,
) -> None:
    beside = traces(_1=PARENT.to_traceparent())
    assert [current for _, current in await carried_out(tmp_path, beside)] == [None]


async def test_a_block_that_fails_is_a_span_that_failed(collector: otlp.Collector) -> None:
    genesis, keys = make_genesis()
    chain = TestChain(genesis, keys)
    chain.append([b"one"])
    block = chain.light_client().accept(chain.blocks[-1])
    traced = TracedBlocks()
    traced.told(block.height, traces(_0=PARENT.to_traceparent()))
    with pytest.raises(OSError, match="disk"), traced.carrying_out(block):
        raise OSError("disk")
    (span,) = await collector.has("block")
    assert span.failed


async def test_what_a_feed_tells_is_kept_for_a_few_blocks_only(collector: otlp.Collector) -> None:
    traced = TracedBlocks()
    for height in range(1, 2 * BLOCKS_MAX):
        traced.told(height, traces(_0=PARENT.to_traceparent()))
    genesis, keys = make_genesis()
    chain = TestChain(genesis, keys)
    chain.append([b"one"])
    with traced.carrying_out(chain.light_client().accept(chain.blocks[0])):
        assert tracing.current() is None
