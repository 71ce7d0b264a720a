"""The other members' ledgers, asked over mutual TLS. Who uses what they answer verifies it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import structlog
from grpc import aio

from cipherward.chain.v1 import block_pb2 as chain
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.light_source import GrpcLightSource

# For an answer from memory, or of one row: whoever takes longer is as good as away.
ASK_SECONDS = 2.0
# A proven block has up to 8 MiB, from a disk and over a link between hospitals.
BLOCK_SECONDS = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class OtherLedger:
    """One other member's ledger. A call raises `aio.AioRpcError` when there is no answer."""

    def __init__(self, member: str, channel: aio.Channel, chain_id: str) -> None:
        self.member = member
        self.headers = GrpcLightSource(channel, chain_id)
        self._stub = LedgerServiceStub(channel)

    async def status(self) -> pb.GetStatusResponse:
        """Return where it says that its chain stands."""
        return await self._stub.GetStatus(pb.GetStatusRequest(), timeout=ASK_SECONDS)

    async def changes(self) -> Sequence[chain.ValidatorChange]:
        """Return what it says of the validators since the genesis."""
        request = pb.GetValidatorChangesRequest()
        return (await self._stub.GetValidatorChanges(request, timeout=ASK_SECONDS)).changes

    async def block(self, height: int) -> chain.ProvenBlock:
        """Return what it says is the proven block of a height."""
        request = pb.GetBlockRequest(height=height)
        return (await self._stub.GetBlock(request, timeout=BLOCK_SECONDS)).block


class OtherLedgers:
    """The ledgers of all other members; the channels are opened on entry and closed on exit."""

    def __init__(self, chain_id: str, connect: Callable[[], Mapping[str, aio.Channel]]) -> None:
        """`connect` opens a channel to each, by member."""
        self._chain_id = chain_id
        self._connect = connect
        self._channels: list[aio.Channel] = []
        self.all: tuple[OtherLedger, ...] = ()

    async def __aenter__(self) -> Self:
        channels = self._connect()
        self._channels = list(channels.values())
        self.all = tuple(OtherLedger(m, c, self._chain_id) for m, c in sorted(channels.items()))
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.all = ()
        for channel in self._channels:
            await channel.close()

    async def statuses(self) -> list[tuple[OtherLedger, pb.GetStatusResponse]]:
        """Return those that answer, each with where it says that its chain stands."""
        answers = await asyncio.gather(*(_status(one) for one in self.all))
        return [(one, answer) for one, answer in zip(self.all, answers, strict=True) if answer]


async def _status(ledger: OtherLedger) -> pb.GetStatusResponse | None:
    try:
        return await ledger.status()
    except aio.AioRpcError as error:
        log.debug("other_ledger_away", member=ledger.member, code=error.code().name)
        return None
