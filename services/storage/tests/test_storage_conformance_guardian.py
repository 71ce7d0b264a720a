"""What every home of shares, erasures, slots and ceremonies keeps to."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cipherward_chain.orders import Order
from cipherward_member.ceremony_store import (
    CeremonyMessage,
    CeremonyNews,
    KeptSharing,
    StoredCeremony,
)
from cipherward_member.reports import OrderKey, Outcome, Report
from cipherward_storage.effects import BlockEffects, Erasure, RecordKey, Release, ShareOrder
from cipherward_storage.errors import RecordErased, RecordUnknown
from cipherward_storage.guardian import OrderedShare
from cipherward_storage.records import AnchoredRecord, KeptSlot, UploadHeader
from cipherward_storage.slot_renewal import LivingSlot
from cipherward_storage.store import RecordStore, SlotKeyRetired
from cipherward_storage.testing import header_of

if TYPE_CHECKING:
    from conftest import OpenHome

NOW = 1_800_000_000
DAY = 24 * 3600
CEREMONY = b"c" * 16


async def put(store: RecordStore, header: UploadHeader, ciphertext: bytes) -> None:
    async with store.write(header, 0) as spool:
        await spool.append([ciphertext])
        await spool.complete()


def effects(height: int, **changes: Any) -> BlockEffects:
    return replace(BlockEffects(height, NOW, f"at {height}".encode()), **changes)


def ordered(height: int, number: int = 0, **changes: Any) -> ShareOrder:
    order = ShareOrder(
        OrderKey(height, number),
        os.urandom(32),
        b"r" * 16,
        b"a" * 32,
        b"anchor",
        b"g",
        b"k" * 32,
        os.urandom(1216),
        NOW + 100,
        "hospital-b",
        1,
    )
    return replace(order, **changes)


def share_of(order: ShareOrder, sealed: bytes = b"", *, revoked: bool = False) -> Release:
    return Release(
        order.order,
        order.record_id,
        order.anchor,
        order.grant,
        order.reader,
        order.ends,
        sealed,
        revoked=revoked,
    )


async def test_a_share_is_pending_until_it_is_made_and_the_first_one_stays(
    open_home: OpenHome,
) -> None:
    order = ordered(5)
    async with open_home() as home:
        await home.chain.apply(effects(5, shares=(order,)))
        assert await home.shares.share(order.order) == OrderedShare(share_of(order), True)
        assert await home.shares.share(OrderKey(5, 1)) is None
    async with open_home() as home:
        assert list(await home.shares.pending(NOW, 10, ())) == [order]
        assert await home.shares.waiting(NOW) == 1
        await home.shares.keep(order.order, b"first")
        await home.shares.keep(order.order, b"second")
    async with open_home() as home:
        assert await home.shares.share(order.order) == OrderedShare(
            share_of(order, b"first"), False
        )
        assert await home.shares.waiting(NOW) == 0
        await home.chain.apply(effects(5, shares=(ordered(5),)))  # a block that came before
        assert await home.shares.pending(NOW, 10, ()) == []


async def test_pending_shares_come_by_order_without_whom_we_wait_for_and_what_is_over(
    open_home: OpenHome,
) -> None:
    orders = (
        ordered(5, 1),
        ordered(5, 0, custodian="hospital-c"),
        ordered(5, 2, ends=NOW),
        ordered(5, 3),
    )
    async with open_home() as home:
        await home.chain.apply(effects(5, shares=orders))
        pending = await home.shares.pending(NOW, 10, ())
        assert [one.order.index for one in pending] == [0, 1, 3]
        assert [one.order.index for one in await home.shares.pending(NOW, 2, ())] == [0, 1]
        without = await home.shares.pending(NOW, 10, ("hospital-b", "hospital-d"))
        assert list(without) == [orders[1]]
        assert await home.shares.waiting(NOW) == 3
        await home.shares.put_off(orders[1], NOW + 5)
        assert orders[1] not in await home.shares.pending(NOW + 4, 10, ())
        again = replace(orders[1], attempts=1)
        assert again in await home.shares.pending(NOW + 5, 10, ())
        assert await home.shares.waiting(NOW) == 3
        await home.shares.give_up(orders[0].order)
        assert await home.shares.waiting(NOW) == 2
        gone = await home.shares.share(orders[0].order)
        assert gone == OrderedShare(share_of(orders[0]), False)


@pytest.mark.parametrize("end", ["grant", "erasure"])
async def test_what_ends_takes_shares_and_releases_with_it(open_home: OpenHome, end: str) -> None:
    made, waiting = ordered(1, 0), ordered(1, 1)
    other = ordered(1, 2, grant=b"other", record_id=b"o" * 16)
    released = replace(share_of(ordered(1, 3), b"sealed"), alliance_slot=b"slot")
    async with open_home() as home:
        await home.chain.apply(effects(1, shares=(made, waiting, other), releases=(released,)))
        assert await home.chain.release(released.order) == released
        await home.shares.keep(made.order, b"made")
        ending = {"ended_grants": (b"g",)} if end == "grant" else {"erased": (erasure_of(2),)}
        within = ordered(2, 0)
        await home.chain.apply(effects(2, shares=(within,), **ending))
        for order in (made, waiting, within):
            await home.shares.keep(order.order, b"too late")
            found = await home.shares.share(order.order)
            assert found == OrderedShare(share_of(order, revoked=True), False)
        assert list(await home.shares.pending(NOW, 10, ())) == [other]
        ended = replace(released, sealed=b"", revoked=True)
        assert await home.chain.release(released.order) == ended


async def test_a_share_that_is_long_over_is_forgotten(open_home: OpenHome) -> None:
    order = ordered(1, ends=NOW)
    async with open_home() as home:
        await home.chain.apply(effects(1, shares=(order,)))
        await home.chain.apply(effects(2, time=NOW + DAY))
        assert await home.shares.share(order.order) is not None
        await home.chain.apply(effects(3, time=NOW + DAY + 1))
        assert await home.shares.share(order.order) is None


async def test_facts_are_the_first_anchor_and_the_newest_sharing(open_home: OpenHome) -> None:
    header = header_of(b"ab")
    other = header_of(b"cd", header.anchor.record_id)
    first = AnchoredRecord(header.anchor, b"d" * 32, 3)
    async with open_home() as home:
        assert await home.facts.anchored(header.anchor.record_id) is None
        assert await home.facts.record_key(1) is None
        assert await home.facts.began() == 0
        key = RecordKey(1, 1, 3, b"p" * 48)
        await home.chain.apply(effects(3, anchored=(first,), record_keys=(key,)))
        again = AnchoredRecord(other.anchor, b"e" * 32, 4)
        newer = RecordKey(1, 2, 4, b"p" * 48)
        await home.chain.apply(effects(4, anchored=(again,), record_keys=(newer,)))
        await home.chain.apply(effects(5, record_keys=(key, RecordKey(1, 9, 1, b"q" * 48))))
    async with open_home() as home:
        assert await home.facts.anchored(header.anchor.record_id) == first
        assert await home.facts.record_key(1) == newer
        assert await home.facts.record_key(2) is None
        assert await home.facts.began() == 3


def erasure_of(height: int, *, ours: bool = True, record_id: bytes = b"r" * 16) -> Erasure:
    return Erasure(OrderKey(height, 0), b"d" * 32, record_id, ours)


async def test_an_erased_id_is_refused_for_ever_and_its_record_goes(open_home: OpenHome) -> None:
    header, rest = header_of(b"ab"), header_of(b"cd")
    record_id = header.anchor.record_id
    begun = header_of(b"other", record_id, key_number=4)
    erasure = erasure_of(2, record_id=record_id)
    async with open_home() as home:
        await put(home.records, header, b"ab")
        await put(home.records, rest, b"cd")
        async with home.records.write(begun, 0) as spool:
            await spool.append([b"ot"])
        assert not await home.facts.erased(record_id)
        await home.chain.apply(effects(2, erased=(erasure,)))
        assert await home.facts.erased(record_id)
        assert list(await home.erasures.unfinished(10)) == [erasure]
        assert await home.erasures.erase(erasure) == 4  # the highest key of any of its slots
    async with open_home() as home:
        assert await home.records.find(record_id) is None
        assert await home.records.upload(header.request_id) is None
        assert await home.records.upload(begun.request_id) is None
        with pytest.raises(RecordUnknown):
            await anext(home.records.read(record_id, 0))
        with pytest.raises(RecordErased):
            await put(home.records, header, b"ab")
        assert await home.records.find(rest.anchor.record_id) is not None
        (kept,) = await home.erasures.unfinished(10)
        assert kept == replace(erasure, key_number=4)
        assert await home.erasures.erase(kept) == 4  # remembered, though nothing is there any more


async def test_an_upload_that_ends_after_the_erasure_is_no_record(open_home: OpenHome) -> None:
    header = header_of(b"ab")
    async with open_home() as home:
        async with home.records.write(header, 0) as spool:
            await spool.append([b"ab"])
            erased = erasure_of(2, record_id=header.anchor.record_id)
            await home.chain.apply(effects(2, erased=(erased,)))
            with pytest.raises(RecordErased):
                await spool.complete()
        assert await home.records.find(header.anchor.record_id) is None
        assert await home.records.upload(header.request_id) is None


async def test_the_room_of_an_erased_record_is_given_back(open_home: OpenHome) -> None:
    half = os.urandom(4 * 1024 * 1024)  # of the home's quota
    async with open_home() as home:
        headers = [header_of(half) for _ in range(3)]
        await put(home.records, headers[0], half)
        await put(home.records, headers[1], half)
        erasure = erasure_of(2, record_id=headers[0].anchor.record_id)
        await home.chain.apply(effects(2, erased=(erasure,)))
        await home.erasures.erase(erasure)
        await put(home.records, headers[2], half)


async def test_an_erasure_is_reported_once_and_then_finished(open_home: OpenHome) -> None:
    erasure = erasure_of(2)
    report = Report(erasure.order, Outcome.DONE, b"s" * 32)
    async with open_home() as home:
        await home.chain.apply(effects(2, erased=(erasure,)))
        await home.erasures.finish(erasure, report)
        await home.erasures.finish(erasure, replace(report, digest=b"t" * 32))
    async with open_home() as home:
        assert list(await home.erasures.unfinished(10)) == []
        assert [one.report for one in await home.chain.reports.pending(10)] == [report]
        assert await home.facts.erased(erasure.record_id)


async def test_another_custodians_erasure_leaves_nothing_to_do(open_home: OpenHome) -> None:
    async with open_home() as home:
        await home.chain.apply(effects(2, erased=(erasure_of(2, ours=False),)))
        assert list(await home.erasures.unfinished(10)) == []
        assert await home.facts.erased(b"r" * 16)


async def test_slots_move_to_another_key_and_none_comes_under_an_old_one(
    open_home: OpenHome,
) -> None:
    stored, begun, done = (header_of(b"ab") for _ in range(3))
    async with open_home() as home:
        await put(home.records, stored, b"ab")
        async with home.records.write(begun, 0) as spool:
            await spool.append([b"a"])
            await home.slots.raise_floor(2)
            outdated = await home.slots.outdated(2, 10)
            assert {(one.record_id, one.request_id, one.kept) for one in outdated} == {
                (stored.anchor.record_id, "", stored.kept),
                (begun.anchor.record_id, begun.request_id, begun.kept),
            }
            assert len(await home.slots.outdated(2, 1)) == 1
            moved = [(one, KeptSlot(2, os.urandom(60))) for one in outdated]
            await home.slots.replace(moved)
            assert list(await home.slots.outdated(2, 10)) == []
            stale = [(outdated[0], KeptSlot(2, b"stale")), (outdated[1], KeptSlot(2, b"stale"))]
            await home.slots.replace(stale)  # moved by somebody else meanwhile
            await spool.append([b"b"])
            await spool.complete()
        with pytest.raises(SlotKeyRetired):
            await put(home.records, done, b"ab")
        assert await home.records.upload(done.request_id) is None
        again = replace(done, kept=KeptSlot(2, os.urandom(60)))
        await put(home.records, again, b"ab")
    async with open_home() as home:
        for header in (stored, begun):
            record = await home.records.find(header.anchor.record_id)
            assert record is not None
            (kept,) = [new for one, new in moved if one.record_id == header.anchor.record_id]
            assert record.kept == kept
        await home.slots.raise_floor(1)  # it never goes down
        with pytest.raises(SlotKeyRetired):
            await put(home.records, header_of(b"ab"), b"ab")


async def test_a_record_keeps_no_second_copy_of_its_slot(open_home: OpenHome) -> None:
    header = header_of(b"ab")
    async with open_home() as home:
        await put(home.records, header, b"ab")
        state = await home.records.upload(header.request_id)
        assert state is not None
        assert (state.header.kept.key_number, state.header.kept.octets) == (0, b"")
        expected = LivingSlot(header.anchor.record_id, "", header.kept)
        assert list(await home.slots.outdated(9, 10)) == [expected]


async def test_it_is_this_storages_turn_to_renew(open_home: OpenHome) -> None:
    async with open_home() as home:
        assert await home.slots.ours()
        assert await home.slots.ours()


def news_at(height: int, *places: int, begins: bool = False) -> CeremonyNews:
    begun = Order(height, 0, CEREMONY, "key-ceremony", "share_key", {}).to_bytes()
    return CeremonyNews(
        {CEREMONY: begun} if begins else {},
        tuple(message(height, place) for place in places),
    )


def message(height: int, place: int, ceremony: bytes = CEREMONY) -> CeremonyMessage:
    return CeremonyMessage(ceremony, height, place, "hospital-b", "deal", b"%d" % place)


async def test_a_ceremony_is_kept_with_its_messages_and_one_seed(open_home: OpenHome) -> None:
    async with open_home() as home:
        news = news_at(5, 0, begins=True)
        stray = replace(news, messages=(*news.messages, message(5, 1, b"x" * 16)))
        await home.chain.apply(effects(5, ceremonies=stray))
        await home.chain.apply(effects(6, ceremonies=news_at(6, 0, 1)))
        assert await home.ceremonies.seed(CEREMONY, b"first") == b"first"
        assert await home.ceremonies.seed(CEREMONY, b"second") == b"first"
    async with open_home() as home:
        begun = StoredCeremony(CEREMONY, news.begun[CEREMONY], b"")
        assert list(await home.ceremonies.running()) == [begun]
        everything = [message(5, 0), message(6, 0), message(6, 1)]
        assert list(await home.ceremonies.messages(CEREMONY, (0, 0))) == everything
        assert list(await home.ceremonies.messages(CEREMONY, (5, 0))) == everything[1:]
        assert list(await home.ceremonies.messages(CEREMONY, (6, 0))) == everything[2:]
        assert list(await home.ceremonies.messages(b"x" * 16, (0, 0))) == []
        await home.chain.apply(effects(7, ceremonies=CeremonyNews(in_force={CEREMONY: b"use"})))
        assert list(await home.ceremonies.running()) == [replace(begun, in_force=b"use")]


async def test_a_closed_ceremony_leaves_its_sharing_and_no_older_one(open_home: OpenHome) -> None:
    first, second = KeptSharing(1, 1, b"entry", b"share"), KeptSharing(1, 2, b"newer", b"")
    other = KeptSharing(2, 1, b"other", b"epoch")
    async with open_home() as home:
        await home.chain.apply(effects(5, ceremonies=news_at(5, 0, begins=True)))
        await home.ceremonies.seed(CEREMONY, b"seed")
        await home.ceremonies.close(CEREMONY, first)
        await home.ceremonies.close(CEREMONY, replace(first, share=b"made again"))
        assert list(await home.ceremonies.running()) == []
        assert list(await home.ceremonies.messages(CEREMONY, (0, 0))) == []
        assert await home.ceremonies.seed(CEREMONY, b"fresh") == b""
        assert list(await home.ceremonies.sharings()) == [first]
        await home.ceremonies.close(b"d" * 16, other)
        await home.ceremonies.close(b"e" * 16, second)
    async with open_home() as home:
        assert list(await home.ceremonies.sharings()) == [second, other]
        await home.ceremonies.close(b"f" * 16, None)  # one that failed
        assert list(await home.ceremonies.sharings()) == [second, other]
