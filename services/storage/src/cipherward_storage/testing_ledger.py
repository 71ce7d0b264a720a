"""A test's clock, and a ledger that streams a test chain's genuine blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer
from cipherward_chain.testing import GENESIS_TIME_NS, TestChain

SECOND = 1_000_000_000  # nanoseconds
HOUR = 3600


class Clock:
    """The one clock of a test: local, monotonic and block time go by it."""

    def __init__(self) -> None:
        self.now_ns = GENESIS_TIME_NS + HOUR * SECOND

    def __call__(self) -> int:
        return self.now_ns

    @property
    def seconds(self) -> int:
        return self.now_ns // SECOND

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * SECOND)


class ChainLedger(LedgerServiceServicer):
    """A second ledger: it streams a test chain's genuine blocks and keeps what is submitted."""

    def __init__(self, chain: TestChain) -> None:
        self.chain = chain
        self.submitted: list[bytes] = []
        self.refusal = ""  # what SubmitBatch answers
        self.away = False

    async def StreamBlocks(
        self, request: ledger_pb.StreamBlocksRequest, context: Any
    ) -> AsyncIterator[ledger_pb.StreamBlocksResponse]:
        async for block in self.chain.blocks_from(request.from_height):
            yield ledger_pb.StreamBlocksResponse(block=block)

    async def SubmitBatch(
        self, request: ledger_pb.SubmitBatchRequest, context: Any
    ) -> ledger_pb.SubmitBatchResponse:
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        self.submitted.extend(request.transactions)
        return ledger_pb.SubmitBatchResponse(
            verdicts=[ledger_pb.SubmitVerdict(reason=self.refusal) for _ in request.transactions]
        )

    async def Submit(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def SubmitStream(self, request_iterator: Any, context: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - never called here
        raise NotImplementedError

    async def GetReceipt(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetBlock(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetLightBlock(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetValidatorChanges(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetGenesis(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetAdmission(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def GetStatus(self, request: Any, context: Any) -> ledger_pb.GetStatusResponse:
        return ledger_pb.GetStatusResponse(height=self.chain.height, first_height=1)
