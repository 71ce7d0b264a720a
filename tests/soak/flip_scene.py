"""A real alliance that has stored records and released a study, for bits to be flipped in."""

from __future__ import annotations

import asyncio
import random
import secrets
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.running import running_alliance
from cipherward_client.demo.patients import load_patients, spread
from cipherward_client.fhir import VARIABLES
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.records import WalletOwner, put_record
from cipherward_client.sdk.studies import (
    contribute_rows,
    fetch_result,
    propose_study,
    vote,
    watch_study,
)
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft

RECORD_BYTES, RECORDS = 300_000, 3
ASKED = ("age", "bmi", "bp")
POLL_SECONDS = 0.005
OWNER_SECONDS = 3_600


@dataclass(slots=True)
class Scene:
    """What happened in the alliance before anything was flipped.

    `opened` has (record id, grant id, content) of each record; `key_shares` what hospital-a held
    sealed for a moment, by study; `guardian` is a member that gave a share of the result.
    """

    folder: AllianceFolder
    alliance: Alliance
    hospitals: dict[str, Hospital]
    clinician: Wallet
    choose: random.Random
    receipts: list[bytes] = field(default_factory=list[bytes])
    opened: list[tuple[bytes, bytes, bytes]] = field(
        default_factory=list[tuple[bytes, bytes, bytes]]
    )
    key_shares: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    guardian: str = ""

    def flipped(self, octets: bytes) -> bytes:
        """Return the octets with one random bit of one random byte turned."""
        changed = bytearray(octets)
        changed[self.choose.randrange(len(changed))] ^= 1 << self.choose.randrange(8)
        return bytes(changed)


async def person(
    alliance: Alliance, hospital: Hospital, schema: str = "patient", role: str = ""
) -> Wallet:
    """Return the wallet of somebody who was at a hospital's desk."""
    wallet = Wallet.create(alliance.chain_id)
    code = await admit_holder(hospital, schema, role=role)
    await obtain_credential(alliance, wallet, hospital.member, code)
    return wallet


@asynccontextmanager
async def played(root: Path, seed: int) -> AsyncGenerator[Scene]:
    """Run an alliance in `root` that has stored records and released a study."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_alliance(root))
        folder = running.folder
        opened = Alliance.open(folder.endpoints_file, folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(folder, member))
            for member in alliance.genesis.members
        }
        clinician = await person(alliance, hospitals["hospital-b"], "staff", "clinician")
        choose = random.Random(seed)  # noqa: S311 - places, so that a failure repeats
        made = Scene(folder, alliance, hospitals, clinician, choose)
        await store_records(made)
        await release_study(made)
        yield made


async def store_records(scene: Scene) -> None:
    """Store records at the first hospital, with consents for the clinician."""
    hospital = scene.hospitals["hospital-a"]
    patient = await person(scene.alliance, hospital)
    expires = int(scene.alliance.now()) + OWNER_SECONDS
    for _ in range(RECORDS):
        content = secrets.token_bytes(RECORD_BYTES)
        stored = await put_record(hospital, content, WalletOwner(scene.alliance, patient))
        terms = ConsentTerms(stored.record_id, "hospital-b", expires, visits_max=1_000)
        given = await grant_consent(scene.alliance, patient, terms)
        scene.receipts += [stored.act.receipt, given.act.receipt]
        scene.opened.append((stored.record_id, given.grant_id, content))


async def release_study(scene: Scene) -> None:
    """Let the hospitals compute and release a study, and look at what is stored meanwhile."""
    for member, patients in spread(load_patients(), list(scene.hospitals)).items():
        rows = [[patient.values[name] for name in ASKED] for patient in patients]
        await contribute_rows(scene.hospitals[member], "cohort-1", ASKED, rows)
    known = {variable.name: variable for variable in VARIABLES}
    variables = [
        {"name": name, "low": str(known[name].low), "high": str(known[name].high)} for name in ASKED
    ]
    moments = {"kind": "moments", "variables": list(ASKED), "statistics": ["sum", "mean"]}
    researcher = await person(scene.alliance, scene.hospitals["hospital-d"], "staff", "researcher")
    request = Draft.from_document(
        {"data_set": "cohort-1", "variables": variables, "analyses": [moments]}
    )
    permit = PermitRequest.for_study(request)
    applied = await apply_for_permit(scene.alliance, researcher, permit)
    for hospital in list(scene.hospitals.values())[:3]:
        await vote_permit(hospital, applied.permit_id)
    proposed = await propose_study(scene.alliance, researcher, request, applied.permit_id)
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look_for_key_shares(scene))
        for hospital in list(scene.hospitals.values())[:3]:
            scene.receipts.append((await vote(hospital, proposed.study_id)).receipt)
        stages = watch_study(scene.alliance, researcher, proposed.study_id)
        async with aclosing(stages) as steps:
            *_, last = [step.stage async for step in steps]
        assert last == "released"
        looking.cancel()
    result = await fetch_result(scene.alliance, researcher, proposed.study_id)
    scene.guardian = result.release_set[0]
    assert scene.key_shares


async def look_for_key_shares(scene: Scene) -> None:
    """Keep every key share that hospital-a stores before its study retires it."""
    path = compute_database(scene, "hospital-a")

    def look() -> list[tuple[bytes, bytes]]:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(
                "SELECT study, key_share FROM ceremonies WHERE key_share != x''"
            ).fetchall()

    while True:
        scene.key_shares.update(await asyncio.to_thread(look))
        await asyncio.sleep(POLL_SECONDS)


def compute_database(scene: Scene, member: str) -> Path:
    """Return where a member's compute service keeps its shares."""
    return scene.folder.member(member).data("compute") / "compute.db"
