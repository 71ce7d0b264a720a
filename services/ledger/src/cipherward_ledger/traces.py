"""Which transactions came with traced requests: in memory, for this member's own services.

A transaction is public to the alliance, and its bytes are signed: so no trace is in it, nor in its
block. The ledger that admitted it remembers it by its hash; where the block that holds it goes to a
service of the same member, in the stream or in the member's topic, the trace stands beside it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from cipherward.chain.v1 import block_pb2 as chain
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.genesis import Genesis
from cipherward_kit import tracing
from cipherward_kit.tls import Caller
from cipherward_kit.tracing import Attribute, Kind

if TYPE_CHECKING:
    from cipherward_kit.trace_export import Span

# Of traced transactions that wait for a block: about 2 KiB each. More are given up, oldest first.
WAITING_MAX: Final = 4_096
# Of blocks whose traces are remembered, for followers that are a little behind.
BLOCKS_MAX: Final = 64
# Some 16 KiB beside a block: a message of the topic has that much room for all but the block.
BLOCK_TRACES_MAX: Final = 256

NONE: Final = pb.BlockTraces()


class TransactionTraces:
    """The traces of one ledger. For the event loop; empty while traces are off."""

    def __init__(self, member: str = "", *, in_topic: bool = False) -> None:
        """Know none.

        Args:
            member: whose services learn of traces; empty: nobody's.
            in_topic: whether only services of that member read its topic.
        """
        self._member = member
        self._in_topic = in_topic
        self._waiting: OrderedDict[bytes, Span] = OrderedDict()
        self._blocks: OrderedDict[int, pb.BlockTraces] = OrderedDict()

    @classmethod
    def of(cls, member: str, genesis: Genesis) -> TransactionTraces:
        """Return those of a member's ledger; the topic of solo's only ledger is every member's."""
        return cls(member, in_topic=genesis.engine != "solo" or len(genesis.members) == 1)

    def admitted(self, transaction_hash: bytes, came_ns: int) -> None:
        """Remember that a transaction belongs to the current trace, if there is one.

        Args:
            transaction_hash: SHA-256 of the whole transaction.
            came_ns: when it came, Unix time in nanoseconds.
        """
        parent = tracing.current()
        if parent is None or transaction_hash in self._waiting:
            return
        span = tracing.begin("transaction", Kind.INTERNAL, parent, start_ns=came_ns)
        if span is None:
            return
        self._waiting[transaction_hash] = span
        if len(self._waiting) > WAITING_MAX:
            _, oldest = self._waiting.popitem(last=False)
            oldest.fail()
            oldest.end()

    def for_caller(
        self, caller: Caller | None, height: int, block: chain.ProvenBlock
    ) -> pb.BlockTraces:
        """Return the traces of a proven block for who follows it; none for another member's."""
        if caller is None or caller.member != self._member:
            return NONE
        return self._of(height, block)

    def for_topic(self, height: int, block: chain.ProvenBlock) -> bytes:
        """Return the serialised traces of a proven block for the topic; empty if there are none."""
        return self._of(height, block).SerializeToString() if self._in_topic else b""

    def _of(self, height: int, block: chain.ProvenBlock) -> pb.BlockTraces:
        if height not in self._blocks and self._waiting and block.transactions:
            self._settle(height, block)
        return self._blocks.get(height, NONE)

    def _settle(self, height: int, block: chain.ProvenBlock) -> None:
        """End the spans of a block's transactions: it is proven."""
        found = pb.BlockTraces()
        for position, content in enumerate(block.transactions):
            span = self._waiting.pop(hashlib.sha256(content).digest(), None)
            if span is None:
                continue
            span.tell(Attribute.HEIGHT, height)
            span.end()
            if span.context.sampled and len(found.traces) < BLOCK_TRACES_MAX:
                found.traces.add(position=position, traceparent=span.context.to_traceparent())
        if found.traces:
            self._blocks[height] = found
            if len(self._blocks) > BLOCKS_MAX:
                self._blocks.popitem(last=False)
