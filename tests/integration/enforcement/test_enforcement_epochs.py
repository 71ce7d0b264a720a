"""H2: somebody who was dismissed, with a key that was registered while the credential was good."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import encode
from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.consents import revoke_consent
from cipherward_client.sdk.credentials import (
    admit_holder,
    obtain_credential,
    register_duty,
    stop_renewal,
)
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.ledger import Submitter
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.testing import eventually
from tests.integration.enforcement.openings import consented, emergency_act, stored
from tests.integration.enforcement.town import MEMBERS, PARAMETERS, Town, open_town

pytestmark = pytest.mark.soak  # it waits for an epoch to end, of which a minute is the shortest

EPOCH_SECONDS = 60
READY_SECONDS = 25  # what it takes to store a record and open it, on a busy machine


async def test_h2_a_dismissed_clinician_only_gives_up_rights_when_the_epoch_is_over(
    tmp_path: Path,
) -> None:
    parameters = replace(PARAMETERS, epoch_seconds=EPOCH_SECONDS)
    async with open_town(tmp_path / "alliance", parameters) as town:
        await _fresh_epoch(town)
        alliance, hospital, admission = town.alliance, town.hospitals[MEMBERS[1]], str(uuid.uuid4())
        reader = Wallet.create(alliance.chain_id)
        code = await admit_holder(hospital, "staff", role="clinician", request_id=admission)
        await obtain_credential(alliance, reader, MEMBERS[1], code)
        opening, record_id = await consented(town, reader=reader), await stored(town)
        emergency_id = secrets.token_bytes(ID_BYTES)
        key = SealingKey.generate().public_key
        submitter, signer = Submitter(alliance), opening.signer
        await submitter.submit([emergency_act(record_id, emergency_id, key, 3600)], signer)
        await stop_renewal(hospital, admission)
        epoch = alliance.epoch()
        await eventually(lambda: alliance.epoch() > epoch, seconds=2 * EPOCH_SECONDS)

        async def over() -> bool:  # a block says what the time is
            return await _refused(submitter, _open(opening.grant_id, key), signer) == "EPOCH_OVER"

        await eventually(over, seconds=EPOCH_SECONDS / 2)
        again = emergency_act(record_id, secrets.token_bytes(ID_BYTES), key, 3600)
        assert await _refused(submitter, again, signer) == "EPOCH_OVER"
        with pytest.raises(ClientError) as renewal:
            await register_duty(alliance, reader, MEMBERS[1])
        assert not isinstance(renewal.value, ActRefused)  # the desk has no credential for it
        # What is only a right given up takes no credential of today.
        assert (await submitter.submit([_step(emergency_id, "close")], signer)).result.applied
        patient = opening.patient
        assert (await revoke_consent(alliance, patient, opening.grant_id)).result.applied


async def _fresh_epoch(town: Town) -> None:
    """Wait for an epoch that has room for what is to be done in it."""

    def room() -> bool:
        since = town.alliance.now() - town.alliance.genesis.time_ns / 1e9
        return EPOCH_SECONDS - since % EPOCH_SECONDS > READY_SECONDS

    await eventually(room, seconds=2 * READY_SECONDS)


def _step(instance_id: bytes, transition: str) -> chain_pb.Act:
    return chain_pb.Act(
        transition=chain_pb.Transition(
            instance_id=instance_id, transition=transition, arguments=encode({})
        )
    )


def _open(grant_id: bytes, reader_key: bytes) -> chain_pb.Act:
    act = _step(grant_id, "open")
    act.transition.arguments = encode({"reader_key": reader_key, "purpose": "TREAT"})
    return act


async def _refused(submitter: Submitter, act: chain_pb.Act, signer: Signer) -> str:
    """Return why an act is refused; "" when it is applied."""
    try:
        await submitter.submit([act], signer)
    except ActRefused as refused:
        return refused.reason
    return ""
