"""A record of 64 MiB, put and got: encrypted, anchored and released, against the same in the clear.

Put is all that `put_record` does: sealing, the upload until it is on the disk, the owner's
countersignature with a fresh pseudonym, the anchor on the chain with its verified receipt. Get is
all that `get_record` does: the opening on the chain, the released key, the download, every check,
the decryption; once into a file that is synced, and once kept in memory. The peer streams the same
64 MiB between this process and another over the same kind of channel, in messages of the same size,
with fdatasync wherever they end in a file. They take turns.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import statistics
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from grpc import aio

from bench.clear_peer import DONE, GET, PART_BYTES, PUT, SHOWN_AS
from bench.results import Row, Spread, Target
from bench.stage import Stage, whole_alliance
from cipherward_client.alliance.ports import HOST, free_ports
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import TrustRegistry

NAMES = PUT_NAME, GET_NAME, MEMORY_NAME = "record-put", "record-get", "record-get-memory"
MEMBER, READER = "hospital-a", "hospital-b"
RECORD_BYTES = 64 * 1024 * 1024
MIB = 1 << 20
RUNS = 7
CALL_SECONDS, START_SECONDS = 120.0, 30.0
TARGET = Target(0.6, at_least=True, of_ratio=True)


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds of one transfer, and of the peer's just before it."""

    seconds: float
    peer_seconds: float


def measure() -> list[Row]:
    """Return the rows."""
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    content = secrets.token_bytes(RECORD_BYTES)
    turns = list[dict[str, Turn]]()
    async with whole_alliance() as stage, _peer(stage) as peer:
        patient = await stage.person(MEMBER)
        clinician = await stage.person(READER, STAFF, "clinician")
        for _ in range(RUNS + 1):
            turns.append(await _turn(stage, peer, (patient, clinician), content))
    # The first turn warms up.
    return [_row(name, [turn[name] for turn in turns[1:]]) for name in NAMES]


def _row(name: str, turns: Sequence[Turn]) -> Row:
    size = RECORD_BYTES / MIB
    speeds = [size / turn.seconds for turn in turns]
    ratios = [turn.peer_seconds / turn.seconds for turn in turns]
    peer = f"{size / statistics.median(turn.peer_seconds for turn in turns):.0f} MiB/s in the clear"
    kind = f"turns; ratio {min(ratios):.2f}..{max(ratios):.2f}"
    return Row(
        name,
        statistics.median(speeds),
        "MiB/s",
        Spread.extremes(speeds, kind),
        TARGET,
        peer,
        statistics.median(ratios),
    )


async def _turn(
    stage: Stage, peer: aio.Channel, people: tuple[Wallet, Wallet], content: bytes
) -> dict[str, Turn]:
    """Measure everything once, each beside its peer."""
    patient, clinician = people
    folder = stage.folder.root / f"got-{secrets.token_hex(4)}"
    folder.mkdir()
    clear_put, done = await _timed(_put_clear(peer, content))
    owner = WalletOwner(stage.alliance, patient)
    put, record = await _timed(put_record(stage.hospitals[MEMBER], content, owner))
    terms = ConsentTerms(record.record_id, READER, int(time.time()) + 3_600)
    given = await grant_consent(stage.alliance, patient, terms)
    grant = record.record_id, given.grant_id
    clear_get, got = await _timed(_get_clear(peer, folder / "clear"))
    get, saved = await _timed(_get(stage, clinician, grant, folder / "record"))
    clear_memory, held = await _timed(_get_clear_in_memory(peer))
    memory, opened = await _timed(get_record(stage.alliance, clinician, *grant))
    if (done, got.read_bytes(), saved.read_bytes()) != (DONE, content, content):
        raise AssertionError("what came back is not what was put")
    if (held, opened.content) != (content, content):
        raise AssertionError("what came back is not what was put")
    return {
        PUT_NAME: Turn(put, clear_put),
        GET_NAME: Turn(get, clear_get),
        MEMORY_NAME: Turn(memory, clear_memory),
    }


async def _timed(work: Awaitable[Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = await work
    return time.perf_counter() - started, result


async def _put_clear(channel: aio.Channel, content: bytes) -> bytes:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(content), PART_BYTES):
            yield content[start : start + PART_BYTES]

    # Without serialisers a message is the bytes themselves, and the call has no types.
    call = cast("Any", channel).stream_unary(PUT)
    return await call(parts(), timeout=CALL_SECONDS)


async def _get_clear(channel: aio.Channel, target: Path) -> Path:
    call = cast("Any", channel).unary_stream(GET)
    with target.open("xb") as file:
        async for part in call(b"", timeout=CALL_SECONDS):
            await asyncio.to_thread(file.write, part)
        await asyncio.to_thread(_sync, file)
    return target


async def _get_clear_in_memory(channel: aio.Channel) -> bytes:
    call = cast("Any", channel).unary_stream(GET)
    content = BytesIO()  # as the SDK gathers a record
    async for part in call(b"", timeout=CALL_SECONDS):
        content.write(part)
    return content.getvalue()


async def _get(stage: Stage, clinician: Wallet, grant: tuple[bytes, bytes], target: Path) -> Path:
    opened = await get_record(stage.alliance, clinician, *grant)
    with target.open("xb") as file:
        await asyncio.to_thread(file.write, opened.content)
        await asyncio.to_thread(_sync, file)
    return target


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fdatasync(file.fileno())


@asynccontextmanager
async def _peer(stage: Stage) -> AsyncGenerator[aio.Channel]:
    """Run the peer on the alliance's disk; yield a channel to it."""
    folder, alliance = stage.folder.root / "peer", stage.hospitals[MEMBER].alliance
    folder.mkdir()
    address = f"{HOST}:{free_ports(1)[0]}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.clear_peer", str(os.getpid()), address),
        *(str(folder), str(stage.folder.root), MEMBER),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is not None:
            async with asyncio.timeout(START_SECONDS):
                await process.stdout.readline()
        members = alliance.genesis.members.values()
        registry = TrustRegistry({m.id: m.ca_certificate.encode() for m in members})
        channel = open_channel(
            address,
            identity=alliance.identity,
            registry=registry,
            peer_member=MEMBER,
            peer_service=SHOWN_AS,
        )
        async with channel:
            yield channel
    finally:
        process.terminate()
        await process.wait()
