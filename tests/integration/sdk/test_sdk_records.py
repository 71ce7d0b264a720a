"""Records through the SDK, against real services: put, consent, open, revoke, account."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from cipherward_client.sdk.audit import CARRIED_OUT, REFUSED, AuditRow, audit_record
from cipherward_client.sdk.consents import (
    ConsentTerms,
    grant_consent,
    list_consents,
    revoke_consent,
    show_consent,
)
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.many_records import put_records
from cipherward_client.sdk.records import (
    RecordReceipt,
    WalletOwner,
    claim_record,
    get_record,
    put_record,
)
from cipherward_client.wallet.wallet import Wallet

Town = Any  # conftest's; test modules cannot import it


async def stored(town: Town, patient: Wallet, content: bytes) -> RecordReceipt:
    owner = WalletOwner(town.alliance, patient, "a visit")
    return await put_record(await town.hospital("a"), content, owner)


def terms(town: Town, record_id: bytes, member: str) -> ConsentTerms:
    return ConsentTerms(record_id, member, int(town.alliance.now()) + 3600)


async def test_a_consented_record_opens_to_the_original_bytes(town: Town) -> None:
    content = secrets.token_bytes(3_000_000)
    patient, clinician = await town.person("a"), await town.person("b", "staff", "clinician")
    record = await stored(town, patient, content)
    consent = await grant_consent(
        town.alliance, patient, terms(town, record.record_id, "hospital-b")
    )
    opened = await get_record(town.alliance, clinician, record.record_id, consent.grant_id)
    assert opened.content == content
    assert opened.custodian == "hospital-a"


async def test_a_revoked_consent_opens_nothing(town: Town) -> None:
    patient, clinician = await town.person("a"), await town.person("b", "staff", "clinician")
    record = await stored(town, patient, b"content")
    consent = await grant_consent(
        town.alliance, patient, terms(town, record.record_id, "hospital-b")
    )
    await revoke_consent(town.alliance, patient, consent.grant_id)
    with pytest.raises(ActRefused) as refused:
        await get_record(town.alliance, clinician, record.record_id, consent.grant_id)
    assert refused.value.reason == "STATE_FORBIDS"
    (listed,) = await list_consents(town.alliance, patient, record.record_id)
    assert listed == await show_consent(town.alliance, patient, consent.grant_id)
    assert listed.state == "revoked"


async def test_another_hospital_and_another_purpose_are_refused(town: Town) -> None:
    patient, stranger = await town.person("a"), await town.person("c", "staff", "clinician")
    clinician = await town.person("b", "staff", "clinician")
    record = await stored(town, patient, b"content")
    consent = await grant_consent(
        town.alliance, patient, terms(town, record.record_id, "hospital-b")
    )
    with pytest.raises(ActRefused) as refused:
        await get_record(town.alliance, stranger, record.record_id, consent.grant_id)
    assert refused.value.reason in ("POLICY_DENIED", "NOT_A_PARTY")
    with pytest.raises(ActRefused) as refused:
        await get_record(
            town.alliance, clinician, record.record_id, consent.grant_id, purpose="HPAYMT"
        )
    assert refused.value.policies == ("purpose-differs",)


async def test_an_unclaimed_record_is_claimed_once_and_then_has_its_owner(town: Town) -> None:
    hospital, patient = await town.hospital("a"), await town.person("a")
    record = await put_record(hospital, b"content", None)
    clinician = await town.person("a", "staff", "clinician")
    about = terms(town, record.record_id, "hospital-a")
    with pytest.raises(ClientError) as told:
        await grant_consent(town.alliance, patient, about)
    assert told.value.reason == "ENTRY_UNKNOWN"
    await claim_record(hospital, record.act, WalletOwner(town.alliance, patient, "found again"))
    assert patient.record(record.record_id).label == "found again"
    consent = await grant_consent(town.alliance, patient, about)
    opened = await get_record(town.alliance, clinician, record.record_id, consent.grant_id)
    assert opened.content == b"content"
    thief = WalletOwner(town.alliance, await town.person("a"))
    with pytest.raises(ActRefused) as refused:
        await claim_record(hospital, record.act, thief)
    assert refused.value.reason == "RECORD_EXISTS"


async def test_an_owner_opens_its_own_record(town: Town) -> None:
    patient = await town.person("a")
    record = await stored(town, patient, b"content")
    consent = await grant_consent(
        town.alliance, patient, terms(town, record.record_id, "hospital-b")
    )
    opened = await get_record(town.alliance, patient, record.record_id, consent.grant_id)
    assert opened.content == b"content"


async def test_many_records_are_put_at_once_in_their_order(town: Town) -> None:
    hospital, patient = await town.hospital("a"), await town.person("a")
    contents = [f"record {number}".encode() for number in range(20)]
    told: list[int] = []
    receipts = await put_records(
        hospital,
        [(content, WalletOwner(town.alliance, patient, content.decode())) for content in contents],
        progress=lambda stage, done, total: told.append(done),
    )
    labels = [patient.record(receipt.record_id).label for receipt in receipts]
    assert labels == [content.decode() for content in contents]
    assert told == list(range(1, 21))


async def test_the_owner_sees_every_access_with_verified_receipts(town: Town) -> None:
    patient, clinician = await town.person("a"), await town.person("b", "staff", "clinician")
    stranger = await town.person("c", "staff", "clinician")
    record = await stored(town, patient, b"content")
    consent = await grant_consent(
        town.alliance, patient, terms(town, record.record_id, "hospital-b")
    )
    await get_record(town.alliance, clinician, record.record_id, consent.grant_id)
    with pytest.raises(ActRefused):
        await get_record(town.alliance, stranger, record.record_id, consent.grant_id)
    rows = await audit_record(town.alliance, patient, record.record_id)
    assert [(row.member, row.role) for row in rows] == [
        ("hospital-b", "clinician"),
        ("hospital-c", "clinician"),
    ]
    assert rows[1].stage == REFUSED
    custodian = await town.hospital("a")
    row = await carried_out(town, custodian, record.record_id)
    assert row.report_receipt
    assert row.purpose == "TREAT"
    with pytest.raises(ClientError) as refused:
        await audit_record(town.alliance, await town.hospital("d"), record.record_id)
    assert refused.value.reason == "READ_REJECTED"


async def carried_out(town: Town, asker: Hospital, record_id: bytes) -> AuditRow:
    """Return the first row once the custodian's report is on the chain."""
    async with asyncio.timeout(20):
        while True:
            rows = await audit_record(town.alliance, asker, record_id)
            if rows[0].stage == CARRIED_OUT:
                return rows[0]
