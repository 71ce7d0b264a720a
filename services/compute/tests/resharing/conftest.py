"""Five members' stores and their parts in resharings of a data key that three of them hold.

The members ask what each other's exchange shows them; over sockets and a chain they
do in the tests of columns. The library makes the key at once; its columns are lists of digests.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cipherward_chain.canonical import Value
from cipherward_chain.orders import Order
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_compute import arithmetic
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.handing import Handing
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.ceremony.resharing import ResharingSteps
from cipherward_compute.ciphertexts import Ciphertexts
from cipherward_compute.column_keys import PROFILE, ColumnKeys, DataKey, Slots
from cipherward_compute.columns import Layout, Manifest, Manifests
from cipherward_compute.errors import NotYetMade, StepFailed, StudyUnknown
from cipherward_compute.exchange import Exchange, Shown
from cipherward_compute.inference.uses import Uses
from cipherward_compute.instructions import (
    HandOverKey,
    ReshareKey,
    ReshareStep,
    RetireKey,
)
from cipherward_compute.keyring import KEY_SHARE, Keyring, MessageKind
from cipherward_compute.member import Member
from cipherward_compute.order_reading import instruction_of
from cipherward_compute.orders import concerns
from cipherward_compute.peers import Peers
from cipherward_compute.schema import SCHEMA
from cipherward_compute.shares import ShareLog
from cipherward_compute.steps import Done, nothing
from cipherward_compute.store import BlockEffects, ChainStore, Failure, Taken, WaitingOrder
from cipherward_compute.studies import News, Studies
from cipherward_compute.vault import CeremonyRoot, Vault
from cipherward_compute.verdicts import Verdicts
from cipherward_kit.database import Database
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.testing import eventually
from cipherward_member.registry import MemberRegistry
from cipherward_studies.columns import ColumnText
from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import encrypt
from cipherward_threshold.keys import combine_public_key, member_secret, public_key_digest
from cipherward_threshold.messages import KeyShare
from cipherward_threshold.parameters import profile
from cipherward_threshold.shamir import aggregate_shares

A, B, C, D, E = MEMBERS = tuple(f"hospital-{letter}" for letter in "abcde")
FIRST = (A, B, C)
POINTS = {name: place + 1 for place, name in enumerate(MEMBERS)}
SOURCE, STUDY = b"k" * 16, bytes(range(16))
STEPS: tuple[ReshareStep, ...] = ("ready", "deal", "answer", "confirm", "test", "open")
EVALUATION_KEY = b"an evaluation key"
PSEUDONYMS = tuple(sorted(seed_of(name)[:32] + bytes(16) for name in ("x", "y", "z")))
TEXT = ColumnText.from_document(
    {"data_set": "cohort-1", "variables": [{"name": "age", "low": 0, "high": 120}]}
)

Tamper = Callable[[str, MessageKind, bytes], bytes]


@dataclass(frozen=True)
class MadeKey:
    """A data key of the first three members, any two of whom decrypt; shares by member."""

    public_key: bytes
    shares: Mapping[str, bytes]
    lists: Mapping[str, Manifest]

    @property
    def digest(self) -> bytes:
        return public_key_digest(self.public_key)


@pytest.fixture(scope="session")
def made_key() -> MadeKey:
    points = [POINTS[name] for name in FIRST]
    secrets = [member_secret(PROFILE, seed_of(name), b"a data key") for name in FIRST]
    deals = [one.deal(points, 2) for one in secrets]
    shares = {
        name: aggregate_shares(PROFILE, [deal[POINTS[name]] for deal in deals]) for name in FIRST
    }
    public = combine_public_key(PROFILE, b"a data key", [s.public_key_share() for s in secrets])
    slots = Slots.of(SOURCE, PSEUDONYMS)
    layout = Layout(DataKey(SOURCE, TEXT.data_set, 10, TEXT.digest, TEXT, 1), slots)
    lists = {
        name: Manifest(
            SOURCE,
            name,
            TEXT.digest,
            slots.digest,
            tuple(seed_of(f"{name}/{place}") for place in range(len(layout.columns))),
            tuple(seed_of(f"{name}/proof/{place}") for place in range(len(layout.batches))),
        )
        for name in FIRST
    }
    return MadeKey(public, shares, lists)


@dataclass
class Neighbours(Peers):
    """The other members' exchanges; `dies_at` is the question that this member does not survive."""

    alliance: Alliance
    mine: str
    asked: int = 0
    dies_at: int = -1
    tamper: Tamper | None = None

    async def ceremony_message(self, member: str, study: bytes, kind: MessageKind) -> bytes:
        self.asked += 1
        if self.asked == self.dies_at:
            raise RuntimeError("killed")
        found = b""

        async def there() -> bool:
            nonlocal found
            try:
                exchange = self.alliance.at[member].exchange
                found = await exchange.ceremony_message(study, kind, self.mine)
            except (NotYetMade, StudyUnknown):
                return False
            return True

        await eventually(there)
        return self.tamper(member, kind, found) if self.tamper else found


@dataclass
class Holder:
    """A member's stores and steps."""

    name: str
    database: Database
    vault: Vault
    keyring: Keyring
    keys: ColumnKeys
    manifests: Manifests
    chain: ChainStore
    studies: Studies
    exchange: Exchange
    steps: ResharingSteps
    peers: Neighbours


@dataclass
class Alliance:
    """Five members, none of whom holds a key yet."""

    folder: Path
    pool: WorkerPool
    registry: MemberRegistry
    at: dict[str, Holder] = field(default_factory=dict[str, Holder])

    async def start(self, name: str) -> None:
        database = await Database(self.folder / f"{name}.db", SCHEMA).__aenter__()
        vault = Vault(seed_of(f"{name}/data"))
        keyring, keys, manifests = (
            Keyring(database, vault),
            ColumnKeys(database),
            Manifests(database),
        )
        studies = Studies(database, News())
        shown = Shown(
            keyring,
            Handing(keyring, keys, manifests),
            Ciphertexts(database, vault),
            Verdicts(database),
            ShareLog(database, vault),
            manifests,
            Uses(database, vault),
        )
        peers = Neighbours(self, name)
        me = Member(name, "chain test", self.registry, self.pool)
        self.at[name] = Holder(
            name,
            database,
            vault,
            keyring,
            keys,
            manifests,
            ChainStore(database),
            studies,
            Exchange(name, studies, shown, lambda: None),
            ResharingSteps(me, CeremonyRoot(seed_of(f"{name}/ceremony")), keyring, peers),
            peers,
        )

    async def stop(self, name: str) -> None:
        await self.at.pop(name).database.__aexit__(None, None, None)

    async def restart(self, name: str) -> None:
        await self.stop(name)
        await self.start(name)

    def sql(self, name: str, statement: str, *values: object) -> list[tuple[bytes, ...]]:
        """Look at a member's disk, or change it."""
        with sqlite3.connect(self.folder / f"{name}.db") as connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def give(self, made: MadeKey) -> None:
        """Let the first members hold the key, and know of its columns, as when it is ready."""
        for name in FIRST:
            sealed = self.at[name].vault.seal(made.shares[name], KEY_SHARE, SOURCE)
            for statement, values in (
                (
                    "INSERT INTO ceremonies VALUES (?, ?, x'', ?, ?, ?, ?)",
                    (SOURCE, PROFILE, seed_of(name), made.public_key, sealed, EVALUATION_KEY),
                ),
                (
                    "INSERT INTO data_keys VALUES (?, ?, 10, ?, ?, 5)",
                    (SOURCE, TEXT.data_set, TEXT.digest, TEXT.octets),
                ),
                (
                    "INSERT INTO studies (study, requester, members, lapses, template, stage)"
                    " VALUES (?, x'', x'80', 0, 'data-key', 'ready')",
                    (SOURCE,),
                ),
            ):
                self.sql(name, statement, *values)
            for pseudonym in PSEUDONYMS:
                self.sql(name, "INSERT INTO registrations VALUES (?, ?, 4)", SOURCE, pseudonym)
            for other, listed in made.lists.items():
                self.sql(
                    name,
                    "INSERT INTO column_manifests (study, member, manifest) VALUES (?, ?, ?)",
                    SOURCE,
                    other,
                    listed.to_bytes(),
                )


@dataclass(frozen=True)
class Plan:
    """Who holds a key, who deals it anew, and who shall hold it."""

    holders: tuple[str, ...] = FIRST
    dealers: tuple[str, ...] = (A, B)
    new: tuple[str, ...] = (B, C, D)
    threshold: int = 2
    study: bytes = STUDY


PLANS = {
    "both": Plan(),  # one leaves, one joins
    "leaves": Plan(dealers=(B, C), new=(B, C)),
    "joins": Plan(dealers=(A, C), new=(A, B, C, D), threshold=3),
}


@dataclass
class Run:
    """A resharing, driven as its contract would drive it, and what the chain has kept of it."""

    alliance: Alliance
    made: MadeKey
    plan: Plan
    height: int = 10
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    checks: dict[str, bytes] = field(default_factory=dict[str, bytes])
    shares: dict[str, bytes] = field(default_factory=dict[str, bytes])
    seed: bytes = b"s" * 32

    def takers(self, step: ReshareStep) -> tuple[str, ...]:
        named = {"ready": self.plan.holders, "deal": self.plan.dealers}
        return named.get(step, self.plan.new)

    def order(self, step: ReshareStep, **other: Value) -> Order:
        plan, place = self.plan, STEPS.index(step)
        arguments: dict[str, Value] = {
            "study": plan.study,
            "source": SOURCE,
            "step": step,
            "members": list(self.takers(step)),
            "holders": list(plan.holders),
            "new": list(plan.new),
            "dealers": list(plan.dealers) if place else [],
            "threshold": plan.threshold,
            "seed": self.seed if place > 3 else b"",
            "commitments": dict(self.commitments) if place > 1 else {},
            "reveals": dict(self.shares if step == "open" else self.checks) if place > 2 else {},
            "key_digest": self.made.digest,
            "evaluation_digest": hashlib.sha256(EVALUATION_KEY).digest(),
            "spec_digest": TEXT.digest,
            "column_commitments": {n: one.commitment for n, one in self.made.lists.items()},
        }
        return self._ordered("reshare_key", {**arguments, **other})

    def hand_over_order(self) -> Order:
        plan = self.plan
        return self._ordered(
            "hand_over_key",
            {
                "study": plan.study,
                "source": SOURCE,
                "members": sorted({*plan.holders, *plan.new}),
                "holders": list(plan.holders),
                "new": list(plan.new),
                "threshold": plan.threshold,
                "key_digest": self.made.digest,
            },
        )

    def retire_order(self, cause: str, members: Sequence[str]) -> Order:
        named: dict[str, Value] = {
            "study": self.plan.study,
            "members": list(members),
            "cause": cause,
        }
        return self._ordered("retire_key", named)

    def _ordered(self, instruction: str, arguments: Mapping[str, Value]) -> Order:
        self.height += 1
        study = self.plan.study
        return Order(self.height, 0, study, "key-resharing", instruction, arguments)

    async def block(self, *orders: Order) -> None:
        """Let every member take the block that holds these orders."""
        height = orders[0].height
        for name, holder in self.alliance.at.items():
            taken: list[Taken] = []
            for order in orders:
                instruction = instruction_of(order)
                assert instruction is not None
                if concerns(order, name):
                    taken.append(Taken(instruction, order.to_bytes()))
            await holder.chain.apply(
                BlockEffects(height, height.to_bytes(8, "big"), 1000 + height, taken=tuple(taken))
            )
            holder.studies.news.tell(self.plan.study)

    async def answer_at(self, name: str, waiting: WaitingOrder) -> Done | StepFailed | PeerWrong:
        """Carry an order out at a member, without its effect."""
        instruction = instruction_of(Order.from_bytes(waiting.octets))
        return await self._answer(self.alliance.at[name], instruction)

    async def carry_out(self, name: str) -> Done | StepFailed | PeerWrong | None:
        """Take the oldest waiting order at a member, and make its effect durable."""
        holder = self.alliance.at[name]
        waiting = await holder.chain.waiting()
        if not waiting:
            return None
        answer = await self.answer_at(name, waiting[0])
        if isinstance(answer, Done):
            await holder.chain.finish(waiting[0].key, answer.write, None)
        else:
            failed = Failure(answer.reason, str(answer))
            await holder.chain.finish(waiting[0].key, nothing, None, failed)
        holder.studies.news.tell(self.plan.study)
        return answer

    async def _answer(self, holder: Holder, instruction: object) -> Done | StepFailed | PeerWrong:
        try:
            match instruction:
                case ReshareKey():
                    return await holder.steps.carry_out(instruction)
                case HandOverKey():
                    return await holder.steps.handed_over(instruction)
                case RetireKey():
                    return await holder.steps.retire(instruction)
                case _:
                    raise AssertionError("no order of a resharing")
        except (StepFailed, PeerWrong) as error:
            return error

    async def everywhere(self) -> dict[str, Done | StepFailed | PeerWrong]:
        """Take what waits at every member; return what comes of it, where anything was there."""
        names = list(self.alliance.at)
        found = await asyncio.gather(*(self.carry_out(name) for name in names))
        return {name: one for name, one in zip(names, found, strict=True) if one is not None}

    async def give_order(
        self, step: ReshareStep, **other: Value
    ) -> dict[str, Done | StepFailed | PeerWrong]:
        await self.block(self.order(step, **other))
        return await self.everywhere()

    async def refusals(self, step: ReshareStep) -> dict[str, StepFailed | PeerWrong]:
        """Order a step; return who cannot take it, and why."""
        found = await self.give_order(step)
        return {name: one for name, one in found.items() if not isinstance(one, Done)}

    def keep(self, step: ReshareStep, digests: dict[str, bytes]) -> None:
        """Keep what the members report, as the chain does."""
        assert set(digests) == set(self.takers(step))
        if step == "deal":
            self.commitments = digests
        elif step == "answer":
            self.checks = digests
        elif step == "test":
            self.shares = digests
        else:  # they must agree
            assert len(set(digests.values())) == 1

    async def step(self, step: ReshareStep) -> None:
        """Let a step be taken everywhere."""
        found = await self.give_order(step)
        digests: dict[str, bytes] = {}
        for name, one in found.items():
            assert isinstance(one, Done), (name, one)
            if one.reported:
                digests[name] = one.digest
        self.keep(step, digests)

    async def take(self, *steps: ReshareStep) -> None:
        for step in steps:
            await self.step(step)

    async def hand_over(self) -> Order:
        order = self.hand_over_order()
        await self.block(order)
        assert all(isinstance(one, Done) for one in (await self.everywhere()).values())
        return order

    async def end(self, cause: str = "failed") -> None:
        """Let the resharing end, as its contract tells old and new holders."""
        for members in (self.plan.holders, self.plan.new):
            await self.block(self.retire_order(cause, members))
            await self.everywhere()

    async def share_of(self, name: str) -> bytes:
        """Return a member's share of the data key as it would decrypt with."""
        keyring = self.alliance.at[name].keyring
        return keyring.open_key_share(await keyring.ceremony(SOURCE))

    async def opened_by(self, *names: str) -> list[int]:
        """Decrypt a value under the key with these members' shares."""
        return self.opened_with({name: await self.share_of(name) for name in names})

    def opened_with(self, shares: Mapping[str, bytes]) -> list[int]:
        """Decrypt it with shares by member, as they name their sharing."""
        return opened(self.made.public_key, {POINTS[name]: share for name, share in shares.items()})

    def of_sharing(self, share: bytes, like: bytes) -> bytes:
        """Return a share that claims to be of another one's sharing."""
        row = profile(PROFILE)
        form = KeyShare.parse(row, like).sharing
        return replace(KeyShare.parse(row, share), sharing=form).to_bytes(row)

    async def with_stolen_share(self, thief: str, owner: str, *steps: ReshareStep) -> None:
        """Let steps be taken while a member holds another's share, named as its own."""
        row, keyring = profile(PROFILE), self.alliance.at[thief].keyring
        stolen = KeyShare.parse(row, self.made.shares[owner])
        claimed = replace(stolen, point=POINTS[thief]).to_bytes(row)
        own = (await keyring.ceremony(SOURCE)).sealed_key_share
        update = "UPDATE ceremonies SET key_share = ? WHERE study = ?"
        self.alliance.sql(thief, update, keyring.seal_key_share(SOURCE, claimed), SOURCE)
        await self.take(*steps)
        self.alliance.sql(thief, update, own, SOURCE)

    def left(self, name: str) -> list[str]:
        """Return what a member still has of the attempt."""
        tables = ("ceremonies", "ceremony_messages", "opened")
        counted = {
            table: self.alliance.sql(
                name, f"SELECT 1 FROM {table} WHERE study = ?", self.plan.study
            )
            for table in tables
        }
        return [table for table, rows in counted.items() if rows]

    def rewrite(self, member: str, kind: MessageKind, octets: bytes, receiver: str = "") -> bytes:
        """Let a member have another message than it made; return the commitment to it."""
        self.alliance.sql(
            member,
            "UPDATE ceremony_messages SET octets = ?"
            " WHERE study = ? AND kind = ? AND sender = ? AND receiver = ?",
            octets,
            self.plan.study,
            kind,
            member,
            receiver,
        )
        return commitment_to(self.plan.study, kind, member, octets)

    async def own(self, member: str, kind: MessageKind) -> bytes:
        keyring = self.alliance.at[member].keyring
        return await keyring.message(self.plan.study, kind, dealer=member, receiver=member)


def opened(public_key: bytes, shares: Mapping[int, bytes]) -> list[int]:
    """Decrypt 41, 42 under a key with shares by point, as they name their sharing."""
    ciphertext = encrypt(PROFILE, public_key, [41, 42])
    given = [
        partial_decryption(
            PROFILE,
            share,
            ciphertext,
            point=point,
            online=tuple(shares),
            seed=b"s" * 32,
            context=b"test",
            circuit="column-sum",
        )
        for point, share in shares.items()
    ]
    return combine(PROFILE, ciphertext, given, 2, circuit="column-sum")


@asynccontextmanager
async def an_alliance(folder: Path) -> AsyncGenerator[Alliance]:
    """Five running members."""
    genesis, _ = make_genesis(5)
    async with WorkerPool(0, 64, arithmetic.__name__) as pool:
        made = Alliance(folder, pool, MemberRegistry(genesis, folder / "registry.json"))
        for name in MEMBERS:
            await made.start(name)
        try:
            yield made
        finally:
            for name in list(made.at):
                await made.stop(name)


@dataclass(frozen=True)
class Moment:
    """Everything that is on disk before a step, and on the chain."""

    folder: Path
    run: Run


class History:
    """One resharing of each plan, as it stood before every step: tests begin in its middle."""

    def __init__(self, folder: Path, made: MadeKey) -> None:
        self._folder = folder
        self._made = made
        self._moments: dict[tuple[Plan, ReshareStep | None], Moment] = {}

    def before(self, plan: Plan, step: ReshareStep | None) -> Moment:
        """Return how things stood before a step, or before the hand-over (None)."""
        if (plan, step) not in self._moments:
            asyncio.run(self._happen(plan))
        return self._moments[plan, step]

    async def _happen(self, plan: Plan) -> None:
        folder = self._folder / str(len(self._moments))
        folder.mkdir()
        async with an_alliance(folder) as alliance:
            alliance.give(self._made)
            run = Run(alliance, self._made, plan)
            for step in (*STEPS, None):
                for name in MEMBERS:
                    await alliance.stop(name)
                kept = self._folder / f"{folder.name}-{step}"
                await asyncio.to_thread(shutil.copytree, folder, kept)
                self._moments[plan, step] = Moment(kept, _copy(run, alliance))
                for name in MEMBERS:
                    await alliance.start(name)
                if step is not None:
                    await run.step(step)


def _copy(run: Run, alliance: Alliance) -> Run:
    kept = {name: dict(getattr(run, name)) for name in ("commitments", "checks", "shares")}
    return replace(run, alliance=alliance, **kept)


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, made_key: MadeKey) -> History:
    return History(tmp_path_factory.mktemp("resharings"), made_key)


@pytest.fixture
async def alliance(tmp_path: Path) -> AsyncGenerator[Alliance]:
    async with an_alliance(tmp_path) as made:
        yield made


@dataclass
class Beginning:
    """Begins a test in the middle of a resharing."""

    alliance: Alliance
    history: History

    async def __call__(self, plan: str, step: ReshareStep | None) -> Run:
        """Bring everybody to where a step begins, or the hand-over (None)."""
        found = await asyncio.to_thread(self.history.before, PLANS[plan], step)
        for name in MEMBERS:
            await self.alliance.stop(name)
        await asyncio.to_thread(
            shutil.copytree, found.folder, self.alliance.folder, dirs_exist_ok=True
        )
        for name in MEMBERS:
            await self.alliance.start(name)
        return _copy(found.run, self.alliance)


@pytest.fixture
def before(alliance: Alliance, history: History) -> Beginning:
    return Beginning(alliance, history)
