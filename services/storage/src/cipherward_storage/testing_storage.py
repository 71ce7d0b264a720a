"""A storage between real sockets, and what several of them share in a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from grpc import aio

from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceStub,
    add_LedgerServiceServicer_to_server,
)
from cipherward.storage.v1.storage_service_pb2_grpc import (
    StorageServiceStub,
    add_StorageServiceServicer_to_server,
)
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.genesis import Genesis
from cipherward_chain.group_keys import RECORD
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestChain, TestKeys, make_genesis
from cipherward_kit.channels import open_channel
from cipherward_kit.readiness import Readiness
from cipherward_kit.testing import Served, TestAlliance, serve_in_process
from cipherward_member.block_source import BlockSource
from cipherward_member.canaries import CANARIES
from cipherward_member.ceremonies import SHARE
from cipherward_member.ceremony_store import KeptSharing
from cipherward_member.following import ChainProgress
from cipherward_member.guardian_vault import GuardianVault
from cipherward_member.peers import PeerUnknown
from cipherward_member.registry import REGISTRY_FILE, MemberRegistry
from cipherward_member.testing_keys import SharedKey
from cipherward_storage.assembly import (
    CHAIN,
    SLOT_KEYS,
    LedgerSide,
    Limits,
    SlotKeeping,
    open_storage,
)
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.service import DOMAIN
from cipherward_storage.setup import Custodian
from cipherward_storage.stores import STORE, open_stores
from cipherward_storage.testing import (
    MEMBERS,
    record_key,
)
from cipherward_storage.testing_ledger import ChainLedger, Clock
from cipherward_storage.uploads import UploadBounds

MEMBER = "hospital-a"
WEEK = 7.0 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Scene:
    """What the storages of a test share: a chain, its ledger, and the time.

    storages: those that run, by member; how their guardians find each other.
    """

    genesis: Genesis
    keys: TestKeys
    chain: TestChain
    ledger: ChainLedger
    clock: Clock
    alliance: TestAlliance
    ledger_served: Served
    storages: dict[str, RunningStorage] = field(default_factory=dict[str, "RunningStorage"])


@asynccontextmanager
async def open_scene(certificates: TestAlliance) -> AsyncGenerator[Scene]:
    """Open a scene with a chain that has no block yet."""
    genesis, keys = make_genesis(
        ca_certificates={
            member: authority.certificate_pem.decode()
            for member, authority in certificates.authorities.items()
        }
    )
    chain = TestChain(genesis, keys)
    ledger = ChainLedger(chain)
    async with serve_in_process(
        lambda server: add_LedgerServiceServicer_to_server(ledger, server),
        domain="ledger.cipherward",
        alliance=certificates,
        service="ledger",
        member=MEMBER,
        also_own=MEMBERS,
    ) as served:
        yield Scene(genesis, keys, chain, ledger, Clock(), certificates, served)


@dataclass(slots=True)
class RunningStorage:
    """The storage of one member in a scene; it can be stopped and started."""

    scene: Scene
    folder: Path
    room: Room
    bounds: UploadBounds
    mongo: MongoSettings | None = None
    bodies: Any = None  # the stored ciphertext, past the service
    member: str = MEMBER
    slots: SlotKeeping | None = None
    readiness: Readiness = field(default_factory=lambda: Readiness(CHAIN, STORE, CANARIES))
    _stack: AsyncExitStack | None = None
    _served: Served | None = None
    _progress: ChainProgress | None = None

    @property
    def genesis(self) -> Genesis:
        return self.scene.genesis

    @property
    def keys(self) -> TestKeys:
        return self.scene.keys

    @property
    def chain(self) -> TestChain:
        return self.scene.chain

    @property
    def ledger(self) -> ChainLedger:
        return self.scene.ledger

    @property
    def clock(self) -> Clock:
        return self.scene.clock

    @property
    def ledger_served(self) -> Served:
        return self.scene.ledger_served

    @property
    def served(self) -> Served:
        assert self._served is not None, "storage is stopped"
        return self._served

    @property
    def progress(self) -> ChainProgress:
        assert self._progress is not None, "storage is stopped"
        return self._progress

    @property
    def stub(self) -> StorageServiceStub:
        """Storage as the member's own system sees it."""
        return StorageServiceStub(self.served.channel_as(self.member, "client"))

    @property
    def holder(self) -> StorageServiceStub:
        """Storage as a reader without a certificate sees it."""
        return StorageServiceStub(self.served.holder_channel())

    @property
    def custodian(self) -> Custodian:
        seed = self.keys.member_seeds[self.member]
        return Custodian(
            self.genesis,
            self.member,
            self.keys.custodian_keys[self.member],
            MemberSigner(self.member, seed),
            SigningKey(seed),
        )

    def another(self, folder: Path, member: str, mongo: MongoSettings | None = None) -> Self:
        """Another storage of this scene, or a replica of this one."""
        return replace(
            self,
            folder=folder,
            member=member,
            mongo=mongo,
            readiness=Readiness(CHAIN, STORE, CANARIES),
            _stack=None,
            _served=None,
            _progress=None,
        )

    @property
    def slot_keys(self) -> Path:
        """The folder of its slot keys."""
        return self.folder / SLOT_KEYS if self.slots is None else self.slots.folder

    async def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.readiness = Readiness(CHAIN, STORE, CANARIES)
        channel = self.ledger_served.channel_as(self.member, "storage")
        source = BlockSource(GrpcBlockFeed(channel, 30.0))
        registry = MemberRegistry(self.genesis, self.folder / REGISTRY_FILE)
        ledger = LedgerSide(
            registry, source, LedgerServiceStub(channel).SubmitBatch, self._open_peer
        )
        progress = ChainProgress(self.genesis.parameters.fresh_seconds, self.clock, self.clock)
        slots = self.slots or SlotKeeping(self.folder / SLOT_KEYS, WEEK)
        limits = Limits(self.room, self.bounds, slots, self.mongo)
        async with AsyncExitStack() as stack:
            opened = open_storage(
                self.folder, self.custodian, limits, ledger, self.readiness, progress
            )
            service = await stack.enter_async_context(opened)
            self._served = await stack.enter_async_context(
                serve_in_process(
                    lambda server: add_StorageServiceServicer_to_server(service, server),
                    domain=DOMAIN,
                    alliance=self.scene.alliance,
                    service="storage",
                    member=self.member,
                    readiness=self.readiness,
                )
            )
            self._progress = progress
            self._stack = stack.pop_all()
        self.scene.storages.setdefault(self.member, self)

    async def applied(self, height: int) -> None:
        assert await self.progress.reach(height, 10), f"block {height} was not applied"

    async def stop(self) -> None:
        if self.scene.storages.get(self.member) is self:
            del self.scene.storages[self.member]
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    async def _open_peer(self, member: str) -> aio.Channel:
        """Open a channel to another storage of the scene, as alliance.json would lead to it."""
        there = self.scene.storages.get(member)
        if there is None:
            raise PeerUnknown(f"{member} is not there")
        return open_channel(
            f"127.0.0.1:{there.served.ports.listen}",
            identity=self.scene.alliance.identity(self.member, "storage"),
            registry=self.scene.alliance.registry,
            peer_member=member,
            peer_service="storage",
        )

    async def hold_share(self, shared: SharedKey | None = None) -> None:
        """Put this member's share where its ceremony would have left it; before `start`."""
        held = shared or record_key()
        entry, chain_id = held.entry, self.genesis.chain_id
        material = self.keys.custodian_keys[self.member].secret_bytes()
        vault = GuardianVault.derive(
            material, chain_id=chain_id, member=self.member, purpose=RECORD
        )
        numbers = (one.to_bytes(8, "big") for one in (entry.key_epoch, entry.sharing))
        sealed = vault.seal(held.shares[self.member], SHARE, *numbers)
        kept = KeptSharing(entry.key_epoch, entry.sharing, entry.to_bytes(), sealed)
        self.folder.mkdir(exist_ok=True)
        owner = StoreOwner(chain_id, self.member, self.genesis.digest)
        clock = lambda: self.clock.seconds  # noqa: E731 - a clock is a function
        async with open_stores(self.folder, owner, self.room, self.mongo, clock) as stores:
            await stores.ceremonies.close(entry.ceremony, kept)
