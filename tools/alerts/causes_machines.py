"""Causes in disks, certificates and processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final

from cipherward.storage.v1 import storage_service_pb2 as storage_pb
from cipherward_client.sdk.emergencies import open_in_emergency
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.errors import ClientError
from cipherward_kit.devca import DevAuthority, save_identity
from tools.alerts.cause import CannotCause, Cause
from tools.alerts.causes_members import REASON
from tools.alerts.findings import DOCTOR_OF_MEMBER, Answer, Finding, Logged, Printed
from tools.alerts.world import CALL_SECONDS, B, C, World, calling

CERTIFICATE_DAYS: Final = 0.5
DATABASE: Final = "storage.sqlite"  # of an embedded storage
SMALL_DISK_BYTES: Final = 64 * 1024 * 1024
LEFT_BYTES: Final = 1024 * 1024  # 1.6 %, and more than is written meanwhile
# The rule's hour is two minutes here, and begins with the quick answers that canaries got before.
BURN_SECONDS: Final = 180.0
# A process that is chopped: so many sleeps of over a second with a moment between them, then awake.
SLEEPS, ASLEEP_SECONDS, MOMENT_SECONDS, AWAKE_SECONDS = 3, 1.1, 0.004, 1.5


@asynccontextmanager
async def full_disk(world: World) -> AsyncGenerator[None]:
    """Move an identity service to a small disk, without a reserve, and fill that but for a little.

    With its reserve it would refuse everything before so small a disk is full.
    """
    name, data = f"{C}/identity", world.running.folder.member(C).data("identity")
    aside = data.with_name("identity-aside")
    world.settings[name] = {"CIPHERWARD_LOG_RESERVE_BYTES": "0"}
    try:
        async with world.stopped(name):
            await asyncio.to_thread(shutil.copytree, data, aside)
            size = f"size={SMALL_DISK_BYTES},mode=700"
            await asyncio.to_thread(_mount, "-t", "tmpfs", "-o", size, "cipherward", str(data))
            await asyncio.to_thread(shutil.copytree, aside, data, dirs_exist_ok=True)
        room = os.statvfs(data)
        ballast = bytes(room.f_bavail * room.f_frsize - LEFT_BYTES)
        await asyncio.to_thread((data / "ballast").write_bytes, ballast)
        yield
    finally:
        del world.settings[name]
        async with world.stopped(name):
            if data.is_mount():
                (data / "ballast").unlink(missing_ok=True)
                await asyncio.to_thread(shutil.copytree, data, aside, dirs_exist_ok=True)
                await asyncio.to_thread(_unmount, data)
                await asyncio.to_thread(shutil.copytree, aside, data, dirs_exist_ok=True)


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
async def read_only_keys(world: World) -> AsyncGenerator[None]:
    """Let a storage find the folder of its slot keys read-only, as a broken disk is remounted."""
    folder = world.running.folder.member(C).data("storage") / "slot-keys"
    await asyncio.to_thread(_mount, "--bind", str(folder), str(folder))
    try:
        await asyncio.to_thread(_mount, "-o", "remount,ro,bind", str(folder))
        yield
    finally:
        await asyncio.to_thread(_unmount, folder)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode:
        raise CannotCause("only root can mount a small disk, or a folder that root cannot write")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


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


# What the doctor says of the certificate's file: that it is the issuer who is late.
OLD_FILE: Final = Printed(
    {"problems": [{"check": "certificates", "where": f"{C}/compute", "problem": "runs out at"}]}
)
IDLE: Final = 'max_over_time(scrape_duration_seconds{member="hospital-a",component="storage"}[5m])'

# First of all: latency's windows are the longest, and what other causes leave in them counts too.
LATENCY_CAUSES: Final = (
    Cause(
        "one storage service is frozen again and again in the middle of calls",
        (
            Finding(
                "CipherwardLatencyBurnsFast",
                {"member": B, "component": "storage"},
                IDLE,
                Answer(least=0.5),
            ),
            Finding(
                "CipherwardLatencyBurnsSlowly",
                {"member": B, "component": "storage"},
                IDLE,
                Answer(least=0.5),
            ),
        ),
        chopped_storage,
        BURN_SECONDS,
    ),
)
MACHINE_CAUSES: Final = (
    Cause(
        "a disk is filled to 1.6 %",
        (
            Finding(
                "CipherwardDiskFilling",
                {"member": C, "component": "identity"},
                "du -ah DIR/hospital-a/data/storage",
                Printed("ballast"),
            ),
            Finding(
                "CipherwardDiskNearlyFull",
                {"member": C, "component": "identity"},
                DOCTOR_OF_MEMBER,
                Printed({"problems": [{"check": "disk", "where": f"{C}/identity"}]}),
            ),
        ),
        full_disk,
    ),
    Cause(
        "a service runs with a certificate for half a day",
        (
            Finding(
                "CipherwardCertificateExpiring",
                {"member": C, "component": "compute", "certificate": "own"},
                DOCTOR_OF_MEMBER,
                OLD_FILE,
            ),
            Finding(
                "CipherwardCertificateNearlyExpired",
                {"member": C, "component": "compute", "certificate": "own"},
                DOCTOR_OF_MEMBER,
                OLD_FILE,
            ),
        ),
        old_certificate,
    ),
    Cause(
        "bytes of a record and of a slot are changed on one disk",
        (
            Finding(
                "CipherwardStoredBytesCorrupt",
                {"member": B, "component": "storage"},
                'cipherward_storage_parts_corrupt_total{member="hospital-a"}',
                Answer(least=1),
            ),
            Finding(
                "CipherwardSlotsUnusable",
                {"member": B},
                "slots_unusable",
                Logged({"count": 1}),
            ),
            Finding(
                "CipherwardErasureLate",
                {"member": B},
                'cipherward_storage_slots_unusable{member="hospital-a"}',
                Answer(least=1),
            ),
        ),
        damaged_storage,
        90.0,
    ),
    Cause(
        "the folder of slot keys is mounted read-only",
        (
            Finding(
                "CipherwardSlotKeyOld",
                {"member": C},
                "slot_renewal_put_off",
                Logged({"why": "OSError"}),
            ),
        ),
        read_only_keys,
    ),
)
