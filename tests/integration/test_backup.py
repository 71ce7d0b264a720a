"""A member's stores are lost while the alliance runs, and come back: from its own backup, from the
others and its keys alone, and at last the chain itself.

Soak: it starts an alliance twice, each time some twenty seconds.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.backup import errors
from cipherward_client.backup.making import make_backup
from cipherward_client.backup.restoring import restore
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import open_hospital
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.wallet import Wallet

pytestmark = [pytest.mark.slow, pytest.mark.soak]

LEDGER, LOST, EMPTY = "hospital-a", "hospital-b", "hospital-c"
CONTENT = secrets.token_bytes(300_000)
CONSENT_SECONDS = 3600


@dataclass
class People:
    """A patient whose record LOST stores, a clinician of hospital-d, and their consent."""

    patient: Wallet
    clinician: Wallet
    record: bytes
    consent: bytes


@asynccontextmanager
async def connected(folder: AllianceFolder) -> AsyncGenerator[Alliance]:
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
        yield alliance


async def person(
    folder: AllianceFolder, alliance: Alliance, member: str, schema: str, role: str = ""
) -> Wallet:
    """Return the wallet of somebody who was at a hospital's desk."""
    wallet = Wallet.create(alliance.chain_id)
    async with open_hospital(folder, member) as hospital:
        code = await admit_holder(hospital, schema, role=role)
    await obtain_credential(alliance, wallet, member, code)
    return wallet


async def settled(folder: AllianceFolder) -> People:
    """Have a record stored at LOST, with a consent for a clinician of hospital-d."""
    async with connected(folder) as alliance:
        patient = await person(folder, alliance, LOST, "patient")
        clinician = await person(folder, alliance, "hospital-d", "staff", "clinician")
        async with open_hospital(folder, LOST) as hospital:
            put = await put_record(hospital, CONTENT, WalletOwner(alliance, patient, "a visit"))
        ends = int(alliance.now()) + CONSENT_SECONDS
        terms = ConsentTerms(put.record_id, "hospital-d", ends)
        consent = await grant_consent(alliance, patient, terms)
        return People(patient, clinician, put.record_id, consent.grant_id)


async def require_readable(folder: AllianceFolder, people: People) -> None:
    """Open the record: three of four must give their parts, its custodian LOST among them."""
    async with connected(folder) as alliance:
        opened = await get_record(alliance, people.clinician, people.record, people.consent)
    assert opened.content == CONTENT


def backed_up(folder: AllianceFolder, member: str, to: Path) -> tuple[Path, Path]:
    """Back a member up; here slot keys are renewed every ten seconds, so both archives must be of
    the same keys.
    """
    keys = folder.member(member).data("storage") / "slot-keys"
    data, slots = to / f"{member}.tar", to / f"{member}-slots.tar"
    while True:
        before = sorted(keys.iterdir())
        try:
            make_backup(folder, member, data, (), replace=True)
            make_backup(folder, member, slots, ["slot-keys"], replace=True)
        except errors.StoreChanging:
            continue
        if sorted(keys.iterdir()) == before:
            return data, slots


async def put_back(folder: AllianceFolder, member: str, archives: tuple[Path, Path]) -> int:
    """Lose all data of a member and restore both archives; return the chain's height then."""
    await asyncio.to_thread(shutil.rmtree, folder.member(member).data(""))
    found = await restore(folder, member, archives[0])
    await restore(folder, member, archives[1])
    return found.height


async def test_lost_members_come_back(tmp_path: Path) -> None:
    root, kept = tmp_path / "alliance", tmp_path / "kept"
    kept.mkdir()
    async with running_alliance(root) as running:
        folder = running.folder
        people = await settled(folder)
        archives = await asyncio.to_thread(backed_up, folder, LOST, kept)
        await require_readable(folder, people)  # orders come after the backup

        await running.end_member(LOST)
        height = await put_back(folder, LOST, archives)
        mark = folder.member(LOST).data("compute") / "restored-at-height"
        assert int(mark.read_text()) == height > 0
        await running.start_member(LOST)
        await require_readable(folder, people)
        await require_refusals(folder, archives[0])

        await begin_with_keys_alone(running)
        await require_readable(folder, people)
    archives = await asyncio.to_thread(backed_up, folder, LEDGER, kept)
    assert await put_back(folder, LEDGER, archives) > height  # the chain is in its archive
    async with running_alliance(root):
        await require_readable(folder, people)


async def require_refusals(folder: AllianceFolder, archive: Path) -> None:
    """Nothing is put over what runs."""
    with pytest.raises(errors.TargetNotEmpty):
        await restore(folder, LOST, archive)


async def begin_with_keys_alone(running: RunningAlliance) -> None:
    """Lose everything of a member that has no backup: keys and chain are enough to go on."""
    await running.end_member(EMPTY)
    await asyncio.to_thread(shutil.rmtree, running.folder.member(EMPTY).data(""))
    await running.start_member(EMPTY)
