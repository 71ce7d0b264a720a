"""The service put together: this module is the whole dependency graph behind the gRPC face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.group_keys import RECORD
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.reads import ReadGate
from cipherward_kit.readiness import Readiness
from cipherward_member import ceremonies as member_ceremonies
from cipherward_member.background import running
from cipherward_member.block_source import BlockSource
from cipherward_member.canaries import CanaryReports
from cipherward_member.ceremonies import Ceremonies
from cipherward_member.ceremony_posts import CeremonyPosts
from cipherward_member.following import ChainProgress, light_client, watch_freshness
from cipherward_member.guardian_vault import GuardianVault
from cipherward_member.peers import OpenPeer, PeerChannels
from cipherward_member.registry import MemberRegistry
from cipherward_member.reports import Reports, ReportSigner, SubmitBatch
from cipherward_member.scrub import FILE_NAME as SCRUB_FILE
from cipherward_member.scrub import Scrub
from cipherward_member.source_following import Place, follow_source
from cipherward_storage.alliance_slots import AllianceSlots
from cipherward_storage.cleanup import Cleanup
from cipherward_storage.columns import Columns
from cipherward_storage.config import StorageConfig
from cipherward_storage.downloads import Downloads
from cipherward_storage.erasures import Erasures, Statements
from cipherward_storage.errors import StoreAway
from cipherward_storage.guardian import Guardian
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.orders import BlockHandler, Consequences, Known, Making
from cipherward_storage.parts import Parts
from cipherward_storage.peer_slots import PeerSlots
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.readers import ReleaseReads
from cipherward_storage.service import Jobs, StorageService
from cipherward_storage.setup import Custodian
from cipherward_storage.shelves import FIGURES, ColumnShelf, RecordShelf, SlotKeyShelf, show_stored
from cipherward_storage.slot_keys import SlotKeys
from cipherward_storage.slot_renewal import Renewing, SlotRenewal, register
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.standing import Standing
from cipherward_storage.store import ChainStore
from cipherward_storage.stores import Stores, open_stores, until_it_answers, watch_store
from cipherward_storage.uploads import SlotChecks, UploadBounds, Uploads

CHAIN = "chain"  # the condition of readiness: a fresh block was seen
SLOT_KEYS = "slot-keys"  # in the data folder, unless the settings name another place


@dataclass(frozen=True, slots=True)
class SlotKeeping:
    """folder: of the slot keys. renewal_seconds: the age at which one is replaced."""

    folder: Path
    renewal_seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say, beside the genesis."""

    room: Room
    uploads: UploadBounds
    slots: SlotKeeping
    mongo: MongoSettings | None = None  # None: the embedded store

    @classmethod
    def of(cls, config: StorageConfig) -> Limits:
        """Return what `config` says."""
        return cls(
            Room(config.quota_bytes, config.disk_reserve_bytes),
            UploadBounds(config.record_bytes_max, config.stall_seconds),
            SlotKeeping(
                config.slot_keys_folder or config.data_dir / SLOT_KEYS,
                config.slot_renewal_seconds,
            ),
            config.mongo_settings(),
        )


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """The alliance as it is seen from here: blocks, reports, and the other members' storages.

    registry: the alliance's members; it follows the blocks.
    """

    registry: MemberRegistry
    source: BlockSource
    submit: SubmitBatch
    open_peer: OpenPeer


@dataclass(frozen=True, slots=True)
class _Home:
    """Everything that the service is put together from."""

    custodian: Custodian
    limits: Limits
    ledger: LedgerSide
    progress: ChainProgress
    slot_keys: SlotKeys
    stores: Stores
    peers: PeerSlots
    canaries: CanaryReports

    @property
    def names(self) -> tuple[str, str]:
        """The chain and the member."""
        return self.custodian.genesis.chain_id, self.custodian.member


@dataclass(frozen=True, slots=True)
class _Built:
    """What comes out: who applies blocks, what goes on beside the server, and the gRPC face."""

    handler: BlockHandler
    work: tuple[Awaitable[None], ...]
    service: StorageService


@asynccontextmanager
async def open_storage(
    folder: Path,
    custodian: Custodian,
    limits: Limits,
    ledger: LedgerSide,
    readiness: Readiness,
    progress: ChainProgress,
) -> AsyncGenerator[StorageService]:
    """Open the stores in `folder` and follow the chain while the context is open.

    Args:
        folder: held by this process alone.
        custodian: whose records.
        limits: of size and silence.
        ledger: blocks, reports and peers.
        readiness: told whether the chain is fresh, as the condition `CHAIN`, whether the store
            answers, as `STORE`, and what the canaries found, as `CANARIES`.
        progress: fresh; its clocks decide what "now" is.

    Raises:
        CheckpointUnusable: the store goes on from another chain.
        KeyUnusable: the folder of slot keys cannot be used, or is not this store's.
        StoreUnusable: the settings do not lead to a store of this custodian.
    """
    genesis = custodian.genesis
    slot_keys = SlotKeys(limits.slots.folder, progress.local_seconds)
    await asyncio.to_thread(slot_keys.open)
    owner = StoreOwner(genesis.chain_id, custodian.member, genesis.digest)
    clock = progress.latest_seconds
    async with (
        open_stores(folder, owner, limits.room, limits.mongo, clock) as stores,
        PeerChannels(ledger.open_peer) as channels,
    ):
        chain = stores.chain

        async def place(stored: bytes) -> Place:
            found = Place(genesis, ledger.registry, folder, stored)
            await asyncio.to_thread(found.check)
            checkpoint = light_client(genesis, stored).checkpoint
            if checkpoint is not None:
                progress.saw(checkpoint.height, checkpoint.next_time_ns)
            return found

        with suppress(StoreAway):  # else the renewal's first look tells
            await register(stores.slots, await asyncio.to_thread(slot_keys.newest))
        at_once = await _at_once(chain, place)
        canaries = CanaryReports(readiness)
        peers = PeerSlots(custodian.member, stores.records, channels)
        home = _Home(custodian, limits, ledger, progress, slot_keys, stores, peers, canaries)
        built = _build(home)

        async def handle(block: VerifiedBlock) -> None:
            await until_it_answers(lambda: built.handler.handle(block))

        async def follow() -> None:
            at = at_once or await place(await until_it_answers(chain.checkpoint))
            await follow_source(ledger.source, at, handle, progress)

        watching = watch_freshness(progress, readiness, CHAIN), watch_store(chain, readiness)
        shelves = (
            SlotKeyShelf(slot_keys),
            RecordShelf(stores.records),
            ColumnShelf(stores.columns),
        )
        scrub = Scrub(shelves, folder / SCRUB_FILE, FIGURES, then=show_stored)
        async with running(follow(), *built.work, scrub.run(), *watching):
            yield built.service


def _build(home: _Home) -> _Built:
    """Put everything together that works on the stores."""
    custodian, stores, progress = home.custodian, home.stores, home.progress
    chain, bounds = stores.chain, home.limits.uploads
    slots = CustodianSlots(*home.names, custodian.key, home.slot_keys)
    parts = Parts(*home.names, custodian.signing_key)
    statements = Statements(*home.names, custodian.signing_key)
    standing = Standing(progress)
    downloads = Downloads(stores.records, chain, standing, bounds.stall_seconds)
    signer = ReportSigner(custodian.signer, home.names[0], progress.block_seconds)
    reports = Reports(chain.reports, signer, home.ledger.submit)
    ceremonies = _ceremonies_of(home)
    guardian = Guardian(stores.shares, home.peers.slot, ceremonies.share, parts, progress)
    erasures = Erasures(stores.erasures, home.slot_keys, statements, reports.wake)
    renewal = SlotRenewal(
        stores.slots,
        home.slot_keys,
        slots,
        Renewing(home.limits.slots.renewal_seconds, progress.local_seconds, erasures.wake),
    )
    columns = Columns(stores.columns, bounds.stall_seconds)
    handler = BlockHandler(
        custodian.member,
        Known(stores.records, chain, stores.facts),
        Making(slots, parts, statements),
        Consequences(
            downloads.cut,
            progress.saw,
            reports.wake,
            guardian.wake,
            erasures.wake,
            ceremonies.wake,
            columns.wake,
        ),
    )
    checks = SlotChecks(custodian.member, slots, AllianceSlots(home.names[0], stores.facts))
    gate = ReadGate(home.names[0], progress.local_seconds)
    service = StorageService(
        Jobs(
            Uploads(stores.records, stores.facts, checks, bounds),
            downloads,
            ReleaseReads(gate, chain, progress, chain.release),
            ReleaseReads(gate, chain, progress, guardian.release),
            standing,
            stores.records,
            home.canaries,
            columns,
        )
    )
    work = (
        until_it_answers(reports.run),
        until_it_answers(ceremonies.run),
        guardian.run(),
        erasures.run(),
        renewal.run(),
        columns.run(),
        Cleanup(stores.records, progress).run(),
    )
    return _Built(handler, work, service)


def _ceremonies_of(home: _Home) -> Ceremonies:
    """Return this member's part in the ceremonies of record keys."""
    custodian, (chain_id, member) = home.custodian, home.names
    vault = GuardianVault.derive(
        custodian.key.secret_bytes(), chain_id=chain_id, member=member, purpose=RECORD
    )
    clock = home.progress.block_seconds
    posts = CeremonyPosts(custodian.signer, chain_id, clock, home.ledger.submit)
    guardian = member_ceremonies.Guardian(chain_id, member, RECORD)
    return Ceremonies(guardian, home.stores.ceremonies, vault, posts, home.progress)


async def _at_once(chain: ChainStore, place: Callable[[bytes], Awaitable[Place]]) -> Place | None:
    """Return the stored place, checked before the service serves, or None: the store is away."""
    try:
        return await place(await chain.checkpoint())
    except StoreAway:
        return None
