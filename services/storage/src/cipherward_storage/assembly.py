"""The service put together: this module is the whole dependency graph behind the gRPC face."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.feed import BlockFeed
from cipherward_chain.follower import Follower
from cipherward_chain.reads import ReadGate
from cipherward_kit.database import Database
from cipherward_kit.readiness import Readiness
from cipherward_member.background import running
from cipherward_member.following import ChainProgress, light_client, watch_freshness
from cipherward_member.reports import Reports, ReportSigner, SubmitBatch
from cipherward_storage import metrics
from cipherward_storage.cleanup import Cleanup
from cipherward_storage.config import StorageConfig
from cipherward_storage.downloads import Downloads
from cipherward_storage.orders import BlockHandler, Consequences
from cipherward_storage.readers import ReleaseReads
from cipherward_storage.schema import SCHEMA
from cipherward_storage.service import Jobs, StorageService
from cipherward_storage.setup import Custodian
from cipherward_storage.slots import CustodianSlots
from cipherward_storage.sqlite_chain import SqliteChainStore
from cipherward_storage.sqlite_records import Room, SqliteRecordStore
from cipherward_storage.standing import Standing
from cipherward_storage.uploads import UploadBounds, Uploads

CHAIN = "chain"  # the condition of readiness: a fresh block was seen


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say, beside the genesis."""

    room: Room
    uploads: UploadBounds

    @classmethod
    def of(cls, config: StorageConfig) -> Limits:
        """Return what `config` says."""
        return cls(
            Room(config.quota_bytes, config.disk_reserve_bytes),
            UploadBounds(config.record_bytes_max, config.stall_seconds),
        )


@dataclass(frozen=True, slots=True)
class LedgerSide:
    """The ledger as it is seen from here: where blocks come from and where reports go."""

    feed: BlockFeed
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
        readiness: told whether the chain is fresh, as the condition `CHAIN`.
        progress: fresh; its clocks decide what "now" is.

    Raises:
        CheckpointUnusable: the folder goes on from another chain.
    """
    progress.show(metrics.PROVEN_TIME, metrics.HEIGHT)
    genesis = custodian.genesis
    slots = CustodianSlots(genesis.chain_id, custodian.member, custodian.key)
    standing = Standing(progress)
    async with (
        Database(folder / "storage.sqlite", SCHEMA) as database,
        SqliteRecordStore(
            database, folder / "bodies", limits.room, progress.latest_seconds
        ) as records,
    ):
        chain = SqliteChainStore(database)
        client = light_client(genesis, await chain.checkpoint())
        if client.checkpoint is not None:
            progress.saw(client.height, client.checkpoint.next_time_ns)
        downloads = Downloads(records, chain, standing, limits.uploads.stall_seconds)
        signer = ReportSigner(custodian.signer, genesis.chain_id, progress.block_seconds)
        reports = Reports(chain.reports, signer, ledger.submit, metrics.REPORTS_PENDING)
        then = Consequences(downloads.cut, progress.saw, reports.wake)
        handler = BlockHandler(custodian.member, records, chain, slots, then)
        follower = Follower(ledger.feed, client, handler.handle)
        work = (
            follower.run(),
            reports.run(),
            Cleanup(records, progress).run(),
            watch_freshness(progress, readiness, CHAIN),
        )
        uploads = Uploads(records, slots, custodian.member, limits.uploads)
        reads = ReleaseReads(ReadGate(genesis.chain_id, progress.local_seconds), chain, progress)
        async with running(*work):
            yield StorageService(Jobs(uploads, downloads, reads, standing, records))
