"""What the ledger says of traces beside a block, until the block is carried out here.

It proves nothing, so nothing depends on it: what cannot be read is left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_chain.results import ResultMalformed, TransactionResult
from cipherward_kit import tracing
from cipherward_kit.tracing import Attribute, Attributes, Kind, SpanContext
from cipherward_member.traced_orders import remember

if TYPE_CHECKING:
    from cipherward_kit.trace_export import Span

# One block is carried out at a time; a feed may be some ahead, or give one again.
BLOCKS_MAX: Final = 16
# Traced transactions of one block; more are not worth the time between two blocks.
TRACES_MAX: Final = 256


class TracedBlocks:
    """The traces of blocks that are about to come. For the event loop."""

    def __init__(self) -> None:
        self._told: OrderedDict[int, ledger_pb.BlockTraces] = OrderedDict()

    def told(self, height: int, traces: ledger_pb.BlockTraces) -> None:
        """Take what a feed says of the block that it gives next."""
        if not tracing.on():
            return
        self._told[height] = traces
        if len(self._told) > BLOCKS_MAX:
            self._told.popitem(last=False)

    @contextmanager
    def carrying_out(self, block: VerifiedBlock) -> Generator[None]:
        """Tell the traces of a block's transactions of what runs in the context.

        What it calls belongs to the trace if there is one; of several it would be a guess.
        """
        told = self._told.pop(block.height, None)
        spans = [] if told is None else _begun(block, told)
        try:
            with ExitStack() as stack:
                if len(spans) == 1:
                    stack.enter_context(tracing.within(spans[0].context))
                yield
        except BaseException:
            for span in spans:
                span.fail()
            raise
        finally:
            for span in spans:
                span.end()


def _begun(block: VerifiedBlock, told: ledger_pb.BlockTraces) -> list[Span]:
    parents: Mapping[int, SpanContext] = {
        one.position: parent
        for one in told.traces[:TRACES_MAX]
        if one.position < len(block.results)
        and (parent := SpanContext.from_traceparent(one.traceparent)) is not None
    }
    begun: list[Span] = []
    for position, parent in parents.items():
        orders = _orders(block, position)
        kinds = tuple(dict.fromkeys(order.instruction for order in orders))
        said: Attributes = {Attribute.HEIGHT: block.height, Attribute.INSTRUCTIONS: kinds}
        span = tracing.begin("block", Kind.CONSUMER, parent, said)
        if span is not None:
            begun.append(span)
            remember(orders, span.context)
    return begun


def _orders(block: VerifiedBlock, position: int) -> Sequence[Order]:
    """Return the orders that one transaction of a block led to."""
    try:
        result = TransactionResult.from_bytes(block.results[position])
    except ResultMalformed:
        return ()
    return block.orders[result.first_order : result.first_order + result.order_count]
