"""The canaries' process: reads as its wiring diagram."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from cipherward_chain.genesis import Genesis, GenesisMalformed
from cipherward_chain.members import AuthoritiesSet
from cipherward_client.canaries.config import CanaryConfig
from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.schedule import Kind, Schedule
from cipherward_client.canaries.stage import Files, open_stage
from cipherward_client.canaries.watch import CANARIES, SCENES, Waits, Watch
from cipherward_client.sdk.authority_files import following_authorities
from cipherward_client.sdk.errors import ClientError
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.drain import Drain
from cipherward_kit.errors import CannotStart
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve_probes
from cipherward_member.alliance_files import known_authorities, trust_registry

DOMAIN = "canary.cipherward"
MEMORY_FILE = "canaries.cbor"


class CanaryFilesUnusable(CannotStart):
    """The alliance's files, or the member's certificate or key, cannot be used."""

    exit_status = 60


async def serve_canaries(config: CanaryConfig) -> None:
    """Wire the canaries by hand: this function is the whole dependency graph."""
    genesis = await asyncio.to_thread(_read_genesis, config)
    readiness, drain = Readiness(SCENES, CANARIES), Drain()
    async with AsyncExitStack() as stack:
        trusted = trust_registry(genesis)

        def take(proven: Mapping[str, AuthoritiesSet]) -> None:
            trusted.replace(known_authorities(replace(genesis, authorities=proven)))

        await stack.enter_async_context(
            following_authorities(config.endpoints_file, genesis.trust_root(), take)
        )
        own = await stack.enter_async_context(follow_identity(config, trusted, readiness))
        folder = stack.enter_context(DataFolder(config.data_dir, genesis.chain_id, genesis.digest))
        memory = await asyncio.to_thread(Memory.load, folder.path / MEMORY_FILE, genesis.chain_id)
        files = Files(config.endpoints_file, config.genesis_file, config.member_key_file, own)
        await _check(files, memory, config.member)
        waits = Waits(config.settle_seconds, config.expiry_seconds)
        watch = Watch(memory, partial(open_stage, files, memory), readiness, waits)
        periods = {
            Kind.READS: float(config.round_seconds),
            Kind.ACTS: float(config.act_round_seconds),
        }
        schedule = Schedule(periods, time.monotonic, secrets.SystemRandom().random)
        async with asyncio.TaskGroup() as group:
            working = group.create_task(watch.run(schedule))
            await serve_probes(config, domain=DOMAIN, readiness=readiness, drain=drain)
            working.cancel()


def _read_genesis(config: CanaryConfig) -> Genesis:
    try:
        return Genesis.parse(config.genesis_file.read_bytes())
    except (OSError, GenesisMalformed) as error:
        raise CanaryFilesUnusable(f"the genesis file is unusable: {error}") from None


async def _check(files: Files, memory: Memory, member: str) -> None:
    """Refuse to start with files that no round could use."""
    try:
        async with open_stage(files, memory) as stage:
            found = stage.hospital.member
    except ClientError as error:
        raise CanaryFilesUnusable(f"{error.cause} {error.fix} ({error.detail})") from None
    if found != member:
        raise CanaryFilesUnusable(f"the certificate is of {found}, not of {member}")
