"""What happens in an alliance while Prometheus looks on: enough that every dashboard has data."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

from cipherward_client.alliance.ports import free_ports
from cipherward_client.alliance.running import RunningAlliance
from cipherward_client.alliance.supervisor import ProcessPlan
from cipherward_client.cli.canary import canary_settings
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.emergencies import open_in_emergency
from cipherward_client.sdk.erasures import erase_record
from cipherward_client.sdk.errors import ActRefused
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.sdk.studies import contribute_rows, propose_study, vote, watch_study
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft
from tests.servers.development import metrics_targets

MEMBERS: Final = tuple(f"hospital-{letter}" for letter in "abcd")
KEEPER: Final = MEMBERS[0]
STUDY_SECONDS: Final = 120.0
# Soon enough to wait for: a right that ended is asked about after three seconds. Their consent
# that expires is also the one whose end a timer makes.
CANARIES: Final = {
    "CIPHERWARD_ROUND_SECONDS": "5",
    "CIPHERWARD_ACT_ROUND_SECONDS": "10",
    "CIPHERWARD_SETTLE_SECONDS": "3",
    "CIPHERWARD_EXPIRY_SECONDS": "15",
}
STAGE: Final = 9  # stops before everything that it asks
DRAFT: Final = Draft.from_document(
    {
        "data_set": "cohort-1",
        "variables": [{"name": name, "low": 0, "high": 100} for name in ("x", "y")],
        "analyses": [{"kind": "moments", "variables": ["x", "y"], "statistics": ["sum"]}],
    }
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A running alliance, its hospitals and a holder's connection."""

    running: RunningAlliance
    alliance: Alliance
    hospitals: Mapping[str, Hospital]

    async def person(self, member: str, schema: str = "patient", role: str = "") -> Wallet:
        """Return the wallet of somebody who was at a member's desk."""
        wallet = Wallet.create(self.alliance.chain_id)
        code = await admit_holder(self.hospitals[member], schema, role=role)
        await obtain_credential(self.alliance, wallet, member, code)
        return wallet


async def opened(running: RunningAlliance, stack: AsyncExitStack) -> Scene:
    """Connect to an alliance for as long as `stack` is open."""
    folder = running.folder
    connection = Alliance.open(folder.endpoints_file, folder.genesis_file)
    alliance = await stack.enter_async_context(connection)
    hospitals = {
        member: await stack.enter_async_context(open_hospital(folder, member)) for member in MEMBERS
    }
    return Scene(running, alliance, hospitals)


def canaries(running: RunningAlliance) -> tuple[ProcessPlan, dict[str, dict[str, str]]]:
    """Return the canaries of one member as a process, and where their metrics are."""
    health, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
    settings = canary_settings(running.folder, KEEPER, None) | CANARIES
    settings |= {"CIPHERWARD_HEALTH_LISTEN": health, "CIPHERWARD_METRICS_LISTEN": metrics}
    name = f"{KEEPER}/canary"
    plan = ProcessPlan(name, "cipherward_client.canaries", settings, health, STAGE, vital=False)
    return plan, {metrics: {"member": KEEPER, "component": "canary"}}


def targets(running: RunningAlliance) -> dict[str, Mapping[str, str]]:
    """Return every service's address of metrics, with its labels."""
    return dict(metrics_targets(running.folder.root))


async def share_records(scene: Scene) -> None:
    """Store a record, open it, be refused, revoke; then an emergency and an erasure."""
    alliance, keeper = scene.alliance, scene.hospitals[KEEPER]
    patient = await scene.person(KEEPER)
    clinician = await scene.person(MEMBERS[1], "staff", "clinician")
    owner = WalletOwner(alliance, patient)
    record = (await put_record(keeper, secrets.token_bytes(100_000), owner)).record_id
    terms = ConsentTerms(record, MEMBERS[1], int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    await get_record(alliance, clinician, record, consent.grant_id)
    with suppress(ActRefused):
        await get_record(alliance, clinician, record, consent.grant_id, purpose="HPAYMT")
    await revoke_consent(alliance, patient, consent.grant_id)
    await open_in_emergency(alliance, clinician, record, "unconscious")
    await erase_record(alliance, patient, record)


async def release_study(scene: Scene) -> None:
    """Take a study from its rows to its result."""
    for hospital in scene.hospitals.values():
        rows = [[index, 100 - index] for index in range(40)]
        await contribute_rows(hospital, DRAFT.data_set, ["x", "y"], rows)
    researcher = await scene.person(MEMBERS[1], "staff", "researcher")
    wanted = PermitRequest.for_study(DRAFT)
    permit = (await apply_for_permit(scene.alliance, researcher, wanted)).permit_id
    for member in MEMBERS[:3]:
        await vote_permit(scene.hospitals[member], permit)
    study = await propose_study(scene.alliance, researcher, DRAFT, permit)
    for member in MEMBERS[:3]:
        await vote(scene.hospitals[member], study.study_id)
    async with asyncio.timeout(STUDY_SECONDS):
        seen = [one async for one in watch_study(scene.alliance, researcher, study.study_id)]
    assert (seen[-1].stage, seen[-1].failure) == ("released", "")
