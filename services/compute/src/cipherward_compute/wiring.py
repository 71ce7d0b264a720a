"""What a running compute service is made of, put together by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.reads import ReadGate
from cipherward_compute import arithmetic
from cipherward_compute.additions import AdditionSteps
from cipherward_compute.arithmetic.keys import warm
from cipherward_compute.ceremony.resharing import ResharingSteps
from cipherward_compute.ceremony.steps import PROFILE, CeremonySteps
from cipherward_compute.choices import Choices, Epochs, Patients, VerifyPresentations
from cipherward_compute.columns_steps import ColumnSteps
from cipherward_compute.config import ComputeConfig
from cipherward_compute.contributions import ContributionSteps
from cipherward_compute.enrolments_shown import EnrolmentDesk
from cipherward_compute.evaluation import EvaluationSteps, StoredColumns
from cipherward_compute.exchange import Exchange
from cipherward_compute.figures import StudyFigures
from cipherward_compute.guardian import Guardian
from cipherward_compute.inference.desk import Asker, Enrolled, InferenceDesk
from cipherward_compute.inference.running import Others, UseRunner
from cipherward_compute.inference.steps import InferenceSteps
from cipherward_compute.jobs.opening import open_public_arithmetic
from cipherward_compute.jobs.public import PublicArithmetic
from cipherward_compute.member import Member
from cipherward_compute.opening import Opening
from cipherward_compute.orders import BlockHandler, Consequences
from cipherward_compute.peers import Peers
from cipherward_compute.readers import StudyReads
from cipherward_compute.release import ReleaseSteps
from cipherward_compute.schema import SCHEMA
from cipherward_compute.service import ComputeService, Jobs
from cipherward_compute.shelves import FIGURES, sealed_shelves
from cipherward_compute.stores import Stores
from cipherward_compute.tasks import Outbound, Steps, Tasks
from cipherward_compute.vault import KEY_BYTES, CeremonyRoot, Vault
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
from cipherward_member.restored import read_restored
from cipherward_member.scrub import FILE_NAME as SCRUB_FILE
from cipherward_member.scrub import Scrub
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
        folder = DataFolder(config.data_dir, genesis.chain_id, genesis.digest)
        await asyncio.to_thread(stack.enter_context, folder)
        database = Database(folder.path / DATABASE_NAME, SCHEMA)
        await stack.enter_async_context(database)
        await database.overwrite_deleted()
        pool = WorkerPool(config.workers, config.jobs_waiting_max, arithmetic.__name__)
        await stack.enter_async_context(pool)
        await _warm(pool, config.workers)
        public = await stack.enter_async_context(open_public_arithmetic(config, genesis, pool))
        readiness.set("store", True)
        restored = await asyncio.to_thread(read_restored, folder.path)
        vault = Vault(keys.data)
        stores = Stores.over(database, vault, config, outside.clock, restored)
        await stores.data_sets.clear()
        member = Member(config.member, genesis.chain_id, outside.registry, pool)
        peers = Peers(await stack.enter_async_context(PeerChannels(outside.open_peer)))
        storages = await stack.enter_async_context(PeerChannels(outside.open_storage))
        fresh_seconds = genesis.parameters.fresh_seconds
        progress = ChainProgress(fresh_seconds, nanoseconds(outside.clock))
        signer = ReportSigner(keys.signer, genesis.chain_id, progress.block_seconds)
        reports = Reports(stores.chain.reports, signer, outside.submit)
        news = stores.studies.news
        tasks = Tasks(
            stores.chain,
            _steps(member, stores, CeremonyRoot(keys.ceremony), (peers, storages), public),
            Outbound(reports, news),
            progress.require_fresh,
            config.studies_at_once_max,
            restored,
        )
        sources = stores.scores(
            StoredColumns(stores.columns(member.id, storages), public, genesis.chain_id)
        )
        uses = UseRunner(
            member, sources, Others(outside.submit, peers, stores.shares, progress.block_seconds)
        )
        handler = BlockHandler(
            member.id, stores.chain, progress, Consequences(tasks, reports, news, uses)
        )
        stored = await stores.chain.checkpoint()
        place = Place(genesis, outside.registry, folder.path, stored)
        await asyncio.to_thread(place.check)
        gate = ReadGate(genesis.chain_id, outside.clock)
        epochs = Epochs(lambda: genesis.epoch_at(progress.block_seconds()), progress.require_fresh)
        patients = Patients(gate, member, outside.verify, epochs)
        shelves = sealed_shelves(database, vault)
        async with running(
            follow_source(outside.source, place, handler.handle, progress),
            tasks.run(),
            reports.run(),
            uses.run(),
            StudyFigures(database).run(),
            Scrub(shelves, folder.path / SCRUB_FILE, FIGURES).run(),
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
                        stores.shown(),
                        progress.require_fresh,
                    ),
                    EnrolmentDesk(
                        gate, member.id, patients, stores.enrolments, progress.require_fresh
                    ),
                    stores.column_keys,
                    stores.models,
                    InferenceDesk(
                        member,
                        sources,
                        Enrolled(stores.enrolments, stores.opt_outs, stores.flags),
                        Asker(
                            keys.signer, progress.block_seconds, progress.require_fresh, uses.wake
                        ),
                    ),
                    drain,
                )
            )


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
    inputs = stores.inputs()
    columns = stores.columns(member.id, storages)
    stored = StoredColumns(columns, public, member.chain_id)
    keys = (stores.keyring, stores.ciphertexts)
    opening = Opening(member, guardian, peers, stores.studies.news)
    return Steps(
        CeremonySteps(member, root, stores.keyring, peers),
        ContributionSteps(member, stores.studies, inputs, peers),
        AdditionSteps(member, stores.studies, inputs, peers, public),
        ReleaseSteps(member, stores.studies, guardian, keys, opening),
        ColumnSteps(member, columns, peers, opening, public),
        EvaluationSteps(member, stores.studies, inputs, stored, opening, guardian),
        InferenceSteps(member, stores.scores(stored), peers, public, opening, guardian),
        ResharingSteps(member, root, stores.keyring, peers),
    )
