"""Keys that the members share, templates, and decisions, through the SDK and as the chain proves
them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_chain.group_keys import OPENING, RECORD
from cipherward_chain.reads import build_read
from cipherward_chain.sealing import SealingKey
from cipherward_chain.wire import NANOS
from cipherward_client.alliance.shared_keys import WINDOW_BLOCKS
from cipherward_client.sdk.ceremonies import ensure_group_keys, make_group_key
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, revoke_consent
from cipherward_client.sdk.errors import ActRefused, ClientError, explaining
from cipherward_client.sdk.group_keys import group_key, newest_group_key
from cipherward_client.sdk.proven_contracts import decide
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.questions import Asker
from cipherward_client.sdk.records import WalletOwner, ask_to_open, get_record, put_record
from cipherward_client.sdk.release_orders import release_of
from cipherward_client.sdk.releases import KeyRelease
from cipherward_client.sdk.templates import (
    allow_template,
    document_of,
    get_template,
    propose_template,
    vote_on_template,
)

Town = Any  # conftest's; test modules cannot import it
LETTERS = "abcd"


async def test_the_members_have_a_record_key_and_an_opening_key(town: Town) -> None:
    for purpose in (RECORD, OPENING):
        entry = await newest_group_key(town.alliance, purpose)
        assert entry is not None
        assert (entry.threshold, len(entry.holders)) == (3, 4)
        assert entry == await group_key(town.alliance, purpose, entry.key_epoch, fresh=True)
    with pytest.raises(ClientError) as told, explaining():
        await group_key(town.alliance, RECORD, 99)
    assert told.value.reason == "GROUP_KEY_UNKNOWN"


async def test_records_of_before_open_after_the_key_was_shared_anew(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    terms = ConsentTerms(record.record_id, "hospital-b", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    before = await group_key(alliance, RECORD)
    assert (await get_record(alliance, clinician, record.record_id, consent.grant_id)).content
    hospitals = [await town.hospital(letter) for letter in LETTERS]
    after = await make_group_key(
        hospitals, RECORD, key_epoch=before.key_epoch, window=WINDOW_BLOCKS
    )
    assert (after.public_key, after.sharing) == (before.public_key, before.sharing + 1)
    assert after.points != before.points
    # The holder's connection still knows the sharing of before.
    assert alliance.known_keys[RECORD, before.key_epoch][1] == before
    opened = await get_record(alliance, clinician, record.record_id, consent.grant_id)
    assert opened.content == b"content"
    assert opened.faults == []
    assert (await ensure_group_keys(hospitals))[RECORD] == after


async def test_the_custodian_and_one_guardian_too_few_open_nothing(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    terms = ConsentTerms(record.record_id, "hospital-b", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    key = SealingKey.generate()
    asked = await ask_to_open(alliance, clinician, record.record_id, consent.grant_id, key)
    orders = await orders_of(alliance, asked.act)
    release = release_of(orders, record.record_id, asked.signer.public_key, key.public_key)
    assert release.guardians == tuple(f"hospital-{letter}" for letter in LETTERS)
    # hospital-a is the custodian: its half of the key, its own share, and others' shares.
    for helpers in ((), ("hospital-b",), ("hospital-d",)):
        some = dataclasses.replace(release, guardians=("hospital-a", *helpers))
        with pytest.raises(ClientError) as told:
            await KeyRelease(alliance, some, asked.signer, key).fetch()
        assert told.value.reason == "SHARES_MISSING"
    for helpers in (("hospital-b", "hospital-c"), ("hospital-b", "hospital-d")):
        some = dataclasses.replace(release, guardians=("hospital-a", *helpers))
        assert len((await KeyRelease(alliance, some, asked.signer, key).fetch()).key) == 32


async def test_a_guardian_that_saw_no_order_gives_nothing(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    terms = ConsentTerms(record.record_id, "hospital-b", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    key = SealingKey.generate()
    asked = await ask_to_open(alliance, clinician, record.record_id, consent.grant_id, key)
    (order, *_) = await orders_of(alliance, asked.act)
    read = build_read(
        "/cipherward.storage.v1.StorageService/GetGuardianShare",
        record.record_id,
        chain_id=alliance.chain_id,
        signer=asked.signer,
        time_ns=int(alliance.now() * NANOS),
        order=(order.height, order.index + 1),  # replayed at another place
    )
    for letter in LETTERS:
        storage = alliance.storage_of(f"hospital-{letter}")
        with pytest.raises(ClientError) as told, explaining():
            await storage.GetGuardianShare(pb.GetGuardianShareRequest(read=read), timeout=15)
        assert told.value.reason in ("RELEASE_UNKNOWN", "READ_REJECTED")


async def test_a_template_of_the_alliance_is_proven(town: Town) -> None:
    found = await get_template(town.alliance, "consent")
    assert (found.name, found.version) == ("consent", 1)
    assert found == dataclasses.replace(
        await get_template(town.alliance, "consent", 1), height=found.height
    )
    with pytest.raises(ClientError) as told:
        await get_template(town.alliance, "consent", 7)
    assert told.value.reason == "TEMPLATE_UNKNOWN"


NOTHING = """
name: {name}
version: 1
object: record
parties:
  owner: {{is: record_owner}}
terms:
  record: {{type: bytes, lengths: [16]}}
states: [active, ended]
initial: active
finals: [ended]
timers:
  - {{states: [active], when: {{after: {{value: 3600}}}}, transition: end}}
transitions:
  instantiate: {{kind: transition, to: active, by: [owner]}}
  end: {{kind: timer, from: [active], to: ended}}
policies: |
  @id("owner-begins")
  permit (principal, action == Action::"instantiate", resource)
  when {{ principal.parties.contains("owner") }};
"""


async def test_members_adopt_a_template_and_have_time_to_object(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    hospitals = [await town.hospital(letter) for letter in LETTERS]
    proposed = await propose_template(hospitals[0], document_of(NOTHING.format(name="nothing")))
    decided = [
        (await vote_on_template(hospital, proposed.change_id)).decided for hospital in hospitals[:3]
    ]
    assert decided == [False, False, True]
    with pytest.raises(ActRefused) as refused:
        await allow_template(alliance, patient, record.record_id, "nothing/1")
    assert refused.value.reason == "TEMPLATE_NOT_ACTIVE"
    with pytest.raises(ActRefused) as refused:
        await propose_template(hospitals[0], document_of("name: broken"))
    assert refused.value.reason == "TEMPLATE_REFUSED"


async def test_an_owner_allows_a_template_that_is_active(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    act = await allow_template(alliance, patient, record.record_id, "erasure/1")
    assert act.result.applied


async def test_a_decision_comes_with_the_contract_that_the_chain_proves(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    terms = ConsentTerms(record.record_id, "hospital-b", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    asker = await Asker.owner(alliance, patient, record.record_id)
    opening = {"reader_key": bytes(1216), "purpose": "PATRQT"}
    found = await decide(asker, consent.grant_id, "open", opening)
    assert (found.allowed, found.rule) == (True, "")
    assert "owner-opens" in found.policies
    assert found.contract.state == "active"
    await revoke_consent(alliance, patient, consent.grant_id)
    found = await decide(asker, consent.grant_id, "open", opening)
    assert (found.allowed, found.rule) == (False, "STATE_FORBIDS")
    assert found.contract.state == "revoked"
