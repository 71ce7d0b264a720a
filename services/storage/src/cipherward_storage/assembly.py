"""The service put together: this module is the whole dependency graph behind the gRPC face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.light import VerifiedBlock
from cipherward_chain.reads import ReadGate
from cipherward_kit.readiness import Readiness
from cipherward_member.background import running
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress, light_client, watch_freshness
from cipherward_member.registry import MemberRegistry
from cipherward_member.reports import Reports, ReportSigner, SubmitBatch
from cipherward_member.source_following import Place, follow_source
from cipherward_storage import metrics
from cipherward_storage.cleanup import Cleanup
from cipherward_storage.config import StorageConfig
from cipherward_storage.downloads import Downloads
from cipherward_storage.errors import StoreAway
from cipherward_storage.mongo.settings import MongoSettings
from cipherward_storage.orders import BlockHandler, Consequences
from cipherward_storage.place import Room, StoreOwner
from cipherward_storage.readers import ReleaseReads
from cipherward_storage.service import Jobs, StorageService
from cipherward_storage.setup import Custodian
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.standing import Standing
from cipherward_storage.store import ChainStore
from cipherward_storage.stores import open_stores, until_it_answers, watch_store
from cipherward_storage.uploads import UploadBounds, Uploads

CHAIN = "chain"  # the condition of readiness: a fresh block was seen


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say, beside the genesis."""

    room: Room
    uploads: UploadBounds
    mongo: MongoSettings | None = None  # None: the embedded store

    @classmethod
    def of(cls, config: StorageConfig) -> Limits:
        """Return what `config` says."""
        return cls(
            Room(config.quota_bytes, config.disk_reserve_bytes),
            UploadBounds(config.record_bytes_max, config.stall_seconds),
            config.mongo_settings(),
        )


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """The ledger as it is seen from here: where blocks come from and where reports go.

    registry: the alliance's members; it follows the blocks.
    """

    registry: MemberRegistry
    source: BlockSource
    submit: SubmitBatch


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
        ledger: blocks and reports.
        readiness: told whether the chain is fresh, as the condition `CHAIN`, and whether the store
            answers, as `STORE`.
        progress: fresh; its clocks decide what "now" is.

    Raises:
        CheckpointUnusable: the store goes on from another chain.
        StoreUnusable: the settings do not lead to a store of this custodian.
    """
    progress.show(metrics.PROVEN_TIME, metrics.HEIGHT)
    genesis = custodian.genesis
    slots = CustodianSlots(genesis.chain_id, custodian.member, custodian.key)
    standing = Standing(progress)
    owner = StoreOwner(genesis.chain_id, custodian.member)
    async with open_stores(
        folder, owner, limits.room, limits.mongo, progress.latest_seconds
    ) as stores:
        records, chain = stores.records, stores.chain
        downloads = Downloads(records, chain, standing, limits.uploads.stall_seconds)
        signer = ReportSigner(custodian.signer, genesis.chain_id, progress.block_seconds)
        reports = Reports(chain.reports, signer, ledger.submit, metrics.REPORTS_PENDING)
        then = Consequences(downloads.cut, progress.saw, reports.wake)
        handler = BlockHandler(custodian.member, records, chain, slots, then)

        async def handle(block: VerifiedBlock) -> None:
            await until_it_answers(lambda: handler.handle(block))

        async def place(stored: bytes) -> Place:
            found = Place(genesis, ledger.registry, folder, stored)
            await asyncio.to_thread(found.check)
            checkpoint = light_client(genesis, stored).checkpoint
            if checkpoint is not None:
                progress.saw(checkpoint.height, checkpoint.next_time_ns)
            return found

        async def follow(at: Place | None) -> None:
            if at is None:
                at = await place(await until_it_answers(chain.checkpoint))
            await follow_source(ledger.source, at, handle, progress)

        work = (
            follow(await _at_once(chain, place)),
            until_it_answers(reports.run),
            Cleanup(records, progress).run(),
            watch_freshness(progress, readiness, CHAIN),
            watch_store(chain, readiness),
        )
        uploads = Uploads(records, slots, custodian.member, limits.uploads)
        reads = ReleaseReads(ReadGate(genesis.chain_id, progress.local_seconds), chain, progress)
        async with running(*work):
            yield StorageService(Jobs(uploads, downloads, reads, standing, records))


async def _at_once(chain: ChainStore, place: Callable[[bytes], Awaitable[Place]]) -> Place | None:
    """Return the stored place, checked before the service serves, or None: the store is away."""
    try:
        return await place(await chain.checkpoint())
    except StoreAway:
        return None
