"""Snapshots: the same bytes everywhere, restored only when the certified root comes out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cipherward_chain.canonical import Value
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import NANOS
from cipherward_contract.errors import (
    ChainNotInitialised,
    NoSnapshotOffered,
    NotExecuted,
    SnapshotRefused,
    SnapshotUnknown,
    StateNotEmpty,
)
from cipherward_contract.pair_stream import PairReader, PairsMalformed, read_chunks
from cipherward_contract.restoring import Restoring
from cipherward_contract.snapshots import SNAPSHOTS_KEPT, Snapshot, Snapshots
from cipherward_contract.store import SCHEMA
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Decided,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    report,
    transition,
)
from cipherward_contract.testing_registry import Newcomer, joined, removed, upgrade_voted
from cipherward_kit.database import Database

SMALL = 1_000  # bytes of a chunk: every pair of a template lies in several
GENESIS, KEYS = contract_genesis(engine="cometbft")
RECORD, CONSENT = b"r" * 16, b"c" * 16


async def play(story: Story) -> list[Decided]:
    """A history with everything that a state holds; return its blocks."""
    decided: list[Decided] = []
    owner = await story.record(RECORD)
    terms: dict[str, Value] = {
        "record": RECORD,
        "grantee_member": "hospital-b",
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": story.now + 50_000,
        "visits_max": 9,
        "visit_seconds": 60,
    }
    for number in (3, 1, 2):
        await story.applied(owner, instantiate("consent", bytes([number]) * 16, terms))
    opening = transition(bytes([1]) * 16, "open", reader_key=bytes(1216), purpose="PATRQT")
    order = (await story.applied(owner, opening)).orders[0]
    await joined(story, Newcomer("hospital-e"), b"m" * 16)
    await upgrade_voted(story, 2, story.height + 20, b"u" * 16)
    while story.height < 40:
        await story.block()
    decided.append(await story.applied(story.member(MEMBERS[0]), report((order.height, 0))))
    decided.append(await story.applied(owner, opening))
    return decided


def there(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


@asynccontextmanager
async def fresh(folder: Path) -> AsyncGenerator[tuple[Story, Restoring]]:
    """A store before InitChain, and what restores into it."""
    async with open_story(there(folder), GENESIS, KEYS, begin=False) as story:
        yield story, Restoring(story.chain, story.database, GENESIS.digest)


@asynccontextmanager
async def snapshots_of(folder: Path, every: int = 1) -> AsyncGenerator[Snapshots]:
    async with Snapshots(
        folder / "snapshots", folder / "state.db", every, chunk_bytes=SMALL
    ) as snapshots:
        yield snapshots


async def made(snapshots: Snapshots, story: Story) -> Snapshot:
    """Make a snapshot of the committed state."""
    await snapshots.committed(story.height)
    await snapshots.finished()
    return (await snapshots.list())[0]


async def chunks_of(snapshots: Snapshots, snapshot: Snapshot) -> list[bytes]:
    return [
        await snapshots.load(snapshot.height, snapshot.format, index)
        for index in range(snapshot.chunks)
    ]


async def take_all(restoring: Restoring, chunks: list[bytes]) -> list[bool]:
    return [await restoring.apply(index, chunk) for index, chunk in enumerate(chunks)]


async def restored(
    restoring: Restoring, snapshot: Snapshot, chunks: list[bytes], app_hash: bytes
) -> None:
    await restoring.offer(snapshot, snapshot.hash, app_hash)
    assert await take_all(restoring, chunks) == [False] * (len(chunks) - 1) + [True]


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "state.db")) as database:
        return database.execute(query).fetchall()


async def test_a_restored_state_executes_as_the_one_that_made_every_block(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    async with (
        open_story(tmp_path / "old", GENESIS, KEYS) as old,
        snapshots_of(tmp_path / "old") as snapshots,
        fresh(tmp_path / "new") as (new, restoring),
    ):
        last = (await play(old))[-1]
        snapshot = await made(snapshots, old)
        assert snapshot.height == old.height
        assert snapshot.chunks > 20
        await restored(restoring, snapshot, await chunks_of(snapshots, snapshot), last.app_hash)
        committed = await new.chain.committed()
        assert committed is not None
        assert (committed.head.height, committed.head.app_hash) == (old.height, last.app_hash)
        assert committed.head.complete_from == old.height + 1
        before = await old.chain.committed()
        assert before is not None
        assert (committed.next_timer, committed.rules) == (before.next_timer, before.rules)
        # what the store keeps besides the state is made again from it, oldest contracts first
        for query in (
            "SELECT * FROM transaction_expiry ORDER BY expires, id",
            "SELECT object, instance FROM instance_index ORDER BY sequence",
        ):
            assert rows(tmp_path / "new", query) == rows(tmp_path / "old", query) != []
        with pytest.raises(NotExecuted):
            await new.chain.commit(old.height + 1)
        await removed(old, MEMBERS[3], b"x" * 16)
        await old.applied(Newcomer("hospital-e").signer, TICK)
        await replay(old, new, snapshot.height)
    async with open_story(tmp_path / "new", GENESIS, KEYS, begin=False) as again:
        committed = await again.chain.committed()
        assert committed is not None
        assert committed.head.height == old.height


async def replay(story: Story, other: Story, after: int = 0) -> None:
    """Execute elsewhere what a story executed after a height; every answer is the same bytes."""
    for height, (time_ns, transactions, answer) in enumerate(story.blocks, 1):
        if height > after:
            assert await other.chain.execute(height, time_ns, transactions) == answer
            await other.chain.commit(height)


@pytest.mark.slow
async def test_a_history_of_membership_and_upgrades_replays_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        open_story(tmp_path / "one", GENESIS, KEYS) as one,
        open_story(tmp_path / "two", GENESIS, KEYS) as two,
    ):
        await play(one)
        await removed(one, "hospital-e", b"x" * 16, MEMBERS)
        await replay(one, two)


@pytest.mark.slow
async def test_two_members_make_the_same_snapshot_of_one_block(tmp_path: Path) -> None:
    found: list[tuple[Snapshot, list[bytes]]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        async with (
            open_story(tmp_path / name, GENESIS, KEYS) as story,
            snapshots_of(tmp_path / name) as snapshots,
        ):
            await play(story)
            snapshot = await made(snapshots, story)
            found.append((snapshot, await chunks_of(snapshots, snapshot)))
    assert found[0] == found[1]
    assert found[0][0].hash == found[1][0].hash


async def test_the_state_is_held_fast_while_blocks_go_on(tmp_path: Path) -> None:
    async with (
        open_story(tmp_path, GENESIS, KEYS) as story,
        snapshots_of(tmp_path) as snapshots,
    ):
        await story.record(RECORD)
        with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as read:
            expected = list(read_chunks(read, SMALL))
        await snapshots.committed(story.height)
        for number in range(20):  # written while the snapshot is, or after it: it is the same
            await story.record(bytes([number]) * 16)
        await snapshots.finished()
        (snapshot,) = await snapshots.list()
        assert snapshot.height == 2
        assert await chunks_of(snapshots, snapshot) == expected


async def test_snapshots_are_made_when_they_are_due_and_the_newest_are_kept(
    tmp_path: Path,
) -> None:
    async with (
        open_story(tmp_path, GENESIS, KEYS) as story,
        snapshots_of(tmp_path, every=3) as snapshots,
    ):
        await snapshots.committed(0)  # the genesis has none
        for _ in range(3 * (SNAPSHOTS_KEPT + 1) + 1):
            await story.block()
            await snapshots.committed(story.height)
            await snapshots.finished()
        heights = [snapshot.height for snapshot in await snapshots.list()]
        assert heights == [12, 9, 6]
        with pytest.raises(SnapshotUnknown):
            await snapshots.load(3, 1, 0)
        with pytest.raises(SnapshotUnknown):
            await snapshots.load(12, 2, 0)
        with pytest.raises(SnapshotUnknown):
            await snapshots.load(12, 1, 1_000)
    (tmp_path / "snapshots" / "99.partial").write_bytes(b"half of it")
    (tmp_path / "snapshots" / "99.digests").write_bytes(b"")
    async with snapshots_of(tmp_path) as snapshots:
        assert [snapshot.height for snapshot in await snapshots.list()] == heights
        names = {path.name for path in (tmp_path / "snapshots").iterdir()}
        assert names == {f"{h}.{kind}" for h in heights for kind in ("pairs", "digests")}


@pytest.fixture
async def source(tmp_path: Path) -> AsyncGenerator[tuple[Snapshot, list[bytes], bytes]]:
    """A snapshot, its chunks, and the app hash that the chain certifies for it."""
    (tmp_path / "source").mkdir()
    async with (
        open_story(tmp_path / "source", GENESIS, KEYS) as story,
        snapshots_of(tmp_path / "source") as snapshots,
    ):
        await story.record(RECORD)
        last = await story.applied(story.member(MEMBERS[0]), TICK)
        snapshot = await made(snapshots, story)
        yield snapshot, await chunks_of(snapshots, snapshot), last.app_hash


Source = tuple[Snapshot, list[bytes], bytes]


def nothing_remains(folder: Path) -> bool:
    return not rows(folder, "SELECT 1 FROM state") and not rows(folder, "SELECT 1 FROM committed")


async def test_a_tampered_chunk_is_refused_and_the_right_one_may_follow(
    tmp_path: Path, source: Source
) -> None:
    snapshot, chunks, app_hash = source
    async with fresh(tmp_path / "new") as (story, restoring):
        await restoring.offer(snapshot, snapshot.hash, app_hash)
        for index, chunk in enumerate(chunks):
            wrong = bytes([chunk[0] ^ 1]) + chunk[1:]
            with pytest.raises(SnapshotRefused) as refused:
                await restoring.apply(index, wrong)
            assert refused.value.metadata == {"part": "chunk", "index": str(index)}
            assert await restoring.apply(index, chunk) is (index == len(chunks) - 1)
            # a chunk that was taken changes nothing
            assert await restoring.apply(index, chunk) is (index == len(chunks) - 1)
        committed = await story.chain.committed()
        assert committed is not None
        assert committed.head.app_hash == app_hash


async def test_chunks_are_taken_in_order(tmp_path: Path, source: Source) -> None:
    snapshot, chunks, app_hash = source
    async with fresh(tmp_path / "new") as (_, restoring):
        with pytest.raises(NoSnapshotOffered):
            await restoring.apply(0, chunks[0])
        await restoring.offer(snapshot, snapshot.hash, app_hash)
        with pytest.raises(SnapshotRefused):
            await restoring.apply(1, chunks[1])
        with pytest.raises(SnapshotRefused):
            await restoring.apply(snapshot.chunks, b"")


def snapshot_of(stream: bytes) -> tuple[Snapshot, list[bytes]]:
    """A snapshot that somebody made up: its digests are right, its content is what they like."""
    chunks = [stream[at : at + SMALL] for at in range(0, len(stream), SMALL)]
    return Snapshot(3, b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)), chunks


def pairs_of(chunks: list[bytes]) -> list[tuple[bytes, bytes]]:
    reader = PairReader()
    return [pair for chunk in chunks for pair in reader.read(chunk)]


def stream_of(pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(len(k).to_bytes(4, "big") + len(v).to_bytes(4, "big") + k + v for k, v in pairs)


def forged_streams(chunks: list[bytes]) -> Iterator[bytes]:
    """Streams that differ from the certified state, each in one way."""
    pairs = pairs_of(chunks)
    yield stream_of(pairs[:-1])
    yield stream_of([*pairs, (b"zzz", b"another pair")])
    yield stream_of([(pairs[0][0], b"another value"), *pairs[1:]])
    yield stream_of(pairs) + b"\x00"
    yield stream_of([pairs[1], pairs[0], *pairs[2:]])
    yield stream_of([pairs[0], pairs[0], *pairs[1:]])
    yield (2_000).to_bytes(4, "big") + bytes(4) + bytes(2_000)
    yield (1).to_bytes(4, "big") + b"\xff" * 4


async def test_a_snapshot_of_another_state_leaves_nothing_and_another_may_be_offered(
    tmp_path: Path, source: Source
) -> None:
    right, chunks, app_hash = source
    async with fresh(tmp_path / "new") as (story, restoring):
        for stream in forged_streams(chunks):
            snapshot, forged = snapshot_of(stream)
            await restoring.offer(snapshot, snapshot.hash, app_hash)
            with pytest.raises(SnapshotRefused) as refused:
                await take_all(restoring, forged)
            assert refused.value.metadata == {"part": "snapshot"}
            assert nothing_remains(tmp_path / "new")
            with pytest.raises(NoSnapshotOffered):
                await restoring.apply(0, forged[0])
        with pytest.raises(ChainNotInitialised):
            await story.chain.prove([b"orders"])
        await restored(restoring, right, chunks, app_hash)
        with pytest.raises(StateNotEmpty):
            await restoring.offer(right, right.hash, app_hash)


async def test_an_offer_out_of_form_is_refused(tmp_path: Path, source: Source) -> None:
    right, _, app_hash = source
    async with fresh(tmp_path / "new") as (_, restoring):
        for snapshot, root in (
            (replace(right, format=2), app_hash),
            (replace(right, height=0), app_hash),
            (replace(right, metadata=b""), app_hash),
            (replace(right, metadata=right.metadata[:-1]), app_hash),
            (replace(right, metadata=bytes(32) * 3_000), app_hash),
            (right, b""),
        ):
            with pytest.raises(SnapshotRefused):
                await restoring.offer(snapshot, snapshot.hash, root)
        with pytest.raises(SnapshotRefused, match="hash"):
            await restoring.offer(right, bytes(32), app_hash)


async def test_a_restoration_that_was_interrupted_is_forgotten(
    tmp_path: Path, source: Source
) -> None:
    snapshot, chunks, app_hash = source
    async with fresh(tmp_path / "new") as (_, restoring):
        await restoring.offer(snapshot, snapshot.hash, app_hash)
        for index, chunk in enumerate(chunks[:-1]):
            await restoring.apply(index, chunk)
    assert rows(tmp_path / "new", "SELECT 1 FROM state")
    async with fresh(tmp_path / "new") as (story, restoring):  # as after a kill
        assert await story.chain.committed() is None
        with pytest.raises(NoSnapshotOffered):
            await restoring.apply(len(chunks) - 1, chunks[-1])
        await restored(restoring, snapshot, chunks, app_hash)
    # Whoever begins with the genesis after all has the genesis's state and nothing else.
    async with fresh(tmp_path / "other") as (story, restoring):
        await restoring.offer(snapshot, snapshot.hash, app_hash)
        await restoring.apply(0, chunks[0])
        root = await story.chain.init_chain(KEYS.document)
        with pytest.raises(NoSnapshotOffered):
            await restoring.apply(1, chunks[1])
    async with open_story(tmp_path / "other", GENESIS, KEYS) as story:
        assert (await story.block()).app_hash == root


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 4, 8, 16])
async def test_a_chunk_whose_sender_went_away_is_taken_again(
    tmp_path: Path, source: Source, milliseconds: int
) -> None:
    """Wherever the call was when it was given up, its thread goes on with what it had."""
    snapshot, chunks, app_hash = source
    async with fresh(tmp_path / "new") as (story, restoring):
        await restoring.offer(snapshot, snapshot.hash, app_hash)
        for index, chunk in enumerate(chunks):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(milliseconds / 1_000):
                    await restoring.apply(index, chunk)
            assert await restoring.apply(index, chunk) is (index == len(chunks) - 1)
        committed = await story.chain.committed()
        assert committed is not None
        assert committed.head.app_hash == app_hash


async def test_the_state_of_the_genesis_may_be_replaced(tmp_path: Path, source: Source) -> None:
    snapshot, chunks, app_hash = source
    async with fresh(tmp_path / "new") as (story, restoring):
        await story.chain.init_chain(KEYS.document)
        await restored(restoring, snapshot, chunks, app_hash)
        story.height, story.now = snapshot.height, GENESIS.time_ns // NANOS + 1_000
        await story.applied(story.member(MEMBERS[0]), TICK)


def test_pairs_are_read_across_any_cut() -> None:
    pairs = [(seed_of(str(n))[: n % 7 + 1], seed_of(str(n)) * (n % 3)) for n in range(50)]
    pairs = sorted(dict(pairs).items())
    stream = stream_of(pairs)
    for size in (1, 7, 8, 9, 100, len(stream)):
        reader = PairReader()
        found = [
            pair
            for at in range(0, len(stream), size)
            for pair in reader.read(stream[at : at + size])
        ]
        reader.end()
        assert found == pairs
    reader = PairReader()
    reader.read(stream[:-1])
    with pytest.raises(PairsMalformed, match="inside a pair"):
        reader.end()


async def test_a_store_of_the_release_before_has_a_complete_index(tmp_path: Path) -> None:
    async with Database(tmp_path / "state.db", SCHEMA[:1]) as database:
        await database.write(
            lambda c: c.execute("INSERT INTO committed VALUES (1, 0, 0, x'00', x'00')")
        )
    async with Database(tmp_path / "state.db", SCHEMA):
        pass
    assert rows(tmp_path, "SELECT complete_from FROM committed") == [(1,)]
