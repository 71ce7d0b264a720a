"""Light blocks over gRPC: what one member's ledger says, not believed here."""

from __future__ import annotations

from typing import Final

import grpc
from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.errors import ChainError
from cipherward_chain.light_block import LightBlock

# One row of a ledger's database: whoever takes longer is as good as away.
DEADLINE_SECONDS: Final = 5.0


class LightBlockUnavailable(ChainError):
    """A ledger does not answer a light block: it is away, lags behind, or has dropped it."""

    reason = "LIGHT_BLOCK_UNAVAILABLE"


class GrpcLightSource:
    """GetLightBlock of one ledger.

    Args:
        channel: to the ledger; the caller closes it.
        chain_id: the chain whose headers are asked for.
        deadline_seconds: of each call.
    """

    def __init__(
        self, channel: aio.Channel, chain_id: str, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._stub = LedgerServiceStub(channel)
        self._chain_id = chain_id
        self._deadline_seconds = deadline_seconds

    async def light_block(self, height: int) -> LightBlock:
        """Return the light block of `height`, or the newest for 0; see `LightSource`."""
        try:
            response = await self._stub.GetLightBlock(
                pb.GetLightBlockRequest(height=height), timeout=self._deadline_seconds
            )
        except aio.AioRpcError as error:
            code: grpc.StatusCode = error.code()
            raise LightBlockUnavailable(f"light block {height}: {code.name}") from None
        return LightBlock.parse(response.light_block, self._chain_id)
