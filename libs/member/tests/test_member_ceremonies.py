"""A member's part in ceremonies, from proven blocks to its share: crashes, replicas, late members.

The contract's side is a transcript of its own, which refuses what the contract would refuse.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.group_key_orders import SHARE_KEY, USE_SHARING, CeremonyOrder, SharingOrder
from cipherward_chain.group_keys import RECORD, GroupKeyEntry
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_chain.transactions import build_transaction, parse_transaction
from cipherward_chain.wire import NANOS
from cipherward_kit.database import Database
from cipherward_kit.testing import eventually
from cipherward_member.ceremonies import Ceremonies, Guardian, ShareMissing
from cipherward_member.ceremony_posts import CeremonyPosts
from cipherward_member.ceremony_rows import CEREMONY_TABLES, SqliteCeremonies, add_ceremony_news
from cipherward_member.ceremony_store import news_of
from cipherward_member.chain_rows import POSITION_TABLE, advance
from cipherward_member.following import ChainProgress
from cipherward_member.guardian_vault import GuardianVault, GuardianVaultCorrupt
from cipherward_member.shared_keys import plan_of
from cipherward_threshold.group.ceremony.plan import enough_of
from cipherward_threshold.group.ceremony.transcript import Completed, Transcript
from cipherward_threshold.group.errors import MessageRefused
from cipherward_threshold.group.tdh2 import (
    Label,
    combine,
    encapsulate,
    make_share,
    verify_slot,
)

GENESIS, KEYS = make_genesis()
MEMBERS = tuple(GENESIS.members)
WINDOW = 3
SCHEMA = [POSITION_TABLE + CEREMONY_TABLES]


def vault_of(member: str, purpose: str = RECORD) -> GuardianVault:
    material = KEYS.member_seeds[member]
    return GuardianVault.derive(material, chain_id=GENESIS.chain_id, member=member, purpose=purpose)


class Ledger:
    """Where all members' transactions wait for the next block."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.refusal = ""
        self.away = False

    async def submit(
        self,
        request: ledger_pb.SubmitBatchRequest,
        /,
        *,
        timeout: float,  # noqa: ASYNC109 - grpc's
    ) -> ledger_pb.SubmitBatchResponse:
        if self.away:
            raise aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata())
        if not self.refusal:
            self.waiting += request.transactions
        verdicts = [ledger_pb.SubmitVerdict(reason=self.refusal) for _ in request.transactions]
        return ledger_pb.SubmitBatchResponse(verdicts=verdicts)


class Seat:
    """A running service of one member, over its database."""

    def __init__(self, member: str, database: Database, ledger: Ledger) -> None:
        self.member = member
        self.database = database
        self.store = SqliteCeremonies(database)
        self.now_ns = GENESIS.time_ns
        self.progress = ChainProgress(30.0, lambda: self.now_ns, lambda: 0)
        signer = MemberSigner(member, KEYS.member_seeds[member])
        self.posts = CeremonyPosts(
            signer, GENESIS.chain_id, self.progress.block_seconds, ledger.submit
        )
        self.ceremonies = Ceremonies(
            Guardian(GENESIS.chain_id, member, RECORD),
            self.store,
            vault_of(member),
            self.posts,
            self.progress,
        )

    async def apply(self, block: VerifiedBlock) -> None:
        news = news_of(block, RECORD)
        checkpoint = block.checkpoint.to_bytes()

        def work(connection: sqlite3.Connection) -> None:
            if advance(connection, block.height, checkpoint):
                add_ceremony_news(connection, news)

        await self.database.write(work)
        self.now_ns = block.next_time_ns
        self.progress.saw(block.height, block.next_time_ns)
        self.ceremonies.wake()


class World:
    """The chain, its contract, and the members' services."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chain = TestChain(GENESIS, KEYS)
        self.ledger = Ledger()
        self.seats: dict[str, Seat] = {}
        self.verified: list[VerifiedBlock] = []
        self.transcript: Transcript | None = None
        self.order: CeremonyOrder | None = None
        self.entry: GroupKeyEntry | None = None
        self.kinds: list[tuple[str, str]] = []  # (sender, kind) of what was taken

    @asynccontextmanager
    async def seat(self, member: str, file: str = "") -> AsyncGenerator[Seat]:
        """Run a service, over its own folder or over another one's; a seat is not among `seats`."""
        async with Database(self.folder / f"{file or member}.db", SCHEMA) as database:
            seat = Seat(member, database, self.ledger)
            yield seat

    async def begin(
        self, members: Sequence[str] = MEMBERS, old: GroupKeyEntry | None = None
    ) -> CeremonyOrder:
        dealers = members if old is None else old.guardians
        self.order = CeremonyOrder(
            ceremony=bytes([self.chain.next_height() % 256]) * 16,
            purpose=RECORD,
            key_epoch=1,
            sharing=1 if old is None else old.sharing + 1,
            members=tuple(members),
            dealers=tuple(dealers),
            threshold=enough_of(len(members)),
            window=WINDOW,
            start=self.chain.next_height(),
            old=old,
        )
        self.transcript = Transcript(plan_of(GENESIS.chain_id, self.order), self.order.start)
        self.entry = None
        await self.block([self.order_of(SHARE_KEY, self.order)])
        return self.order

    def order_of(self, instruction: str, said: CeremonyOrder | SharingOrder) -> Order:
        height = self.chain.next_height()
        return Order(height, 0, said.ceremony, "key-ceremony", instruction, said.arguments())

    async def block(self, orders: Sequence[Order] = ()) -> None:
        """Make a block of what waits, and show it to everybody who is awake."""
        height = self.chain.next_height()
        waiting, self.ledger.waiting = self.ledger.waiting, []
        transactions = [*waiting, self.tick()]
        if self.transcript is not None:
            self.transcript.advance(height)
        results = [self.judge(height, raw) for raw in waiting]
        self.chain.append(transactions, results=[*results, TransactionResult()], orders=orders)
        client = self.chain.light_client()
        if self.verified:
            client.stand_on(self.verified[-1].checkpoint)
        fresh = [client.accept(one) for one in self.chain.blocks[len(self.verified) :]]
        self.verified += fresh
        for seat in self.seats.values():
            for one in fresh:
                await seat.apply(one)

    def judge(self, height: int, raw: bytes) -> TransactionResult:
        transaction = parse_transaction(raw)
        sender = transaction.authorization.member.member_id
        (act,) = transaction.body.acts
        said = act.ceremony_message
        assert self.transcript is not None
        try:
            self.transcript.feed(height, sender, said.kind, said.body)
        except MessageRefused:
            return TransactionResult(reason="CEREMONY_REFUSED")
        self.kinds.append((sender, said.kind))
        return TransactionResult()

    def tick(self) -> bytes:
        signer = MemberSigner(MEMBERS[0], KEYS.member_seeds[MEMBERS[0]])
        return build_transaction(
            [chain_pb.Act(tick=chain_pb.Tick())],
            chain_id=GENESIS.chain_id,
            expires_at=GENESIS.time_ns // NANOS + 60,
            signer=signer,
        )

    async def round(self) -> None:
        """Let everybody say what it owes, and make the block that takes it."""
        for seat in self.seats.values():
            await seat.ceremonies.step()
        await self.block()

    async def to_the_end(self) -> GroupKeyEntry | None:
        """Go on until the ceremony is over; bring the key in force if there is one."""
        assert self.transcript is not None
        while self.transcript.outcome is None:
            await self.round()
        if isinstance(self.transcript.outcome, Completed):
            await self.use(self.transcript.outcome)
        for seat in self.seats.values():
            await seat.ceremonies.step()
        return self.entry

    async def use(self, outcome: Completed) -> None:
        assert self.order is not None
        key, members = outcome.key, self.order.members
        used = SharingOrder(
            ceremony=self.order.ceremony,
            purpose=RECORD,
            key_epoch=key.key_epoch,
            sharing=key.sharing,
            threshold=key.threshold,
            members=members,
            guardians=tuple(sorted(members[index - 1] for index in outcome.ready)),
            public_key=key.public_key,
        )
        order = self.order_of(USE_SHARING, used)
        await self.block([order])
        shown = next(iter(self.seats.values()))
        await shown.ceremonies.step()
        (self.entry,) = await shown.ceremonies.keys()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    found = World(tmp_path)
    for member in MEMBERS:
        database = await Database(tmp_path / f"{member}.db", SCHEMA).__aenter__()
        found.seats[member] = Seat(member, database, found.ledger)
    yield found
    for seat in found.seats.values():  # a restart puts another database in the place of the first
        await seat.database.__aexit__(None, None, None)


async def restart(world: World, member: str) -> Seat:
    """Stop a service, and start it again from its disk."""
    before = world.seats[member]
    await before.database.__aexit__(None, None, None)
    database = Database(world.folder / f"{member}.db", SCHEMA)
    await database.__aenter__()
    seat = world.seats[member] = Seat(member, database, world.ledger)
    seat.now_ns = before.now_ns
    newest = world.verified[-1]
    seat.progress.saw(newest.height, newest.next_time_ns)
    return seat


async def opens(world: World, members: Sequence[str]) -> bool:
    """Tell whether these members' shares open what is encapsulated under the key."""
    shares = {name: await world.seats[name].ceremonies.share(1) for name in members}
    key = next(iter(shares.values())).key
    label = Label(GENESIS.chain_id, bytes(16), MEMBERS[0], 1)
    raw, secret = encapsulate(key, label)
    slot = verify_slot(key, label, raw)
    made = {
        one.index: make_share(key, one.index, one.octets, slot, b"order") for one in shares.values()
    }
    return combine(key, slot, made, b"order") == secret


async def has_secrets(seat: Seat) -> bool:
    """Tell whether anything of a ceremony is left that a share could be made from."""

    def work(connection: sqlite3.Connection) -> bool:
        return any(
            connection.execute(f"SELECT * FROM {table}").fetchone()
            for table in ("ceremonies", "ceremony_messages")
        )

    return await seat.database.read(work)


async def test_four_members_make_a_key_that_any_three_open(world: World) -> None:
    await world.begin()
    entry = await world.to_the_end()
    assert entry is not None
    assert entry.guardians == MEMBERS
    assert (entry.threshold, entry.key_epoch, entry.sharing) == (3, 1, 1)
    assert await opens(world, MEMBERS[:3])
    assert await opens(world, MEMBERS[1:])
    for seat in world.seats.values():
        assert await seat.ceremonies.keys() == [entry]
        assert not await has_secrets(seat)


async def test_a_message_is_said_once_however_often_a_step_is_made(world: World) -> None:
    await world.begin()
    seat = world.seats[MEMBERS[0]]
    for _ in range(3):
        await seat.ceremonies.step()
    assert len(world.ledger.waiting) == 1
    await world.to_the_end()
    assert len(world.kinds) == len(set(world.kinds))


@pytest.mark.parametrize("crash_at", ["enrol", "deal", "complain", "extract", "ready"])
async def test_a_restart_in_any_window_changes_nothing(world: World, crash_at: str) -> None:
    await world.begin()
    assert world.transcript is not None
    while world.transcript.phase != crash_at:
        await world.round()
    # it stops after its message went out, before a block has it, and forgets what it said
    await world.seats[MEMBERS[1]].ceremonies.step()
    seat = await restart(world, MEMBERS[1])
    await seat.ceremonies.step()
    entry = await world.to_the_end()
    assert entry is not None
    assert entry.guardians == MEMBERS
    assert len(world.kinds) == len(set(world.kinds))
    assert await opens(world, MEMBERS[:3])


async def test_everybody_restarts_after_every_block(world: World) -> None:
    await world.begin()
    assert world.transcript is not None
    while world.transcript.outcome is None:
        await world.round()
        for member in MEMBERS:
            await restart(world, member)
    entry = await world.to_the_end()
    assert entry is not None
    assert entry.guardians == MEMBERS


async def test_two_replicas_of_a_service_deal_one_polynomial(world: World) -> None:
    member = MEMBERS[0]
    async with world.seat(member, member) as replica:
        await world.begin()
        assert world.transcript is not None
        first = world.seats[member]
        while world.transcript.outcome is None:
            replica.now_ns = first.now_ns
            replica.progress.saw(world.verified[-1].height, world.verified[-1].next_time_ns)
            # the replica speaks first in every second window, and both are in each
            await (replica if len(world.kinds) % 2 else first).ceremonies.step()
            await (first if len(world.kinds) % 2 else replica).ceremonies.step()
            await world.round()
        entry = await world.to_the_end()
        assert entry is not None
        assert entry.guardians == MEMBERS
        replica.progress.saw(world.verified[-1].height, world.verified[-1].next_time_ns)
        await replica.ceremonies.step()
        one, other = await first.ceremonies.share(1), await replica.ceremonies.share(1)
        assert one.octets == other.octets
    assert await opens(world, MEMBERS[:3])


async def test_the_seed_is_on_disk_before_the_first_message(world: World) -> None:
    order = await world.begin()
    world.ledger.away = True
    seat = world.seats[MEMBERS[0]]
    with pytest.raises(aio.AioRpcError):
        await seat.ceremonies.step()
    kept = await seat.store.seed(order.ceremony, b"another one")
    assert len(vault_of(seat.member).open(kept, b"seed", order.ceremony)) == 32
    assert await seat.store.seed(order.ceremony, b"a third one") == kept


async def test_a_member_that_sleeps_has_no_share_and_the_others_have(world: World) -> None:
    sleeper = world.seats.pop(MEMBERS[3])
    await world.begin()
    entry = await world.to_the_end()
    assert entry is not None
    assert entry.guardians == MEMBERS[:3]
    for block in world.verified:
        await sleeper.apply(block)
    world.seats[MEMBERS[3]] = sleeper
    await sleeper.ceremonies.step()
    assert await sleeper.ceremonies.keys() == [entry]
    with pytest.raises(ShareMissing):
        await sleeper.ceremonies.share(1)
    assert await opens(world, MEMBERS[:3])


async def test_a_ceremony_without_enough_members_fails_and_leaves_no_seed(world: World) -> None:
    sleepers = [world.seats.pop(member) for member in MEMBERS[2:]]
    await world.begin()
    assert await world.to_the_end() is None
    for seat in world.seats.values():
        assert not await has_secrets(seat)
        assert await seat.ceremonies.keys() == []
    for seat in sleepers:
        world.seats[seat.member] = seat


async def test_a_resharing_keeps_the_key_and_destroys_the_older_shares(world: World) -> None:
    await world.begin()
    old = await world.to_the_end()
    assert old is not None
    before = await world.seats[MEMBERS[0]].ceremonies.share(1)
    await world.begin(old=old)
    new = await world.to_the_end()
    assert new is not None
    assert new.public_key == old.public_key
    assert (new.sharing, new.guardians) == (2, MEMBERS)
    after = await world.seats[MEMBERS[0]].ceremonies.share(1)
    assert after.octets != before.octets
    for seat in world.seats.values():
        (kept,) = await seat.store.sharings()
        assert kept.sharing == 2
    assert await opens(world, MEMBERS[1:])


async def test_a_resharing_gives_a_newcomer_its_share_and_a_leaver_none(world: World) -> None:
    newcomer = world.seats.pop(MEMBERS[3])  # it begins to follow later, and knows no key
    await world.begin(MEMBERS[:3])
    old = await world.to_the_end()
    assert old is not None
    world.seats[MEMBERS[3]] = newcomer
    for block in world.verified[-1:]:
        await newcomer.apply(block)
    assert await newcomer.ceremonies.keys() == []
    await world.begin(MEMBERS[1:], old)
    new = await world.to_the_end()
    assert new is not None
    assert new.guardians == MEMBERS[1:]
    assert await opens(world, MEMBERS[1:])
    with pytest.raises(ShareMissing):
        await world.seats[MEMBERS[0]].ceremonies.share(1)


async def test_who_has_not_seen_a_ceremony_whole_goes_on_without_a_share(world: World) -> None:
    order = await world.begin()
    await world.to_the_end()
    async with world.seat(MEMBERS[3], "restored") as seat:
        # blocks in the middle are missing, as after a start from a younger block
        for block in (world.verified[order.start - 1], *world.verified[-2:]):
            await seat.apply(block)
        await seat.ceremonies.step()
        assert await seat.ceremonies.keys() == []
        with pytest.raises(ShareMissing):
            await seat.ceremonies.share(1)
        assert not await has_secrets(seat)


async def test_a_share_is_there_with_the_block_that_brings_it_in_force(world: World) -> None:
    """`share` does not wait for the background: what is stored suffices."""
    await world.begin()
    assert world.transcript is not None
    while world.transcript.outcome is None:
        await world.round()
    assert isinstance(world.transcript.outcome, Completed)
    await world.use(world.transcript.outcome)
    found = await world.seats[MEMBERS[2]].ceremonies.share(1)
    assert found.entry.index_of(MEMBERS[2]) == found.index


async def test_nothing_is_said_while_the_chain_is_silent(world: World) -> None:
    await world.begin()
    seat = world.seats[MEMBERS[0]]
    seat.now_ns += 31 * NANOS
    await seat.ceremonies.step()
    assert world.ledger.waiting == []
    seat.now_ns -= 31 * NANOS
    await seat.ceremonies.step()
    assert len(world.ledger.waiting) == 1


async def test_a_refused_message_is_sent_again_and_an_expired_one_made_anew(world: World) -> None:
    await world.begin()
    seat = world.seats[MEMBERS[0]]
    world.ledger.refusal = "LEDGER_FULL"
    await seat.ceremonies.step()
    world.ledger.refusal = "TRANSACTION_EXPIRED"
    await seat.ceremonies.step()
    assert world.ledger.waiting == []
    world.ledger.refusal = ""
    await seat.ceremonies.step()
    await seat.ceremonies.step()
    assert len(world.ledger.waiting) == 1


async def test_a_ceremony_of_the_other_purpose_is_nobody_elses(world: World) -> None:
    await world.begin()
    block = world.verified[-1]
    assert news_of(block, RECORD).begun
    other = news_of(block, "opening")
    assert not other.begun
    assert other.empty


async def test_a_wrong_key_file_is_noticed(world: World) -> None:
    await world.begin()
    await world.to_the_end()
    seat = world.seats[MEMBERS[0]]
    for vault in (vault_of(MEMBERS[1]), vault_of(MEMBERS[0], "opening")):
        other = Ceremonies(
            Guardian(GENESIS.chain_id, MEMBERS[0], RECORD),
            seat.store,
            vault,
            seat.posts,
            seat.progress,
        )
        with pytest.raises(GuardianVaultCorrupt):
            await other.share(1)


@pytest.mark.slow
async def test_the_service_takes_part_by_itself(world: World) -> None:
    """`run`, woken by blocks, with a ledger that is away at first."""
    world.ledger.away = True
    tasks = [asyncio.create_task(seat.ceremonies.run()) for seat in world.seats.values()]
    await world.begin()
    world.ledger.away = False
    assert world.transcript is not None
    while world.transcript.outcome is None:
        awaited = len(world.transcript.awaited)
        await eventually(lambda awaited=awaited: len(world.ledger.waiting) >= awaited)
        await world.block()
    assert isinstance(world.transcript.outcome, Completed)
    await world.use(world.transcript.outcome)
    assert world.entry is not None
    assert world.entry.guardians == MEMBERS
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
