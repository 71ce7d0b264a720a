"""Two storages of one member on one database: leases, unique keys and heights decide."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from pymongo import MongoClient

from cipherward_chain.orders import Order
from cipherward_kit.own_identity import LOOK_SECONDS
from cipherward_kit.testing import eventually
from cipherward_member.ceremony_store import CeremonyNews, KeptSharing
from cipherward_member.reports import OrderKey, Outcome, Report
from cipherward_storage.effects import BlockEffects, Release, ShareOrder
from cipherward_storage.errors import (
    DiskFull,
    RecordExists,
    StoreAway,
    StoreUnusable,
    UploadInProgress,
)
from cipherward_storage.mongo.chain import REPORTING_SECONDS
from cipherward_storage.mongo.opening import open_mongo
from cipherward_storage.mongo.place import LEASE_SECONDS
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.mongo.slots import RENEWING_SECONDS
from cipherward_storage.place import StoreOwner
from cipherward_storage.records import PART_BYTES, KeptSlot, UploadHeader, digest_of
from cipherward_storage.store import RecordStore, SlotKeyRetired
from cipherward_storage.stores import Stores
from cipherward_storage.testing import header_of
from tests.servers.mongo import MongoServer, running_mongo
from tests.servers.need import need
from tests.servers.tls import ServerTls

pytestmark = pytest.mark.servers

NOW = 1_800_000_000
QUOTA = 8 * PART_BYTES
OWNER = StoreOwner("chain", "hospital-a", b"genesis")


@dataclass
class Clock:
    """Unix seconds, moved by the test."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


OpenInstance = Callable[[str], AbstractAsyncContextManager[Stores]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(mongo_server: MongoServer) -> MongoSettings:
    return MongoSettings(mongo_server.uri, f"two-{uuid.uuid4().hex}", None, None, 8, 10.0)


@pytest.fixture(params=[True, False], ids=["transactions", "none"])
def open_instance(
    request: pytest.FixtureRequest, settings: MongoSettings, clock: Clock
) -> OpenInstance:
    """Open a storage of the same database, by the name of its instance."""

    @asynccontextmanager
    async def opened(name: str) -> AsyncGenerator[Stores]:
        async with open_mongo(
            settings, OWNER, name, QUOTA, clock, transactions=request.param
        ) as stores:
            yield stores

    return opened


async def put(store: RecordStore, header: UploadHeader, ciphertext: bytes) -> None:
    async with store.write(header, 0) as spool:
        await spool.append([ciphertext])
        await spool.complete()


async def get(store: RecordStore, header: UploadHeader) -> bytes:
    return b"".join([part async for part in store.read(header.anchor.record_id, 0)])


async def test_an_upload_has_one_writer_until_its_lease_is_over(
    open_instance: OpenInstance, clock: Clock
) -> None:
    ciphertext = os.urandom(3 * PART_BYTES + 5)
    header = header_of(ciphertext)
    async with open_instance("a") as a, open_instance("b") as b:
        async with a.records.write(header, 0) as slow:
            await slow.append([ciphertext[: PART_BYTES + 100]])
            await slow.sync()
            with pytest.raises(UploadInProgress):
                async with b.records.write(header, 0):
                    pass
            clock.now += LEASE_SECONDS + 1
            state = await b.records.upload(header.request_id)
            assert state is not None
            kept = state.committed_bytes
            assert kept == PART_BYTES + 100
            async with b.records.write(header, kept) as successor:
                await successor.append([ciphertext[kept : 2 * PART_BYTES]])
                # The first one wakes up and goes on with other bytes: they reach nobody.
                with pytest.raises(UploadInProgress):
                    await slow.append([bytes(PART_BYTES)])
                await successor.append([ciphertext[2 * PART_BYTES :]])
                await successor.complete()
            with pytest.raises(UploadInProgress):
                await slow.sync()
        assert await get(a.records, header) == ciphertext


async def test_a_storage_that_was_killed_takes_its_own_upload_up_at_once(
    open_instance: OpenInstance,
) -> None:
    ciphertext = os.urandom(1000)
    header = header_of(ciphertext)
    async with open_instance("a") as killed, open_instance("b") as other:
        writing = killed.records.write(header, 0)
        spool = await writing.__aenter__()  # and never left, as after a kill
        await spool.append([ciphertext[:400]])
        await spool.sync()
        with pytest.raises(UploadInProgress):
            async with other.records.write(header, 400):
                pass
        async with open_instance("a") as again:
            async with again.records.write(header, 400) as resumed:
                await resumed.append([ciphertext[400:]])
                await resumed.complete()
            assert await get(again.records, header) == ciphertext
        await writing.__aexit__(None, None, None)
        assert await get(other.records, header) == ciphertext


async def test_of_two_uploads_of_one_record_the_first_to_end_stays(
    open_instance: OpenInstance,
) -> None:
    ciphertexts = [os.urandom(PART_BYTES + 1) for _ in range(2)]
    first = header_of(ciphertexts[0])
    headers = [first, header_of(ciphertexts[1], first.anchor.record_id)]
    async with open_instance("a") as a, open_instance("b") as b:
        ends = await asyncio.gather(
            *(
                put(store.records, header, ciphertext)
                for store, header, ciphertext in zip((a, b), headers, ciphertexts, strict=True)
            ),
            return_exceptions=True,
        )
        assert [type(end) for end in ends if end is not None] == [RecordExists]
        winner = ends.index(None)
        assert await get(a.records, headers[winner]) == ciphertexts[winner]
        assert await b.records.upload(headers[1 - winner].request_id) is None


async def test_the_quota_is_one_for_all(open_instance: OpenInstance) -> None:
    ciphertext = os.urandom(QUOTA // 4)
    headers = [header_of(ciphertext) for _ in range(8)]
    async with open_instance("a") as a, open_instance("b") as b:
        ends = await asyncio.gather(
            *(
                put((a, b)[number % 2].records, header, ciphertext)
                for number, header in enumerate(headers)
            ),
            return_exceptions=True,
        )
        assert ends.count(None) == 4
        assert [type(end) for end in ends if end is not None] == [DiskFull] * 4
        assert await a.records.remove_expired(NOW + 1, 100) > 0
        await put(b.records, headers[0], ciphertext)  # its room was given back


def block_of(height: int) -> BlockEffects:
    order = OrderKey(height, 0)
    made = Release(order, b"r" * 16, b"anchor", b"g", b"k" * 32, NOW + 9, os.urandom(40))
    report = Report(order, Outcome.DONE, digest_of(made.sealed))
    return BlockEffects(height, NOW, b"at %d" % height, releases=(made,), reports=(report,))


async def test_two_followers_apply_each_block_once(open_instance: OpenInstance) -> None:
    heights = range(1, 13)

    async def follow(instance: Stores) -> None:
        for height in heights:
            await instance.chain.apply(block_of(height))  # each seals anew: other bytes

    async with open_instance("a") as a, open_instance("b") as b:
        await asyncio.gather(follow(a), follow(b))
        assert await a.chain.checkpoint() == b"at 12"
        pending = await a.chain.reports.pending(100)
        assert [p.report.order.height for p in pending] == list(heights)
        for one in pending:
            kept = await b.chain.release(one.report.order)
            assert kept is not None
            assert one.report.digest == digest_of(kept.sealed)
        await b.chain.apply(replace(block_of(3), checkpoint=b"an old one"))
        assert await b.chain.checkpoint() == b"at 12"


async def test_one_of_them_sends_the_reports_until_it_falls_silent(
    open_instance: OpenInstance, clock: Clock
) -> None:
    async with open_instance("a") as a, open_instance("b") as b:
        await a.chain.apply(block_of(1))
        assert len(await a.chain.reports.pending(10)) == 1
        clock.now += REPORTING_SECONDS
        assert len(await b.chain.reports.pending(10)) == 0
        assert len(await a.chain.reports.pending(10)) == 1
        clock.now += REPORTING_SECONDS + 1
        assert len(await b.chain.reports.pending(10)) == 1
        assert len(await a.chain.reports.pending(10)) == 0


async def test_one_of_them_renews_slot_keys_until_it_falls_silent(
    open_instance: OpenInstance, clock: Clock
) -> None:
    async with open_instance("a") as a, open_instance("b") as b:
        assert await a.slots.ours()
        assert not await b.slots.ours()
        clock.now += RENEWING_SECONDS
        assert await a.slots.ours()
        clock.now += RENEWING_SECONDS + 1
        assert await b.slots.ours()
        assert not await a.slots.ours()


async def test_no_upload_of_one_is_left_behind_by_a_renewal_of_the_other(
    open_instance: OpenInstance,
) -> None:
    """Uploads under the old key race with the floor; each is refused, or seen by who renews."""
    async with open_instance("a") as a, open_instance("b") as b:
        for number in range(1, 9):
            headers = [header_of(b"ab", key_number=number) for _ in range(4)]

            async def renew(to: int = number + 1) -> None:
                await a.slots.raise_floor(to)
                while outdated := await a.slots.outdated(to, 10):
                    moved = [(one, KeptSlot(to, os.urandom(60))) for one in outdated]
                    await a.slots.replace(moved)

            ends = await asyncio.gather(
                *(put(b.records, header, b"ab") for header in headers),
                renew(),
                return_exceptions=True,
            )
            assert {type(end) for end in ends} <= {type(None), SlotKeyRetired}
            assert list(await a.slots.outdated(number + 1, 10)) == []
            for header, end in zip(headers, ends, strict=False):
                found = await a.records.find(header.anchor.record_id)
                assert (found is None) == isinstance(end, SlotKeyRetired)
                assert found is None or found.kept.key_number == number + 1
            await a.records.remove_expired(NOW + 1, 100)


async def test_a_seed_and_a_share_of_two_is_the_first_ones(open_instance: OpenInstance) -> None:
    about = b"o" * 32, b"r" * 16, b"a" * 32, b"anchor", b"g", b"k" * 32, b"h" * 9
    order = ShareOrder(OrderKey(1, 0), *about, NOW + 9, "hospital-b", 1)
    ceremony = b"c" * 16
    begun = Order(1, 1, ceremony, "key-ceremony", "share_key", {}).to_bytes()
    block = replace(
        BlockEffects(1, NOW, b"at 1"), shares=(order,), ceremonies=CeremonyNews({ceremony: begun})
    )
    async with open_instance("a") as a, open_instance("b") as b:
        await asyncio.gather(a.chain.apply(block), b.chain.apply(block))
        seeds = await asyncio.gather(
            a.ceremonies.seed(ceremony, b"of a"), b.ceremonies.seed(ceremony, b"of b")
        )
        assert seeds[0] == seeds[1]
        await asyncio.gather(
            a.shares.keep(order.order, b"of a"), b.shares.keep(order.order, b"of b")
        )
        first = await a.shares.share(order.order)
        assert first == await b.shares.share(order.order)
        assert first is not None
        assert first.release.sealed in (b"of a", b"of b")
        await a.ceremonies.close(ceremony, KeptSharing(1, 2, b"entry", b"newer"))
        await b.ceremonies.close(ceremony, KeptSharing(1, 1, b"entry", b"older"))  # it is behind
        assert [one.sharing for one in await b.ceremonies.sharings()] == [2]
        await b.chain.apply(block)
        assert list(await b.ceremonies.running()) == []


async def test_a_database_has_one_owner(settings: MongoSettings, clock: Clock) -> None:
    async with open_mongo(settings, OWNER, "a", QUOTA, clock):
        pass
    for other in (
        StoreOwner("other", "hospital-a", b"genesis"),
        StoreOwner("chain", "hospital-b", b"genesis"),
        StoreOwner("chain", "hospital-a", b"another"),
    ):
        with pytest.raises(StoreUnusable, match="another member or chain"):
            async with open_mongo(settings, other, "a", QUOTA, clock):
                pass
    with MongoClient[dict[str, object]](settings.uri) as client:
        home = client[settings.database]["home"]
        home.update_one({"_id": "owner"}, {"$unset": {"genesis": ""}})  # as earlier releases had it
        async with open_mongo(settings, OWNER, "a", QUOTA, clock):
            found = home.find_one({"_id": "owner"}) or {}
        assert found["genesis"] == OWNER.genesis.hex()
        home.update_one({"_id": "owner"}, {"$set": {"layout": 99}})
    with pytest.raises(StoreUnusable, match="newer release"):
        async with open_mongo(settings, OWNER, "a", QUOTA, clock):
            pass


@pytest.mark.slow
async def test_the_database_is_reached_by_tls_with_certificate_and_password(
    tmp_path_factory: pytest.TempPathFactory, clock: Clock
) -> None:
    need("mongo")
    folder = tmp_path_factory.mktemp("guarded")
    tls = ServerTls.make(folder / "tls")
    ciphertext = b"ciphertext"
    header = header_of(ciphertext)
    with running_mongo(folder / "mongo", auth=True, tls=tls) as server:
        good = MongoSettings(server.uri, "guarded", tls.ca_file, tls.client_chain_file, 4, 20.0)
        async with open_mongo(good, OWNER, "a", QUOTA, clock) as stores:
            await put(stores.records, header, ciphertext)
            assert await get(stores.records, header) == ciphertext
        stranger = ServerTls.make(folder / "stranger")
        for wrong in (
            replace(good, uri=good.uri.replace("for-tests-only", "wrong")),
            replace(good, certificate_file=stranger.client_chain_file),
            replace(good, ca_file=stranger.ca_file),
        ):
            quick = replace(wrong, timeout_seconds=1.0)
            async with open_mongo(quick, OWNER, "a", QUOTA, clock) as stores:
                with pytest.raises(StoreAway):
                    await stores.records.find(header.anchor.record_id)
        # As after its end: another pair in its file is all that it takes.
        file = stranger.client_chain_file
        refused = replace(good, certificate_file=file, timeout_seconds=1.0)
        async with open_mongo(refused, OWNER, "a", QUOTA, clock) as stores:
            with pytest.raises(StoreAway):
                await stores.records.find(header.anchor.record_id)
            file.write_bytes(tls.client_chain_file.read_bytes())

            async def let_in() -> bool:
                try:
                    return await stores.records.find(header.anchor.record_id) is not None
                except StoreAway:
                    return False

            await eventually(let_in, seconds=4 * LOOK_SECONDS, what="the database")
