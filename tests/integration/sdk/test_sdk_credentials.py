"""Credentials through the SDK, against real services: one person everywhere, and no code twice."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from cipherward_chain.acts import register_pseudonym as registration
from cipherward_client.sdk.credentials import (
    admit_holder,
    obtain_credential,
    register_duty,
    register_pseudonym,
    renew_credential,
    stop_renewal,
)
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.sdk.signing import PresentationSigner
from cipherward_client.wallet.scopes import record_scope, study_scope
from cipherward_client.wallet.wallet import Wallet

Town = Any  # conftest's; test modules cannot import it


async def test_a_patient_of_two_hospitals_is_one_person_in_a_study(town: Town) -> None:
    wallet = await town.person("a")
    await town.enrol(wallet, "b")
    first = wallet.credential("patient", "hospital-a")
    second = wallet.credential("patient", "hospital-b")
    scope = study_scope(secrets.token_bytes(16)).encode()
    assert first.pseudonym(scope) == second.pseudonym(scope)
    assert first.identity() != second.identity()
    stranger = await town.person("b")
    assert stranger.credential_for(scope.decode()).pseudonym(scope) != first.pseudonym(scope)


async def test_a_code_is_good_once_and_for_its_hospital(town: Town) -> None:
    hospital = await town.hospital("a")
    code = await admit_holder(hospital)
    for member, wallet in (("hospital-b", town_wallet(town)), ("hospital-a", town_wallet(town))):
        if member == "hospital-a":
            await obtain_credential(town.alliance, wallet, member, code)
        with pytest.raises(ClientError) as told:
            await obtain_credential(town.alliance, town_wallet(town), member, code)
        assert told.value.reason == "CREDENTIAL_REJECTED"


def town_wallet(town: Town) -> Wallet:
    return Wallet.create(town.alliance.chain_id)


async def test_an_answer_that_was_lost_is_answered_again_to_a_restored_wallet(town: Town) -> None:
    wallet, backups = town_wallet(town), list[bytes]()
    code = await admit_holder(await town.hospital("a"))

    async def saved() -> None:
        backups.append(wallet.to_bytes())

    credential = await obtain_credential(town.alliance, wallet, "hospital-a", code, saved=saved)
    restored = Wallet.from_bytes(backups[0])  # as it was before the request was sent
    assert not restored.credentials
    again = await obtain_credential(town.alliance, restored, "hospital-a", code)
    assert again == credential
    assert not restored.pending
    assert Wallet.from_bytes(backups[-1]).credentials == wallet.credentials


async def test_a_renewal_keeps_the_pseudonyms(town: Town) -> None:
    wallet = await town.person("a")
    scope = record_scope(bytes(16)).encode()
    before = wallet.credential("patient", "hospital-a").pseudonym(scope)
    renewed = await renew_credential(town.alliance, wallet, "hospital-a")
    assert renewed.pseudonym(scope) == before
    assert wallet.credential("patient", "hospital-a") is renewed


async def test_a_holder_whose_renewal_was_stopped_is_renewed_no_more(town: Town) -> None:
    hospital, wallet = await town.hospital("a"), town_wallet(town)
    request_id = "5c0ffee0-0000-4000-8000-" + secrets.token_hex(6)
    code = await admit_holder(hospital, request_id=request_id)
    assert await admit_holder(hospital, request_id=request_id) == code
    await obtain_credential(town.alliance, wallet, "hospital-a", code)
    await stop_renewal(hospital, request_id)
    with pytest.raises(ClientError) as told:
        await renew_credential(town.alliance, wallet, "hospital-a")
    assert told.value.reason == "CREDENTIAL_REJECTED"


async def test_a_pseudonym_is_registered_once_also_by_a_restored_backup(town: Town) -> None:
    wallet = await town.person("a")
    backup = wallet.to_bytes()
    scope = record_scope(secrets.token_bytes(16))
    assert await register_pseudonym(town.alliance, wallet, scope) is not None
    assert await register_pseudonym(town.alliance, wallet, scope) is None
    restored = Wallet.from_bytes(backup)
    assert await register_pseudonym(town.alliance, restored, scope) is None
    assert restored.registered[scope] == town.alliance.epoch()


async def test_a_patient_has_no_duty_and_staff_own_no_record(town: Town) -> None:
    patient, clinician = await town.person("a"), await town.person("a", "staff", "clinician")
    with pytest.raises(ClientError) as told:
        await register_duty(town.alliance, patient, "hospital-a")
    assert told.value.reason == "CREDENTIAL_MISSING"
    with pytest.raises(ClientError) as told:
        await register_pseudonym(town.alliance, clinician, record_scope(bytes(16)))
    assert told.value.reason == "CREDENTIAL_MISSING"
    # Whoever tries all the same is refused by the chain.
    scope = f"duty:hospital-b:{town.alliance.epoch()}"
    act = registration(town.alliance.chain_id, scope, clinician.pseudonym_seed(scope))
    foreign = PresentationSigner(clinician.credential("staff", "hospital-a"), scope)
    with pytest.raises(ActRefused) as refused:
        await Submitter(town.alliance).submit([act], foreign)
    assert refused.value.reason == "SCOPE_REFUSED"


async def test_a_wallet_of_another_chain_is_refused_before_anything_is_sent(town: Town) -> None:
    with pytest.raises(ClientError) as told:
        await obtain_credential(town.alliance, Wallet.create("elsewhere"), "hospital-a", "CODE")
    assert told.value.reason == "WALLET_OF_ANOTHER_CHAIN"
