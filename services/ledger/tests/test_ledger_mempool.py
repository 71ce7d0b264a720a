"""The queue of the next blocks: order, bounds and expiry."""

from __future__ import annotations

import asyncio

import pytest

from cipherward_ledger.errors import OutboxFull
from cipherward_ledger.mempool import FRAME_BYTES, UNTIDY_MAX, Bounds, Entry, Mempool


def entry(number: int, *, size: int = 10, expires_ns: int = 100) -> Entry:
    name = number.to_bytes(32, "big")
    return Entry(name, name, bytes(size), expires_ns)


async def arrives(mempool: Mempool, after: int) -> bool:
    """Say whether an entry is announced at once that arrived after a sequence."""
    try:
        async with asyncio.timeout(0):
            await mempool.arrived(after)
    except TimeoutError:
        return False
    return True


def filled(*entries: Entry) -> Mempool:
    mempool = Mempool(Bounds(count=10, size=1_000))
    for one in entries:
        mempool.add(one)
    return mempool


def test_entries_leave_in_the_order_of_their_arrival() -> None:
    entries = [entry(number) for number in (5, 3, 9, 1)]
    mempool = filled(*entries)
    assert mempool.take(time_ns=0, count_max=3, size_max=1_000) == entries[:3]
    assert mempool.take(time_ns=0, count_max=3, size_max=1_000) == entries[3:]
    assert len(mempool) == 0


def test_a_block_ends_before_the_first_entry_that_does_not_fit() -> None:
    small, large, last = entry(1), entry(2, size=500), entry(3)
    mempool = filled(small, large, last)
    size_max = 10 + FRAME_BYTES + 500  # the frame of the second does not fit
    assert mempool.take(time_ns=0, count_max=9, size_max=size_max) == [small]
    assert mempool.take(time_ns=0, count_max=9, size_max=1_000) == [large, last]


def test_an_entry_may_be_in_a_block_of_its_last_moment_and_in_no_later_one() -> None:
    mempool = filled(entry(1, expires_ns=50), entry(2, expires_ns=51))
    assert mempool.take_expired(50) == []
    assert mempool.take(time_ns=51, count_max=9, size_max=1_000) == [entry(2, expires_ns=51)]
    assert mempool.take_expired(51) == [entry(1, expires_ns=50)]
    assert len(mempool) == 0


def test_room_is_bounded_in_number_and_bytes_and_given_back() -> None:
    mempool = filled(entry(1, size=400))
    for count, size in ((10, 10), (1, 601)):
        with pytest.raises(OutboxFull), mempool.room_for(count, size):
            pass
    with mempool.room_for(5, 300), pytest.raises(OutboxFull), mempool.room_for(5, 10):
        pass
    mempool.take(time_ns=0, count_max=1, size_max=1_000)
    with mempool.room_for(10, 1_000):
        pass


def test_an_entry_added_twice_waits_once() -> None:
    mempool = filled(entry(1), entry(1))
    assert mempool.take(time_ns=0, count_max=9, size_max=1_000) == [entry(1)]


def test_entries_are_read_in_order_after_a_sequence_and_stay() -> None:
    entries = [entry(number) for number in (7, 2, 5, 4)]
    mempool = filled(*entries)
    first = mempool.after(0, 3)
    assert [one for _, one in first] == entries[:3]
    assert mempool.after(first[-1][0], 3) == [(first[-1][0] + 1, entries[3])]
    assert mempool.after(first[-1][0] + 1, 3) == []
    assert len(mempool) == 4


def test_an_entry_that_left_is_not_read_and_comes_again_as_a_new_one() -> None:
    mempool = filled(*(entry(number) for number in (1, 2, 3)))
    (newest, _) = mempool.after(0, 3)[-1]
    mempool.remove([entry(2).id, entry(2).id, entry(9).id])
    assert [one for _, one in mempool.after(0, 3)] == [entry(1), entry(3)]
    mempool.add(entry(2))
    assert mempool.after(newest, 3) == [(newest + 1, entry(2))]
    assert [one for _, one in mempool.after(0, 9)] == [entry(1), entry(3), entry(2)]


def test_what_has_left_is_forgotten_while_one_entry_always_waits() -> None:
    mempool = Mempool(Bounds(count=10, size=1_000))
    mempool.add(entry(0, expires_ns=9))
    for number in range(1, 5_000):
        mempool.add(entry(number))
        mempool.remove([entry(number).id])
    kept = (mempool._arrivals, mempool._expiries)  # pyright: ignore[reportPrivateUsage] - memory
    assert max(map(len, kept)) <= UNTIDY_MAX + 3
    mempool.add(entry(6_000))
    assert [one for _, one in mempool.after(0, 9)] == [entry(0, expires_ns=9), entry(6_000)]
    assert mempool.take_expired(10) == [entry(0, expires_ns=9)]
    assert mempool.take_expired(101) == [entry(6_000)]


async def test_an_arrival_is_awaited_after_what_was_read() -> None:
    mempool = filled(entry(1), entry(2))
    assert await arrives(mempool, 0)
    assert await arrives(mempool, 1)
    assert not await arrives(mempool, 2)
    waiting = asyncio.ensure_future(mempool.arrived(2))
    await asyncio.sleep(0)
    mempool.remove([entry(1).id, entry(2).id])
    await asyncio.sleep(0)
    assert not waiting.done()
    mempool.add(entry(3))
    await waiting
    mempool.remove([entry(3).id])
    assert not await arrives(mempool, 0)
