"""The messages of a contribution, as the header and parts that they say; each with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_compute.datasets_form import Column, Header, RowsEnd, RowsPart
from cipherward_compute.errors import ContributionStalled, DataSetMalformed

# Between two messages: a hospital reads the next rows from its own file or database.
STALL_SECONDS = 60.0


async def read_contribution(
    messages: AsyncIterator[pb.ContributeRequest],
) -> tuple[Header, AsyncIterator[RowsPart | RowsEnd]]:
    """Return the header, and what follows as it comes.

    Raises:
        DataSetMalformed: the first message is no header; later, that another is one.
        ContributionStalled: a message did not come in time.
    """
    first = await _next(messages)
    if first is None or first.WhichOneof("step") != "header":
        raise DataSetMalformed("the first message is not the header")
    columns = tuple(Column(one.name, one.unit) for one in first.header.variables)
    header = Header(first.header.request_id, first.header.data_set, columns)
    return header, _parts(messages)


async def _parts(
    messages: AsyncIterator[pb.ContributeRequest],
) -> AsyncIterator[RowsPart | RowsEnd]:
    while (message := await _next(messages)) is not None:
        match message.WhichOneof("step"):
            case "part":
                yield RowsPart(message.part.values, message.part.references)
            case "end":
                yield RowsEnd(message.end.rows)
            case _:
                raise DataSetMalformed("a message after the header is neither a part nor the end")


async def _next(messages: AsyncIterator[pb.ContributeRequest]) -> pb.ContributeRequest | None:
    try:
        async with asyncio.timeout(STALL_SECONDS):
            return await anext(messages, None)
    except TimeoutError:
        raise ContributionStalled("the rest of the contribution did not come") from None
