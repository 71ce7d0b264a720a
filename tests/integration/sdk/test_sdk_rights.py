"""Rights over a record through the SDK, against real services: emergencies, erasure, expiry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cipherward_chain.receipts import verify_receipt
from cipherward_client.sdk import erasures
from cipherward_client.sdk.audit import audit_record
from cipherward_client.sdk.consents import (
    ConsentTerms,
    grant_consent,
    representative_key,
    revoke_consent,
    show_consent,
)
from cipherward_client.sdk.emergencies import (
    close_emergency,
    end_emergency,
    open_in_emergency,
    review_emergency,
)
from cipherward_client.sdk.erasures import (
    erase_record,
    erase_unclaimed,
    wait_erased,
)
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.many_records import put_records
from cipherward_client.sdk.notices import notices_of_member, notices_of_record
from cipherward_client.sdk.proven_contracts import proven_contract
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.sdk.templates import allow_template
from cipherward_client.wallet.wallet import Wallet

Town = Any  # conftest's; test modules cannot import it
ERASED_SECONDS = 90.0  # a slot key lives ten seconds in a development alliance; a busy machine


async def stored(town: Town, patient: Wallet) -> bytes:
    owner = WalletOwner(town.alliance, patient)
    return (await put_record(await town.hospital("a"), b"content", owner)).record_id


async def refusal(work: Any) -> str:
    """Return why the work is refused."""
    with pytest.raises(ClientError) as told:
        await work
    return told.value.reason


async def test_an_emergency_opens_a_record_and_everybody_is_told(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("c", "staff", "clinician")
    record_id = await stored(town, patient)
    found = await open_in_emergency(alliance, clinician, record_id, "life-threatening")
    assert found.opened.content == b"content"
    owner = await notices_of_record(alliance, patient, record_id)
    assert sorted(one.kind for one in owner) == ["emergency", "review-due"]
    assert {one.instance_id for one in owner} == {found.emergency_id}
    due = next(one.due_seconds for one in owner if one.kind == "review-due")
    assert due == found.opened.act.time_seconds + 72 * 3600
    keeper = await notices_of_member(await town.hospital("a"))
    assert [one.kind for one in keeper if one.instance_id == found.emergency_id] == [
        one.kind for one in owner
    ]
    (row,) = await audit_record(alliance, patient, record_id)
    assert (row.member, row.purpose) == ("hospital-c", "ETREAT")


async def test_an_emergency_is_reviewed_when_its_visit_has_ended(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("c", "staff", "clinician")
    officer = await town.person("a", "staff", "dpo")
    record_id = await stored(town, patient)
    one = await open_in_emergency(alliance, clinician, record_id, "unconscious")
    review = review_emergency(alliance, officer, one.emergency_id, justified=True)
    assert await refusal(review) == "STATE_FORBIDS"
    await close_emergency(alliance, clinician, one.emergency_id)
    mine = review_emergency(alliance, clinician, one.emergency_id, justified=True)
    assert await refusal(mine) in ("POLICY_DENIED", "NOT_A_PARTY")
    act = await review_emergency(alliance, officer, one.emergency_id, justified=False)
    assert act.result.applied
    # The owner ends another one, and the hospital itself reviews it.
    two = await open_in_emergency(alliance, clinician, record_id, "unconscious")
    await end_emergency(alliance, patient, record_id, two.emergency_id)
    hospital = await town.hospital("a")
    act = await review_emergency(alliance, hospital, two.emergency_id, justified=True)
    assert act.result.applied


async def test_only_clinicians_break_the_glass(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    record_id = await stored(town, patient)
    for role in ("researcher", "dpo"):
        somebody = await town.person("c", "staff", role)
        reason = await refusal(open_in_emergency(alliance, somebody, record_id, "unconscious"))
        assert reason == "POLICY_DENIED"
    nobody = open_in_emergency(alliance, patient, record_id, "unconscious")
    assert await refusal(nobody) == "CREDENTIAL_MISSING"


async def test_a_record_that_leaves_emergencies_out_is_opened_by_none(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("c", "staff", "clinician")
    hospital, owner = await town.hospital("a"), WalletOwner(town.alliance, patient)
    record = await put_record(hospital, b"content", owner, release_templates=("consent/1",))
    opening = open_in_emergency(alliance, clinician, record.record_id, "unconscious")
    assert await refusal(opening) == "TEMPLATE_NOT_ALLOWED"
    assert await notices_of_record(alliance, patient, record.record_id) == []
    terms = ConsentTerms(record.record_id, "hospital-c", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    opened = await get_record(alliance, clinician, record.record_id, consent.grant_id)
    assert opened.content == b"content"
    # The owner may think otherwise, and only the owner.
    await allow_template(alliance, patient, record.record_id, "emergency-access/1")
    found = await open_in_emergency(alliance, clinician, record.record_id, "unconscious")
    assert found.opened.content == b"content"


async def test_a_wallet_signs_no_anchor_that_lets_more_in_than_it_chose(town: Town) -> None:
    patient = await town.person("a")
    chosen = WalletOwner(town.alliance, patient, release_templates=("consent/1",))
    hospital = await town.hospital("a")
    assert await refusal(put_record(hospital, b"content", chosen)) == "TEMPLATE_UNWANTED"
    assert patient.records == {}
    (stored,) = await put_records(
        hospital, [(b"content", chosen)], release_templates=("consent/1",)
    )
    assert list(patient.records) == [stored.record_id]


async def test_an_unclaimed_record_opens_in_an_emergency_and_is_erased_by_its_author(
    town: Town,
) -> None:
    hospital = await town.hospital("a")
    clinician = await town.person("b", "staff", "clinician")
    record = await put_record(hospital, b"unclaimed", None)
    found = await open_in_emergency(town.alliance, clinician, record.record_id, "unconscious")
    assert found.opened.content == b"unclaimed"
    other = await town.hospital("b")
    with pytest.raises(ActRefused):
        await erase_unclaimed(other, record.record_id, "unlawful")
    ordered = await erase_unclaimed(hospital, record.record_id, "unlawful")
    again = open_in_emergency(town.alliance, clinician, record.record_id, "unconscious")
    assert await refusal(again) == "RECORD_ERASED"
    assert await refusal(erase_unclaimed(hospital, record.record_id, "unlawful")) == "RECORD_ERASED"
    statements = await wait_erased(town.alliance, hospital, ordered, seconds=ERASED_SECONDS)
    assert "hospital-a" in statements


async def test_an_erasure_ends_every_grant_and_is_proven_twice(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    record_id = await stored(town, patient)
    terms = ConsentTerms(record_id, "hospital-b", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    assert (await get_record(alliance, clinician, record_id, consent.grant_id)).content
    ordered = await erase_record(alliance, patient, record_id)
    reopened = get_record(alliance, clinician, record_id, consent.grant_id)
    assert await refusal(reopened) == "RECORD_ERASED"
    # Block by block from both ends, as if days lay between the order and the last statement.
    monkeypatch.setattr(erasures, "BLOCKS_AT_ONCE", 1)
    statements = await wait_erased(alliance, patient, ordered, seconds=ERASED_SECONDS)
    asker = await Asker.owner(alliance, patient, record_id)
    contract = await proven_contract(asker, ordered.erasure_id)
    reported = {member: one.digest for member, one in statements.items()}
    assert contract.variables["statements"] == reported
    assert len(statements) >= 3
    assert "hospital-a" in statements
    assert max(one.act.height for one in statements.values()) == contract.changed_height
    assert len({one.digest for one in statements.values()}) == len(statements)
    for act in (ordered.act, *(one.act for one in statements.values())):
        assert verify_receipt(act.receipt, alliance.trust_root).height == act.height
    kinds = [one.kind for one in await notices_of_record(alliance, patient, record_id)]
    assert kinds == ["erasure-ordered", "erased"]


async def test_a_consent_ends_by_itself(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    record_id = await stored(town, patient)
    terms = ConsentTerms(record_id, "hospital-b", int(alliance.now()) + 2)
    consent = await grant_consent(alliance, patient, terms)
    async with asyncio.timeout(30):
        while (await show_consent(alliance, patient, consent.grant_id)).state == "active":
            pass  # nobody does anything but look
    late = get_record(alliance, clinician, record_id, consent.grant_id)
    assert await refusal(late) == "STATE_FORBIDS"


async def test_a_parent_opens_and_ends_what_a_child_may(town: Town) -> None:
    alliance, child, parent = town.alliance, await town.person("a"), await town.person("b")
    record_id = await stored(town, child)
    key = await representative_key(alliance, parent, record_id)
    terms = ConsentTerms(
        record_id, "hospital-b", int(alliance.now()) + 3600, representative_key=key
    )
    consent = await grant_consent(alliance, child, terms)
    opened = await get_record(alliance, parent, record_id, consent.grant_id)
    assert opened.content == b"content"
    await revoke_consent(alliance, parent, consent.grant_id, record_id=record_id)
    assert (await show_consent(alliance, child, consent.grant_id)).state == "revoked"
    assert await refusal(get_record(alliance, parent, record_id, consent.grant_id)) == (
        "STATE_FORBIDS"
    )


async def test_a_consent_is_for_its_purposes_and_no_other(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    record_id = await stored(town, patient)
    expires = int(alliance.now()) + 3600
    terms = ConsentTerms(record_id, "hospital-b", expires, purposes=("CAREMGT", "TREAT"))
    consent = await grant_consent(alliance, patient, terms)
    for purpose in terms.purposes:
        opened = await get_record(alliance, clinician, record_id, consent.grant_id, purpose=purpose)
        assert opened.content == b"content"
    another = get_record(alliance, clinician, record_id, consent.grant_id, purpose="HPAYMT")
    assert await refusal(another) == "POLICY_DENIED"
