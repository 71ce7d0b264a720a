"""Causes in disks, certificates and processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final

from cipherward_client.sdk.credentials import admit_holder
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
# The rule's hour is two minutes here, and begins with quick answers to what was asked before.
BURN_SECONDS: Final = 180.0
# A write waits for two seconds of these on average, well within a database's patience.
HELD_SECONDS, FREE_SECONDS = 2.4, 0.2
# Whoever was answered between two holds asks again in the next.
CALLERS, CALLERS_PAUSE_SECONDS = 8, 0.5
IDENTITY_DATABASE: Final = "identity.db"


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
async def held_database(world: World) -> AsyncGenerator[None]:
    """Hold a database of identity for seconds at a time, as a slow disk or a copy by hand does."""
    hospital = world.hospitals[B]
    data = world.running.folder.member(B).data("identity") / IDENTITY_DATABASE

    def hold() -> None:
        with closing(sqlite3.connect(data, timeout=CALL_SECONDS, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(HELD_SECONDS)
            other.execute("ROLLBACK")

    async def hold_and_free() -> None:
        while True:
            await asyncio.to_thread(hold)
            await asyncio.sleep(FREE_SECONDS)

    async def admit() -> None:
        with suppress(ClientError):
            await admit_holder(hospital)

    async with calling(admit, CALLERS, CALLERS_PAUSE_SECONDS):
        holding = asyncio.create_task(hold_and_free())
        try:
            yield
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError):
                await holding


# What the doctor says of the certificate's file: that it is the issuer who is late.
OLD_FILE: Final = Printed(
    {"problems": [{"check": "certificates", "where": f"{C}/compute", "problem": "runs out at"}]}
)
ADMITS: Final = {"grpc_method": "cipherward.identity.v1.IdentityService/AdmitHolder"}
SLOWEST: Final = (
    "topk(5, sum by (grpc_method) "
    '(rate(grpc_server_call_duration_seconds_sum{member="hospital-a",component="storage"}[5m]))'
    " / sum by (grpc_method) "
    '(rate(grpc_server_call_duration_seconds_count{member="hospital-a",component="storage"}[5m])))'
)

# Before most others: its windows are the longest, and what other causes leave in them counts too.
LATENCY_CAUSES: Final = (
    Cause(
        "the database of one identity service is held for seconds at a time",
        (
            Finding(
                "CipherwardLatencyBurnsFast",
                {"member": B, "component": "identity"},
                SLOWEST,
                Answer(ADMITS, least=1),
            ),
            Finding(
                "CipherwardLatencyBurnsSlowly",
                {"member": B, "component": "identity"},
                SLOWEST,
                Answer(ADMITS, least=1),
            ),
        ),
        held_database,
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
