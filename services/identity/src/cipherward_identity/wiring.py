"""What a running identity service is made of, put together by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from cipherward_chain.genesis import Genesis
from cipherward_identity import arithmetic
from cipherward_identity.admissions import Admissions
from cipherward_identity.config import IdentityConfig
from cipherward_identity.desk_key import DeskKey
from cipherward_identity.follow import ChainClock, UnixClock
from cipherward_identity.issuance import Issuance
from cipherward_identity.issuer import KEY_MATERIAL_BYTES, own_issuer
from cipherward_identity.registry import Registry
from cipherward_identity.renewal import Renewal
from cipherward_identity.service import IdentityService
from cipherward_identity.store import SCHEMA, IdentityStore
from cipherward_kit.database import Database
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.jobs import WorkerPool
from cipherward_member.alliance_files import read_key
from cipherward_member.background import running
from cipherward_member.block_source import BlockSource
from cipherward_member.registry import MemberRegistry
from cipherward_member.source_following import Place

DATABASE_NAME = "identity.db"


@asynccontextmanager
async def open_identity(
    config: IdentityConfig,
    genesis: Genesis,
    members: MemberRegistry,
    source: BlockSource,
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
        issuer = own_issuer(material, genesis, config.member)
        desk_key = DeskKey.derive(material, chain_id=genesis.chain_id, member=config.member)
        folder = DataFolder(config.data_dir, genesis.chain_id)
        await asyncio.to_thread(stack.enter_context, folder)
        database = Database(folder.path / DATABASE_NAME, SCHEMA)
        store = IdentityStore(await stack.enter_async_context(database))
        place = Place(genesis, members, folder.path, await store.load_checkpoint())
        await asyncio.to_thread(place.check)
        clock = ChainClock(place, source, store, local=local)
        # Two pools: a flood of renewals, which anyone may ask for, never delays the ledger, and the
        # issuer's key stays in this process.
        waiting_max, module = config.jobs_waiting_max, arithmetic.__name__
        verifiers = WorkerPool(config.workers, waiting_max, module)
        await stack.enter_async_context(verifiers)
        signer = await stack.enter_async_context(WorkerPool(0, waiting_max, module))
        registry = Registry(members, clock)
        async with running(clock.run()):
            yield IdentityService(
                Admissions(issuer, desk_key, store, clock, open_max=config.admissions_open_max),
                Issuance(issuer, desk_key, registry, clock, store, signer),
                Renewal(issuer, clock, store, signer),
                registry,
                verifiers,
            )
