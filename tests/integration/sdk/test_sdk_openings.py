"""Who acted under a pseudonym of staff: voted, opened by enough members, found by the recipient."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.credentials import (
    admit_holder,
    obtain_credential,
    register_duty,
    register_pseudonym,
)
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.openings import (
    collect_opening,
    find_holder,
    propose_opening,
    vote_on_opening,
)
from cipherward_client.wallet.wallet import Wallet

if TYPE_CHECKING:  # the fixture's type; pytest itself brings the fixture
    from tests.integration.sdk.conftest import Town


async def test_members_open_who_acted_for_the_one_recipient(town: Town) -> None:
    hospital, admission = await town.hospital("a"), str(uuid.uuid4())
    code = await admit_holder(hospital, "staff", role="clinician", request_id=admission)
    wallet = Wallet.create(town.alliance.chain_id)
    credential = await obtain_credential(town.alliance, wallet, hospital.member, code)
    scope = await register_duty(town.alliance, wallet, hospital.member)
    pseudonym = credential.pseudonym(scope.encode())
    key = SealingKey.generate()
    proposed = await propose_opening(
        hospital, scope, pseudonym, "misuse", recipient_key=key.public_key
    )
    with pytest.raises(ClientError) as early:
        await collect_opening(hospital, proposed.change_id, key)
    assert early.value.reason == "OPENING_NOT_ORDERED"
    for letter in "abcd":
        counted = await vote_on_opening(await town.hospital(letter), proposed.change_id)
        if counted.decided:
            break
    opened = await collect_opening(hospital, proposed.change_id, key)
    assert opened.identity == credential.identity()
    assert opened.wrong == ()
    assert len(opened.answered) >= 3
    assert await find_holder(hospital, opened) == admission
    # once more, when all have reported; and another member gets no share
    again = await collect_opening(hospital, proposed.change_id, key)
    assert again.identity == opened.identity
    with pytest.raises(ClientError) as other:
        await collect_opening(await town.hospital("b"), proposed.change_id, key, seconds=0.2)
    assert other.value.reason == "SHARES_MISSING"


async def test_a_patient_cannot_be_opened(town: Town) -> None:
    wallet = await town.person("a")
    scope = "study:" + "0e" * 16
    await register_pseudonym(town.alliance, wallet, scope)
    pseudonym = wallet.credential("patient", "hospital-a").pseudonym(scope.encode())
    hospital = await town.hospital("a")
    with pytest.raises(ActRefused):
        await propose_opening(hospital, scope, pseudonym, "misuse")
