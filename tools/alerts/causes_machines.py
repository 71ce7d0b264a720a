"""Causes in disks, certificates, processes and the chain's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final

from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward.storage.v1 import storage_service_pb2 as storage_pb
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.emergencies import open_in_emergency
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.errors import ClientError
from cipherward_kit.devca import DevAuthority, save_identity
from tools.alerts.cause import CannotCause, Cause
from tools.alerts.causes_members import REASON
from tools.alerts.world import A, B, C, World

CERTIFICATE_DAYS: Final = 0.5
DATABASE: Final = "storage.sqlite"  # of an embedded storage
LEFT_BYTES: Final = 256 * 1024  # of the small disk's 16 MiB: 1.6 %
CALL_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.05  # between two calls of a caller: twenty a second
BRANCH_SECONDS: Final = 10.0  # some blocks, of which there comes one every 3 s
HALT_SECONDS: Final = 75.0  # a timer is late by more than a minute then
CONSENT_SECONDS: Final = 10  # the consent whose end falls into the halt
# A process that is chopped: so many sleeps of over a second with a moment between them, then awake.
SLEEPS, ASLEEP_SECONDS, MOMENT_SECONDS, AWAKE_SECONDS = 3, 1.1, 0.004, 1.5


@asynccontextmanager
async def calling(
    call: Callable[[], Awaitable[object]], callers: int, pause_seconds: float = PAUSE_SECONDS
) -> AsyncGenerator[None]:
    """Let so many callers call all the time while the context is open, whatever is answered."""

    async def one() -> None:
        while True:
            with suppress(aio.AioRpcError):
                await call()
            await asyncio.sleep(pause_seconds)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(callers)]
        yield
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def full_disk(world: World) -> AsyncGenerator[None]:
    """Fill the small disk of one identity service but for a little."""
    if world.disk is None:
        raise CannotCause("only root can give a service a small disk")
    ballast = world.disk / "ballast"
    room = os.statvfs(world.disk)
    await asyncio.to_thread(ballast.write_bytes, bytes(room.f_bavail * room.f_frsize - LEFT_BYTES))
    try:
        yield
    finally:
        ballast.unlink()


@asynccontextmanager
async def old_certificate(world: World) -> AsyncGenerator[None]:
    """Give one compute service a certificate for half a day, and start it again."""
    home, name = world.running.folder.member(C), f"{C}/compute"
    certificate, private_key = home.certificate("compute")
    before = certificate.read_bytes(), private_key.read_bytes()
    authority = DevAuthority.load(home.key(""), C)
    async with world.stopped(name):
        save_identity(authority.issue("compute", days=CERTIFICATE_DAYS), home.tls, "compute")
    try:
        yield
    finally:
        certificate.write_bytes(before[0])
        private_key.write_bytes(before[1])


def flip(path: Path) -> None:
    """Change the last byte of a file."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def spoil_slot(data: Path, record: bytes) -> None:
    """Change what a storage keeps of a record's key."""
    with closing(sqlite3.connect(data / DATABASE, timeout=CALL_SECONDS)) as connection, connection:
        (kept,) = connection.execute(
            "SELECT kept FROM records WHERE record_id = ?", (record,)
        ).fetchone()
        spoiled = kept[:-1] + bytes([kept[-1] ^ 1])
        connection.execute("UPDATE records SET kept = ? WHERE record_id = ?", (spoiled, record))


@asynccontextmanager
async def damaged_storage(world: World) -> AsyncGenerator[None]:
    """Change bytes of a record and of a slot on one disk; then somebody reads, and erases."""
    data = world.running.folder.member(B).data("storage")
    bodies = set(_files(data))
    _, read = await world.record(B)
    (body,) = set(_files(data)) - bodies
    owner, erased = await world.record(B)
    _, kept = await world.record(B)
    await asyncio.to_thread(flip, body)
    await asyncio.to_thread(spoil_slot, data, kept)
    with suppress(ClientError):  # RECORD_CORRUPT
        await open_in_emergency(world.alliance, await world.clinician(), read, REASON, member=B)
    await erase_record(world.alliance, owner, erased)
    yield


def _files(data: Path) -> list[Path]:
    """Return the bodies that a storage keeps: files in folders of two hexadecimal digits."""
    return [path for path in data.rglob("??/*") if path.is_file()]


@asynccontextmanager
async def stopped_contract(world: World) -> AsyncGenerator[None]:
    """Stop contract, and with it the chain, while people go on submitting; a consent ends then."""
    await world.ensure_canaries()
    owner, record = await world.record(A)
    until = int(time.time()) + CONSENT_SECONDS
    await grant_consent(world.alliance, owner, ConsentTerms(record, B, until))
    nothing = ledger_pb.SubmitRequest(transaction=b"")
    began = time.monotonic()
    async with world.stopped(f"{A}/contract"):
        ledger = world.alliance.ledger_of(A)
        async with calling(lambda: ledger.Submit(nothing, timeout=CALL_SECONDS), 2):
            yield
            await asyncio.sleep(began + HALT_SECONDS - time.monotonic())


@asynccontextmanager
async def read_only_keys(world: World) -> AsyncGenerator[None]:
    """Let a storage find the folder of its slot keys read-only, as a broken disk is remounted."""
    folder = world.running.folder.member(C).data("storage") / "slot-keys"
    await asyncio.to_thread(_mount, "--bind", str(folder), str(folder))
    try:
        await asyncio.to_thread(_mount, "-o", "remount,ro,bind", str(folder))
        yield
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode:
        raise CannotCause("only root can make a folder read-only for root")


@asynccontextmanager
async def chopped_storage(world: World) -> AsyncGenerator[None]:
    """Let a storage run for moments only, so that it falls asleep in the middle of calls.

    Between two rounds it is awake for long enough to be scraped.
    """
    pid = world.running.supervisor.pids[f"{B}/storage"]
    stub, request = world.hospitals[B].alliance.storage_of(B), storage_pb.ListRecordsRequest()

    async def sleep_and_wake() -> None:
        try:
            while True:
                for _ in range(SLEEPS):
                    os.kill(pid, signal.SIGSTOP)
                    await asyncio.sleep(ASLEEP_SECONDS)
                    os.kill(pid, signal.SIGCONT)
                    await asyncio.sleep(MOMENT_SECONDS)
                await asyncio.sleep(AWAKE_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)

    async with calling(lambda: stub.ListRecords(request, timeout=CALL_SECONDS), 16, 1.0):
        sleeper = asyncio.create_task(sleep_and_wake())
        try:
            yield
        finally:
            sleeper.cancel()
            with suppress(asyncio.CancelledError):
                await sleeper


@asynccontextmanager
async def restored_chain(world: World) -> AsyncGenerator[None]:
    """Restore the one ledger and its contract from a copy that lacks blocks which others have.

    It signs other blocks at the heights of those: what nobody may ever do.
    """
    names = f"{A}/ledger", f"{A}/contract"
    home, aside = world.running.folder.member(A), world.running.folder.root / "aside"
    async with world.stopped(*names):
        for name in names:
            service = name.split("/")[1]
            await asyncio.to_thread(shutil.copytree, home.data(service), aside / service)
    await asyncio.sleep(BRANCH_SECONDS)
    async with world.stopped(*names):
        for name in names:
            service = name.split("/")[1]
            await asyncio.to_thread(shutil.rmtree, home.data(service))
            await asyncio.to_thread(shutil.copytree, aside / service, home.data(service))
    yield


MACHINE_CAUSES: Final = (
    Cause(
        "a disk is filled to 1.6 %",
        ("CipherwardDiskFilling", "CipherwardDiskNearlyFull"),
        full_disk,
    ),
    Cause(
        "a service runs with a certificate for half a day",
        ("CipherwardCertificateExpiring", "CipherwardCertificateNearlyExpired"),
        old_certificate,
    ),
    Cause(
        "bytes of a record and of a slot are changed on one disk",
        (
            "CipherwardStoredBytesCorrupt",
            "CipherwardSlotsUnusable",
            "CipherwardErasureLate",
        ),
        damaged_storage,
        90.0,
    ),
    Cause(
        "the folder of slot keys is mounted read-only", ("CipherwardSlotKeyOld",), read_only_keys
    ),
    Cause(
        "one storage service is frozen again and again in the middle of calls",
        ("CipherwardLatencyBurnsFast", "CipherwardLatencyBurnsSlowly"),
        chopped_storage,
    ),
    Cause(
        "contract is stopped, and the chain with it, while transactions are submitted",
        (
            "CipherwardContractAway",
            "CipherwardChainStalled",
            "CipherwardBlockFeedLagging",
            "CipherwardAvailabilityBurnsFast",
            "CipherwardAvailabilityBurnsSlowly",
            "CipherwardCanariesSilentOnTheChain",
        ),
        stopped_contract,
        120.0,
        afterwards=("CipherwardTimersLate",),
    ),
    Cause(  # the last: nobody goes on after it
        "the ledger and its contract are restored from before their last blocks",
        ("CipherwardChainForked",),
        restored_chain,
        90.0,
    ),
)
