"""Downloads: whole, from an offset, and ended the moment the right behind them ends."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio
from prometheus_client import REGISTRY

from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_storage.records import PART_BYTES

if TYPE_CHECKING:
    from conftest import OpenWorld

    from cipherward_storage.testing import TestReader

# More than gRPC and the kernel buffer for a reader that takes nothing.
LONG_RECORD = 24 * PART_BYTES


async def refused(call: Any) -> tuple[str, str]:
    """Return code and reason of the refusal that `call` ends in."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, reason_of(caught.value)


async def rest_of(call: Any) -> int:
    """Read a stream to its end; return how many bytes came."""
    received = 0
    while (message := await call.read()) is not aio.EOF:
        received += len(message.part)
    return received


def running() -> float:
    return REGISTRY.get_sample_value("cipherward_storage_downloads_running") or 0.0


@pytest.mark.parametrize("offset", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 5])
async def test_a_download_starts_where_it_is_asked_to(
    open_world: OpenWorld, reader: TestReader, offset: int
) -> None:
    async with open_world() as world:
        record = await world.stored(2 * PART_BYTES + 7)
        order = await world.released(record, reader)
        got = await world.ciphertext(record, order, reader, offset)
        assert got == record.ciphertext[offset:]


async def test_an_offset_at_the_end_gives_nothing_and_beyond_it_is_refused(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(PART_BYTES)
        order = await world.released(record, reader)
        assert await world.ciphertext(record, order, reader, PART_BYTES) == b""
        call = world.ciphertext(record, order, reader, PART_BYTES + 1)
        assert await refused(call) == ("INVALID_ARGUMENT", "OFFSET_OUT_OF_RANGE")


async def test_a_flipped_bit_on_disk_is_noticed_before_its_part_leaves(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(3 * PART_BYTES)
        order = await world.released(record, reader)
        wrong = bytearray(record.ciphertext)
        wrong[PART_BYTES + 500] ^= 4
        await world.bodies.overwrite(bytes(wrong))
        call = world.download(record, order, reader)
        assert (await call.read()).part == record.ciphertext[:PART_BYTES]
        assert await refused(call.read()) == ("DATA_LOSS", "RECORD_CORRUPT")


@pytest.mark.slow
async def test_no_flipped_byte_ever_reaches_a_reader(
    open_world: OpenWorld, reader: TestReader
) -> None:
    dice = random.Random(8)  # noqa: S311 - which bytes are flipped is no secret
    async with open_world() as world:
        record = await world.stored(1500)
        order = await world.released(record, reader)
        for _ in range(100):
            place = dice.randrange(1500)
            wrong = bytearray(record.ciphertext)
            wrong[place] ^= 1 << dice.randrange(8)
            await world.bodies.overwrite(bytes(wrong))
            call = world.ciphertext(record, order, reader)
            assert await refused(call) == ("DATA_LOSS", "RECORD_CORRUPT")
        await world.bodies.overwrite(record.ciphertext)
        assert await world.ciphertext(record, order, reader) == record.ciphertext


@pytest.mark.parametrize("harm", ["shortened", "missing"])
async def test_a_body_that_is_not_whole_is_refused(
    open_world: OpenWorld, reader: TestReader, harm: str
) -> None:
    async with open_world() as world:
        record = await world.stored(1000)
        order = await world.released(record, reader)
        left = 999 if harm == "shortened" else 0
        await world.bodies.overwrite(record.ciphertext[:left])
        call = world.ciphertext(record, order, reader)
        assert await refused(call) == ("DATA_LOSS", "RECORD_CORRUPT")


@pytest.mark.slow
async def test_a_revocation_cuts_a_running_download_within_its_block(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(LONG_RECORD)
        order = await world.released(record, reader)
        call = world.download(record, order, reader)
        await call.read()  # and then the reader takes nothing for a while
        await world.block(orders=world.ending_orders(record))
        # The block is applied: the stream is over here, whatever the reader does.
        await eventually(lambda: running() == 0, what="the cut")
        assert await refused(rest_of(call)) == ("FAILED_PRECONDITION", "RELEASE_ENDED")


@pytest.mark.slow
async def test_an_expiry_order_cuts_only_the_downloads_of_its_grant(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(LONG_RECORD)
        order = await world.released(record, reader)
        other = await world.released(record, reader, grant=b"H" * 16)
        cut, lives = world.download(record, order, reader), world.download(record, other, reader)
        await cut.read()
        first = await lives.read()
        await world.block(orders=world.ending_orders(record))
        assert await refused(rest_of(cut)) == ("FAILED_PRECONDITION", "RELEASE_ENDED")
        assert len(first.part) + await rest_of(lives) == len(record.ciphertext)


@pytest.mark.slow
async def test_a_silent_chain_cuts_a_running_download(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(LONG_RECORD)
        order = await world.released(record, reader)
        call = world.download(record, order, reader)
        await call.read()
        world.clock.advance(world.genesis.parameters.fresh_seconds + 1)
        await eventually(lambda: running() == 0, what="the cut")
        assert await refused(rest_of(call)) == ("FAILED_PRECONDITION", "CHAIN_STALE")


@pytest.mark.slow
async def test_the_end_of_a_visit_cuts_a_running_download(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(LONG_RECORD)
        order = await world.released(record, reader, ends=world.clock.seconds + 5)
        call = world.download(record, order, reader)
        await call.read()
        world.clock.advance(6)
        assert await refused(rest_of(call)) == ("FAILED_PRECONDITION", "RELEASE_ENDED")


@pytest.mark.slow
async def test_a_reader_that_takes_nothing_is_let_go(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world(stall_seconds=1) as world:
        record = await world.stored(LONG_RECORD)
        order = await world.released(record, reader)
        call = world.download(record, order, reader)
        await call.read()
        await eventually(lambda: running() == 0, what="the end")
        assert await refused(rest_of(call)) == ("DEADLINE_EXCEEDED", "DOWNLOAD_STALLED")


@pytest.mark.slow
async def test_a_reader_that_goes_away_ends_its_download(
    open_world: OpenWorld, reader: TestReader
) -> None:
    async with open_world() as world:
        record = await world.stored(LONG_RECORD)
        order = await world.released(record, reader)
        call = world.download(record, order, reader)
        await call.read()
        assert running() == 1
        call.cancel()
        await eventually(lambda: running() == 0, what="the end")
        assert await world.ciphertext(record, order, reader) == record.ciphertext
