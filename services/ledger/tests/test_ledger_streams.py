"""StreamBlocks: from any height, verified by the light client, and live."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.light import LightClient
from cipherward_kit.testing import eventually

DEADLINE = 20.0


async def test_a_light_client_follows_the_stream_from_the_first_block_and_on(
    world: Any, ledger: Any
) -> None:
    client = LightClient(world.genesis.trust_root())
    call = ledger.service_stub.StreamBlocks(pb.StreamBlocksRequest(from_height=1))
    ids: list[bytes] = []
    async with asyncio.timeout(DEADLINE):
        for _ in range(5):  # live: each is made after we began to follow
            ids.append(await ledger.submit(world.transaction()))
            while not client.accept((await call.read()).block).transactions:
                pass
    call.cancel()
    assert world.contract.applied == ids
    assert client.height <= (await ledger.status()).height


async def test_a_stream_may_start_at_any_height_up_to_the_next(world: Any, ledger: Any) -> None:
    for _ in range(4):
        await ledger.receipt(await ledger.submit(world.transaction()))
    whole = await ledger.blocks(1, 8)
    for height in (2, 5, 8):
        assert await ledger.blocks(height, 9 - height) == whole[height - 1 :]


async def test_old_blocks_come_from_disk_as_they_came_from_memory(world: Any) -> None:
    async with world.ledger() as ledger:
        await ledger.ready()
        for _ in range(4):
            await ledger.receipt(await ledger.submit(world.transaction()))
        before = await ledger.blocks(1, 8)
    async with world.ledger() as ledger:
        await ledger.ready()
        assert await ledger.blocks(1, 8) == before


async def test_a_height_beyond_the_chain_is_unknown(ledger: Any, reason_of_call: Any) -> None:
    newest = (await ledger.status()).height
    for height in (0, newest + 50):
        request = pb.StreamBlocksRequest(from_height=height)
        call = ledger.service_stub.StreamBlocks(request, timeout=DEADLINE)
        assert await reason_of_call(call.read()) == "NOT_FOUND/BLOCK_UNKNOWN"


async def test_holders_do_not_follow_the_chain(ledger: Any, reason_of_call: Any) -> None:
    call = ledger.stub.StreamBlocks(pb.StreamBlocksRequest(from_height=1), timeout=DEADLINE)
    assert await reason_of_call(call.read()) == "PERMISSION_DENIED/CALLER_REFUSED"


@pytest.mark.slow
async def test_streams_end_when_the_ledger_drains(ledger: Any, reason_of_call: Any) -> None:
    request = pb.StreamBlocksRequest(from_height=(await ledger.status()).height + 1)
    call = ledger.service_stub.StreamBlocks(request, timeout=DEADLINE)
    waiting = asyncio.ensure_future(call.read())
    await eventually(lambda: ledger.open_streams() == 1)
    ledger.around.drain.begin()
    assert await reason_of_call(waiting) == "UNAVAILABLE/DRAINING"
    await eventually(lambda: ledger.open_streams() == 0)


@pytest.mark.slow
async def test_many_followers_and_writers_at_once_see_one_chain(world: Any, ledger: Any) -> None:
    async def follow() -> list[bytes]:
        client, seen = LightClient(world.genesis.trust_root()), list[bytes]()
        call = ledger.service_stub.StreamBlocks(pb.StreamBlocksRequest(from_height=1))
        while len(seen) < 400:
            seen += client.accept((await call.read()).block).transactions
        call.cancel()
        return seen

    async def write() -> list[str]:
        return [v.reason for v in await ledger.submit_batch(world.transactions(50))]

    async with asyncio.timeout(DEADLINE):
        answers = await asyncio.gather(*(follow() for _ in range(6)), *(write() for _ in range(8)))
    assert all(answer == answers[0] for answer in answers[:6])
    assert all(set(answer) == {""} for answer in answers[6:])
