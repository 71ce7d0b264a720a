"""What a running identity service is made of, put together by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis
from cipherward_chain.group_keys import OPENING
from cipherward_identity import arithmetic
from cipherward_identity.admissions import Admissions
from cipherward_identity.config import IdentityConfig
from cipherward_identity.desk_key import DeskKey
from cipherward_identity.follow import ChainClock, UnixClock
from cipherward_identity.issuance import Issuance
from cipherward_identity.issuer import KEY_MATERIAL_BYTES, own_issuer
from cipherward_identity.openings import Openings
from cipherward_identity.orders import BlockHandler, Consequences
from cipherward_identity.registry import Registry
from cipherward_identity.renewal import Renewal
from cipherward_identity.schema import SCHEMA
from cipherward_identity.service import IdentityService
from cipherward_identity.store import IdentityStore
from cipherward_identity.warrants import Warrants
from cipherward_kit.database import Database
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.jobs import WorkerPool
from cipherward_member.alliance_files import read_key, read_member_signer
from cipherward_member.background import running
from cipherward_member.block_source import BlockSource
from cipherward_member.ceremonies import Ceremonies, Guardian
from cipherward_member.ceremony_posts import CeremonyPosts
from cipherward_member.ceremony_rows import SqliteCeremonies
from cipherward_member.chain_rows import SqliteReports
from cipherward_member.following import ChainProgress, nanoseconds
from cipherward_member.guardian_vault import GuardianVault
from cipherward_member.registry import MemberRegistry
from cipherward_member.reports import Reports, ReportSigner, SubmitBatch
from cipherward_member.source_following import Place

DATABASE_NAME = "identity.db"


@dataclass(frozen=True, slots=True)
class Outside:
    """What the service needs of others.

    members: the alliance's registry; it follows the blocks. source: of proven blocks, untrusted.
    submit: the ledger's SubmitBatch.
    """

    members: MemberRegistry
    source: BlockSource
    submit: SubmitBatch


@dataclass(frozen=True, slots=True)
class _Guardianship:
    """This member's part in the opening key, and what runs for it."""

    ceremonies: Ceremonies
    openings: Openings
    reports: Reports

    @classmethod
    def of(
        cls,
        guardian: Guardian,
        keys: tuple[GuardianVault, MemberSigner],
        database: Database,
        submit: SubmitBatch,
        progress: ChainProgress,
    ) -> _Guardianship:
        vault, signer = keys
        reports = Reports(
            SqliteReports(database),
            ReportSigner(signer, guardian.chain_id, progress.block_seconds),
            submit,
        )
        posts = CeremonyPosts(signer, guardian.chain_id, progress.block_seconds, submit)
        ceremonies = Ceremonies(guardian, SqliteCeremonies(database), vault, posts, progress)
        openings = Openings(
            guardian, ceremonies, Warrants(database), IdentityStore(database), reports, progress
        )
        return cls(ceremonies, openings, reports)


@asynccontextmanager
async def open_identity(
    config: IdentityConfig,
    genesis: Genesis,
    outside: Outside,
    *,
    local: UnixClock = time.time,
) -> AsyncGenerator[IdentityService]:
    """Open folder, store and workers, follow the chain, and yield the service on top of them.

    Raises:
        CannotStart: one of its subclasses says what is wrong with the key, folder or progress.
    """
    async with AsyncExitStack() as stack:
        material = await asyncio.to_thread(
            read_key, config.issuer_key_file, KEY_MATERIAL_BYTES, "issuer_key_file"
        )
        signer = await asyncio.to_thread(read_member_signer, config, genesis)
        issuer = own_issuer(material, genesis, config.member)
        desk_key = DeskKey.derive(material, chain_id=genesis.chain_id, member=config.member)
        folder = DataFolder(config.data_dir, genesis.chain_id, genesis.digest)
        await asyncio.to_thread(stack.enter_context, folder)
        database = Database(folder.path / DATABASE_NAME, SCHEMA)
        store = IdentityStore(await stack.enter_async_context(database))
        await database.overwrite_deleted()
        progress = ChainProgress(genesis.parameters.fresh_seconds, nanoseconds(local))
        guardian = Guardian(genesis.chain_id, config.member, OPENING)
        vault = GuardianVault.derive(
            material, chain_id=guardian.chain_id, member=guardian.member, purpose=OPENING
        )
        part = _Guardianship.of(guardian, (vault, signer), database, outside.submit, progress)
        handler = BlockHandler(
            config.member, database, Consequences(part.ceremonies, part.openings, part.reports)
        )
        place = Place(genesis, outside.members, folder.path, await store.load_checkpoint())
        await asyncio.to_thread(place.check)
        clock = ChainClock(place, outside.source, store, progress, handler)
        # Two pools: a flood of renewals, which anyone may ask for, never delays the ledger, and the
        # issuer's key stays in this process.
        waiting_max, module = config.jobs_waiting_max, arithmetic.__name__
        verifiers = WorkerPool(config.workers, waiting_max, module)
        await stack.enter_async_context(verifiers)
        signers = await stack.enter_async_context(WorkerPool(0, waiting_max, module))
        registry = Registry(outside.members, clock)
        work = clock.run(), part.ceremonies.run(), part.openings.run(), part.reports.run()
        async with running(*work):
            yield IdentityService(
                Admissions(issuer, desk_key, store, clock, open_max=config.admissions_open_max),
                Issuance(issuer, desk_key, registry, clock, store, signers),
                Renewal(issuer, clock, store, signers),
                registry,
                verifiers,
                part.openings,
            )
