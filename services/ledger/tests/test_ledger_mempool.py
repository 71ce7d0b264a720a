"""The queue of the next blocks: order, bounds and expiry."""

from __future__ import annotations

import pytest

from cipherward_ledger.errors import OutboxFull
from cipherward_ledger.mempool import FRAME_BYTES, Bounds, Entry, Mempool


def entry(number: int, *, size: int = 10, expires_ns: int = 100) -> Entry:
    name = number.to_bytes(32, "big")
    return Entry(name, name, bytes(size), expires_ns)


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
