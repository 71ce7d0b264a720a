"""What a running compute service is made of, put together by hand."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.reads import ReadGate
from cipherward_compute import arithmetic, metrics
from cipherward_compute.additions import AdditionSteps
from cipherward_compute.arithmetic.keys import warm
from cipherward_compute.ceremony.steps import PROFILE, CeremonySteps
from cipherward_compute.choices import Choices, Epochs, Patients, VerifyPresentations
from cipherward_compute.ciphertexts import Ciphertexts
from cipherward_compute.cohorts import Cohorts
from cipherward_compute.column_keys import ColumnKeys
from cipherward_compute.columns import Manifests
from cipherward_compute.columns_steps import ColumnSources, ColumnSteps
from cipherward_compute.columns_store import ColumnStore
from cipherward_compute.config import ComputeConfig
from cipherward_compute.contributions import ContributionSteps, Inputs
from cipherward_compute.datasets import DataSets
from cipherward_compute.enrolments import Enrolments
from cipherward_compute.enrolments_shown import EnrolmentDesk
from cipherward_compute.evaluation import EvaluationSteps, StoredColumns
from cipherward_compute.exchange import Exchange, Shown
from cipherward_compute.guardian import Guardian
from cipherward_compute.iterates import Iterates
from cipherward_compute.jobs.opening import open_public_arithmetic
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.keyring import Keyring
from cipherward_compute.member import Member
from cipherward_compute.opening import Opening
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.orders import BlockHandler, Consequences
from cipherward_compute.peers import Peers
from cipherward_compute.readers import StudyReads
from cipherward_compute.release import ReleaseSteps
from cipherward_compute.schema import SCHEMA
from cipherward_compute.service import ComputeService, Jobs
from cipherward_compute.shares import ShareLog
from cipherward_compute.specs import Specs
from cipherward_compute.store import ChainStore
from cipherward_compute.studies import News, Studies
from cipherward_compute.tasks import Outbound, Steps, Tasks
from cipherward_compute.vault import KEY_BYTES, CeremonyRoot, Vault
from cipherward_compute.verdicts import Verdicts
from cipherward_kit.database import Database
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.drain import Drain
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.readiness import Readiness
from cipherward_member.alliance_files import read_key, read_member_signer
from cipherward_member.background import running
from cipherward_member.block_source import BlockSource
from cipherward_member.following import ChainProgress, nanoseconds, watch_freshness
from cipherward_member.peers import OpenPeer, PeerChannels
from cipherward_member.registry import MemberRegistry
from cipherward_member.reports import Reports, ReportSigner, SubmitBatch
from cipherward_member.source_following import Place, follow_source

DATABASE_NAME = "compute.db"


@dataclass(frozen=True, slots=True)
class Outside:
    """What the service needs of others: blocks, ledger, identity, its peers, and the time.

    registry: the alliance's members; it follows the blocks.
    source: of proven blocks, untrusted. submit: the ledger's SubmitBatch. verify: our identity's
    VerifyPresentations. open_peer: opens a channel to a member's compute service, open_storage to
    a member's storage, ours among them. clock: Unix seconds now.
    """

    registry: MemberRegistry
    source: BlockSource
    submit: SubmitBatch
    verify: VerifyPresentations
    open_peer: OpenPeer
    open_storage: OpenPeer
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Keys:
    """What this member signs with, and its two keys of 32 bytes each."""

    signer: MemberSigner
    ceremony: bytes
    data: bytes

    @classmethod
    def read(cls, config: ComputeConfig, genesis: Genesis) -> Keys:
        """Read the files that the configuration names, or raise `KeyUnusable`."""
        return cls(
            read_member_signer(config, genesis),
            read_key(config.ceremony_key_file, KEY_BYTES, "ceremony_key_file"),
            read_key(config.data_key_file, KEY_BYTES, "data_key_file"),
        )


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that is kept, over one database."""

    chain: ChainStore
    studies: Studies
    opt_outs: OptOuts
    data_sets: DataSets
    cohorts: Cohorts
    specs: Specs
    iterates: Iterates
    keyring: Keyring
    ciphertexts: Ciphertexts
    verdicts: Verdicts
    shares: ShareLog
    column_keys: ColumnKeys
    enrolments: Enrolments
    manifests: Manifests

    @classmethod
    def over(
        cls, database: Database, vault: Vault, config: ComputeConfig, clock: Callable[[], float]
    ) -> Stores:
        """Return the stores of a database."""
        opt_outs = OptOuts(database, vault)
        data_sets = DataSets(database, vault, opt_outs)
        return cls(
            ChainStore(database),
            Studies(database, News()),
            opt_outs,
            data_sets,
            Cohorts(database, vault, clock),
            Specs(database, data_sets, config.specs_waiting_max, clock),
            Iterates(database, config.specs_waiting_max, clock),
            Keyring(database, vault),
            Ciphertexts(database, vault),
            Verdicts(database),
            ShareLog(database, vault),
            ColumnKeys(database),
            Enrolments(database, vault, opt_outs),
            Manifests(database),
        )


@asynccontextmanager
async def open_compute(
    config: ComputeConfig, genesis: Genesis, outside: Outside, readiness: Readiness, drain: Drain
) -> AsyncGenerator[ComputeService]:
    """Open folder, store and workers, follow the chain, and yield the service on top of them.

    Raises:
        CannotStart: one of its subclasses says what is wrong with a key, the folder or the store.
    """
    async with AsyncExitStack() as stack:
        keys = await asyncio.to_thread(Keys.read, config, genesis)
        folder = DataFolder(config.data_dir, genesis.chain_id)
        await asyncio.to_thread(stack.enter_context, folder)
        database = Database(folder.path / DATABASE_NAME, SCHEMA)
        await stack.enter_async_context(database)
        await database.read(_overwrite_deleted)
        pool = WorkerPool(config.workers, config.jobs_waiting_max, arithmetic.__name__)
        await stack.enter_async_context(pool)
        await _warm(pool, config.workers)
        public = await stack.enter_async_context(open_public_arithmetic(config, genesis, pool))
        readiness.set("store", True)
        stores = Stores.over(database, Vault(keys.data), config, outside.clock)
        await stores.data_sets.clear()
        member = Member(config.member, genesis.chain_id, outside.registry, pool)
        peers = Peers(await stack.enter_async_context(PeerChannels(outside.open_peer)))
        storages = await stack.enter_async_context(PeerChannels(outside.open_storage))
        fresh_seconds = genesis.parameters.fresh_seconds
        progress = ChainProgress(fresh_seconds, nanoseconds(outside.clock))
        progress.show(metrics.PROVEN_TIME, metrics.HEIGHT)
        signer = ReportSigner(keys.signer, genesis.chain_id, progress.block_seconds)
        reports = Reports(stores.chain.reports, signer, outside.submit, metrics.REPORTS_PENDING)
        news = stores.studies.news
        tasks = Tasks(
            stores.chain,
            _steps(member, stores, CeremonyRoot(keys.ceremony), (peers, storages), public),
            Outbound(reports, news),
            progress.require_fresh,
            config.studies_at_once_max,
        )
        handler = BlockHandler(
            member.id, stores.chain, progress, Consequences(tasks, reports, news)
        )
        stored = await stores.chain.checkpoint()
        place = Place(genesis, outside.registry, folder.path, stored)
        await asyncio.to_thread(place.check)
        gate = ReadGate(genesis.chain_id, outside.clock)
        epochs = Epochs(lambda: genesis.epoch_at(progress.block_seconds()), progress.require_fresh)
        patients = Patients(gate, member, outside.verify, epochs)
        async with running(
            follow_source(outside.source, place, handler.handle, progress),
            tasks.run(),
            reports.run(),
            watch_freshness(progress, readiness, "chain"),
        ):
            yield ComputeService(
                Jobs(
                    stores.data_sets,
                    patients,
                    Choices(member, keys.signer, stores.opt_outs),
                    stores.specs,
                    stores.iterates,
                    stores.studies,
                    StudyReads(gate, outside.registry, stores.studies),
                    Exchange(
                        member.id,
                        stores.studies,
                        Shown(
                            stores.keyring,
                            stores.ciphertexts,
                            stores.verdicts,
                            stores.shares,
                            stores.manifests,
                        ),
                        progress.require_fresh,
                    ),
                    EnrolmentDesk(
                        gate, member.id, patients, stores.enrolments, progress.require_fresh
                    ),
                    stores.column_keys,
                    drain,
                )
            )


def _overwrite_deleted(connection: sqlite3.Connection) -> None:
    """Let what is deleted, key shares above all, be overwritten and not only unlinked."""
    connection.execute("PRAGMA secure_delete = ON")


async def _warm(pool: WorkerPool, workers: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, workers)):
            group.create_task(pool.run(warm, PROFILE))


def _steps(
    member: Member,
    stores: Stores,
    root: CeremonyRoot,
    others: tuple[Peers, PeerChannels],
    public: PublicArithmetic,
) -> Steps:
    """Return who takes which step. others: the members' compute and their storage services."""
    peers, storages = others
    guardian = Guardian(member, root, stores.keyring, stores.shares)
    inputs = Inputs(
        stores.specs,
        stores.iterates,
        stores.data_sets,
        stores.cohorts,
        stores.keyring,
        stores.ciphertexts,
        stores.verdicts,
    )
    columns = ColumnSources(
        stores.column_keys,
        stores.enrolments,
        stores.data_sets,
        stores.keyring,
        stores.manifests,
        ColumnStore(member.id, storages),
    )
    keys = (stores.keyring, stores.ciphertexts)
    opening = Opening(member, guardian, peers, stores.studies.news)
    return Steps(
        CeremonySteps(member, root, stores.keyring, peers),
        ContributionSteps(member, stores.studies, inputs, peers),
        AdditionSteps(member, stores.studies, inputs, peers, public),
        ReleaseSteps(member, stores.studies, guardian, keys, opening),
        ColumnSteps(member, columns, peers, opening),
        EvaluationSteps(
            member, stores.studies, inputs, StoredColumns(columns, public), opening, guardian
        ),
    )
