"""A database whose line is cut, at every command, before it is done and after: nothing is half."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from cipherward_chain.orders import Order
from cipherward_member.ceremony_store import CeremonyMessage, CeremonyNews
from cipherward_member.reports import OrderKey, Outcome, Report
from cipherward_storage.effects import BlockEffects, Erasure, Release, ShareOrder
from cipherward_storage.errors import StoreAway
from cipherward_storage.mongo.chunks import GARBAGE_SECONDS
from cipherward_storage.mongo.opening import open_mongo
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.place import StoreOwner
from cipherward_storage.records import PART_BYTES, AnchoredRecord, UploadHeader, digest_of
from cipherward_storage.store import ChainStore, RecordStore
from cipherward_storage.stores import Stores
from cipherward_storage.testing import header_of

if TYPE_CHECKING:
    from cipherward_storage.mongo.testing import CuttingProxy
    from tests.servers.mongo import MongoServer

pytestmark = [pytest.mark.servers, pytest.mark.slow]

NOW = 1_800_000_000
QUOTA = 1 << 40
ATTEMPTS_MAX = 60  # more than any act has commands: a loop that does not end is a failure


@dataclass
class Clock:
    """Unix seconds, moved by the test."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass(frozen=True, slots=True)
class Shelf:
    """A store behind the proxy, and what the database really holds."""

    stores: Stores
    settings: MongoSettings
    clock: Clock

    @property
    def records(self) -> RecordStore:
        return self.stores.records

    @property
    def chain(self) -> ChainStore:
        return self.stores.chain

    def rows(self, uri: str, collection: str) -> list[dict[str, Any]]:
        with MongoClient[dict[str, Any]](uri) as client:
            return list(client[self.settings.database][collection].find())


@asynccontextmanager
async def shelf(proxy: CuttingProxy, *, transactions: bool) -> AsyncGenerator[Shelf]:
    settings = MongoSettings(proxy.uri, f"cuts-{uuid.uuid4().hex}", None, None, 4, 0.4)
    clock = Clock()
    async with open_mongo(
        settings,
        StoreOwner("chain", "hospital-a", b"genesis"),
        "this-instance",
        QUOTA,
        clock,
        transactions=transactions,
    ) as stores:
        yield Shelf(stores, settings, clock)


async def mended(proxy: CuttingProxy, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do `work` once the driver has found the server again."""
    proxy.mend()
    async with asyncio.timeout(20):
        while True:
            try:
                return await work()
            except StoreAway:
                continue


async def cut_everywhere(
    proxy: CuttingProxy, act: Callable[[], Awaitable[Any]], check: Callable[[], Awaitable[None]]
) -> None:
    """Do `act` with the line cut at its first command, its second, and so on until none is left.

    Each time once before the server gets the command, and once after it has carried it out.
    """
    for loses_answer in (False, True):
        command = 0
        for _ in range(ATTEMPTS_MAX):
            proxy.cut_at(command, loses_answer=loses_answer)
            ended = True
            try:
                await act()
            except StoreAway:
                ended = False
            was_cut = proxy.down
            await mended(proxy, check)
            if ended and not was_cut:
                assert command > 0
                break
            command += was_cut  # else it was the machine that was slow: once more
        else:
            pytest.fail(f"more than {ATTEMPTS_MAX} attempts")


# A server without transactions is the exception: its half minute of cuts is for `make soak`.
@pytest.fixture(
    params=[
        pytest.param(True, id="transactions"),
        pytest.param(False, id="none", marks=pytest.mark.soak),
    ]
)
def transactions(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.mark.soak  # a cut at every command is half a minute; those of a block stay in CI
async def test_an_upload_that_is_cut_anywhere_goes_on_and_leaves_nothing(
    proxy: CuttingProxy, mongo_server: MongoServer, transactions: bool
) -> None:
    ciphertext = os.urandom(PART_BYTES + 1000)
    async with shelf(proxy, transactions=transactions) as home:
        header = header_of(ciphertext)

        async def put() -> None:
            async with home.records.write(header, 0) as spool:
                await spool.append([ciphertext[:PART_BYTES]])
                await spool.sync()
                await spool.append([ciphertext[PART_BYTES:]])
                await spool.complete()

        async def check() -> None:
            """Half a record is none; whatever is there can be made whole, and removed."""
            nonlocal header
            await resumed(home, header, ciphertext)
            parts = [part async for part in home.records.read(header.anchor.record_id, 0)]
            assert b"".join(parts) == ciphertext
            header = header_of(ciphertext)

        await cut_everywhere(proxy, put, check)
        home.clock.now += 1  # all of them are older than that now, and nobody anchored any
        removed = 0
        while found := await mended(proxy, lambda: home.records.remove_expired(home.clock.now, 9)):
            removed += found
        assert removed > 0
        for _ in range(2):  # the first time leases that were cut off are over as well
            home.clock.now += GARBAGE_SECONDS + 1
            await mended(proxy, lambda: home.records.remove_expired(home.clock.now, 1000))
        for collection in ("uploads", "records", "bodies.chunks", "bodies.files", "garbage"):
            assert home.rows(mongo_server.uri, collection) == [], collection
        (use,) = [row for row in home.rows(mongo_server.uri, "home") if row["_id"] == "use"]
        assert use["promised_bytes"] == 0


async def resumed(home: Shelf, header: UploadHeader, ciphertext: bytes) -> None:
    """Do what a client does: ask how far it is, and go on."""
    record_id = header.anchor.record_id
    if await home.records.find(record_id) is not None:
        return
    with pytest.raises(Exception, match="no such record"):  # nor is any of it readable
        await anext(home.records.read(record_id, 0))
    state = await home.records.upload(header.request_id)
    offset = 0 if state is None else state.committed_bytes
    async with home.records.write(header, offset) as spool:
        await spool.append([ciphertext[offset:]]) if offset < len(ciphertext) else None
        await spool.complete()


async def test_a_block_that_is_cut_anywhere_is_applied_once_and_whole(
    proxy: CuttingProxy, transactions: bool
) -> None:
    ciphertext = b"ciphertext"
    async with shelf(proxy, transactions=transactions) as home:
        height = 0
        block = BlockEffects(0, NOW, b"")

        def block_of(header: UploadHeader) -> BlockEffects:
            made = release_of(OrderKey(height, 0), b"grant %d" % height)
            ended = release_of(OrderKey(height, 1), b"ended %d" % height)
            return BlockEffects(
                height,
                NOW,
                b"at %d" % height,
                anchored=(AnchoredRecord(header.anchor, header.slot_digest, height),),
                releases=(made, ended),
                shares=(share_of(height),),
                ended_grants=(ended.grant,),
                erased=(Erasure(OrderKey(height, 3), b"d" * 32, os.urandom(16), True),),
                ceremonies=ceremony_of(height),
                reports=(report_of(made), report_of(ended)),
            )

        async def begin() -> None:
            nonlocal height, block
            header = header_of(ciphertext)
            async with home.records.write(header, 0) as spool:
                await spool.append([ciphertext])
                await spool.complete()
            height += 1
            block = block_of(header)

        async def check() -> None:
            # As the follower does: the same block again, its releases sealed anew.
            anew = [replace(one, sealed=os.urandom(40)) for one in block.releases]
            again = replace(
                block, releases=tuple(anew), reports=tuple(report_of(one) for one in anew)
            )
            await home.chain.apply(again)
            await home.chain.apply(again)
            assert await home.chain.checkpoint() == block.checkpoint
            pending = {p.report.order: p.report for p in await home.chain.reports.pending(1000)}
            for made, revoked in zip(block.releases, (False, True), strict=True):
                kept = await home.chain.release(made.order)
                assert kept is not None
                assert kept.revoked == revoked
                if revoked:
                    assert kept.sealed == b""
                else:
                    assert pending[made.order].digest == digest_of(kept.sealed)
            share = await home.stores.shares.share(block.shares[0].order)
            assert share is not None
            assert share.pending
            assert await home.stores.facts.erased(block.erased[0].record_id)
            (begun,) = block.ceremonies.begun
            assert await home.stores.ceremonies.messages(begun, (0, 0)) == list(
                block.ceremonies.messages
            )
            record = await home.records.find(block.anchored[0].anchor.record_id)
            assert record is not None
            assert record.anchored_height == height
            await begin()

        await mended(proxy, begin)
        await cut_everywhere(proxy, lambda: home.chain.apply(block), check)


def release_of(order: OrderKey, grant: bytes) -> Release:
    return Release(order, b"r" * 16, b"anchor", grant, b"k" * 32, NOW + 100, os.urandom(40))


def share_of(height: int) -> ShareOrder:
    key = OrderKey(height, 2)
    about = b"o" * 32, b"r" * 16, b"a" * 32, b"anchor", b"g", b"k" * 32, b"h" * 9
    return ShareOrder(key, *about, NOW + 100, "hospital-b", 1)


def ceremony_of(height: int) -> CeremonyNews:
    ceremony = os.urandom(16)
    begun = Order(height, 0, ceremony, "key-ceremony", "share_key", {}).to_bytes()
    said = CeremonyMessage(ceremony, height, 0, "hospital-b", "enrol", b"key")
    return CeremonyNews({ceremony: begun}, (said,))


def report_of(made: Release) -> Report:
    return Report(made.order, Outcome.DONE, digest_of(made.sealed))
