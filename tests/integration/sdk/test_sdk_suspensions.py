"""A member that the others suspend takes no part until they, or the time, bring it back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cipherward_chain.sealing import SealingKey
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.membership import (
    SUSPENSION,
    propose_removal,
    propose_suspension,
    read_change,
    read_registry,
    vote_on_change,
    vote_on_return,
)
from cipherward_client.sdk.proven_orders import orders_of
from cipherward_client.sdk.records import WalletOwner, ask_to_open, get_record, put_record
from cipherward_client.sdk.release_orders import release_of
from cipherward_kit.testing import eventually

Town = Any  # conftest's; test modules cannot import it
OTHERS, SUSPENDED = "abc", "hospital-d"
WAIT_SECONDS = 30.0  # a member's own contract service may be a block behind


async def refusal(work: Any) -> str:
    """Return why the work is refused."""
    with pytest.raises(ClientError) as told:
        await work
    return told.value.reason


async def power(town: Town) -> int:
    """Return the voting power of the member that is suspended, as hospital-a knows it."""
    registry = await read_registry(await town.hospital("a"))
    return next(one.voting_power for one in registry.members if one.member == SUSPENDED)


@contextlib.asynccontextmanager
async def suspended(town: Town) -> AsyncGenerator[bytes]:
    """Have hospital-d suspended by the others, and back at the end: the alliance is shared."""
    others = [await town.hospital(letter) for letter in OTHERS]
    before = await power(town)
    proposed = await propose_suspension(others[0], SUSPENDED, seconds=3600)
    votes = [await vote_on_change(one, SUSPENSION, proposed.change_id) for one in others]
    assert [vote.decided for vote in votes] == [False, False, True]
    try:
        yield proposed.change_id
    finally:
        back = [await vote_on_return(one, proposed.change_id) for one in others]
    assert [vote.decided for vote in back] == [False, False, True]
    await eventually(lambda: _has(town, before), seconds=WAIT_SECONDS)
    assert (await read_change(others[0], proposed.change_id)).state == "reinstated"


async def _has(town: Town, wanted: int) -> bool:
    return await power(town) == wanted


async def test_a_suspended_member_has_no_say_and_comes_back(town: Town) -> None:
    itself, other = await town.hospital("d"), await town.hospital("a")
    async with suspended(town) as change_id:
        await eventually(lambda: _has(town, 0), seconds=WAIT_SECONDS)
        found = await read_change(other, change_id)
        assert (found.kind, found.state, found.member) == (SUSPENSION, "suspended", SUSPENDED)
        assert await refusal(propose_removal(itself, "hospital-a")) == "MEMBER_SUSPENDED"
        assert await refusal(vote_on_return(itself, change_id)) == "MEMBER_SUSPENDED"
        assert await refusal(vote_on_change(other, SUSPENSION, change_id)) == "STATE_FORBIDS"
    stored = await put_record(itself, b"content", None)
    assert stored.act.result.applied


async def test_records_open_without_a_suspended_guardian(town: Town) -> None:
    alliance, patient = town.alliance, await town.person("a")
    clinician = await town.person("b", "staff", "clinician")
    owner = WalletOwner(alliance, patient)
    record = await put_record(await town.hospital("a"), b"content", owner)
    terms = ConsentTerms(record.record_id, "hospital-b", int(alliance.now()) + 3600)
    consent = await grant_consent(alliance, patient, terms)
    async with suspended(town):
        key = SealingKey.generate()
        asked = await ask_to_open(alliance, clinician, record.record_id, consent.grant_id, key)
        orders = await orders_of(alliance, asked.act)
        release = release_of(orders, record.record_id, asked.signer.public_key, key.public_key)
        assert release.guardians == ("hospital-a", "hospital-b", "hospital-c")
        opened = await get_record(alliance, clinician, record.record_id, consent.grant_id)
        assert opened.content == b"content"
