"""Whoever spoils a key ceremony is named: thieves, rogue shares, wrong deals, false accusations."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.keyring import KeyMissing, Message, MessageKind
from cipherward_threshold.dealing.messages import DealCheck
from cipherward_threshold.messages import PublicKeyShare
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring

if TYPE_CHECKING:
    from conftest import Run

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
PROFILE = "additive-1"


@pytest.fixture(scope="module")
def ring() -> Ring:
    return profile_ring(PROFILE)


@pytest.mark.parametrize("kind", ["reveal", "deal"])
async def test_a_message_that_was_not_committed_to_names_its_sender(
    run: Run, kind: MessageKind
) -> None:
    await run.before("reveal")

    def other(member: str, found: MessageKind, octets: bytes) -> bytes:
        if (member, found) != ("hospital-c", kind):
            return octets
        return octets[:-1] + bytes((octets[-1] ^ 1,))

    run.alliance.peers["hospital-a"].tamper = other
    with pytest.raises(PeerWrong) as caught:
        await run.at("hospital-a", "reveal")
    assert caught.value.member == "hospital-c"
    assert "not what it committed to" in caught.value.why


async def test_a_rogue_share_has_no_proof_and_names_its_sender(run: Run, ring: Ring) -> None:
    # The last member to choose makes the sum of all shares its own key: b* - (the others').
    await run.before("reveal")
    others = [await run.shown_by(member) for member in MEMBERS[:3]]
    own = await run.shown_by("hospital-d")
    parsed = [PublicKeyShare.parse(ring.profile, one.public_key_share) for one in (*others, own)]
    rogue = ring.subtract(parsed[3].b, ring.sum([one.b for one in parsed[:3]]))
    share = replace(parsed[3], b=rogue).to_bytes(ring.profile)
    run.commit_to("hospital-d", replace(own, public_key_share=share))
    with pytest.raises(PeerWrong) as caught:
        await run.at("hospital-a", "reveal")
    assert caught.value.member == "hospital-d"


async def test_a_share_and_proof_of_another_member_name_their_thief(run: Run) -> None:
    await run.before("reveal")
    stolen = await run.shown_by("hospital-b")
    run.commit_to("hospital-d", stolen)
    with pytest.raises(PeerWrong) as caught:
        await run.at("hospital-a", "reveal")
    assert caught.value.member == "hospital-d"


async def test_a_message_of_another_ceremony_names_its_sender(run: Run, another: Run) -> None:
    await run.before("reveal")
    await another.take("commit")
    run.commit_to("hospital-d", await another.shown_by("hospital-d"))
    refused = await run.refusals("reveal")
    assert {cast("PeerWrong", refused[m]).member for m in MEMBERS[:3]} == {"hospital-d"}


async def test_a_wrong_deal_names_its_dealer_everywhere(run: Run, ring: Ring) -> None:
    await run.before("reveal")
    await run.deal_wrongly("hospital-b", "hospital-d")
    run.reveals = await run.step("reveal")
    refused = await run.refusals("confirm")
    assert set(refused) == set(MEMBERS)
    assert {cast("PeerWrong", why).member for why in refused.values()} == {"hospital-b"}
    for member in MEMBERS:
        with pytest.raises(KeyMissing):
            await run.key_of(member)


async def test_a_false_accusation_names_its_receiver_and_not_the_dealer(
    run: Run, ring: Ring
) -> None:
    await run.before("confirm")
    keyring = run.alliance.keyrings["hospital-d"]
    octets = await keyring.message(run.study, "check", dealer="hospital-d", receiver="")
    check = DealCheck.parse(ring.profile, octets)
    values = check.values.copy()
    values[1, 0, 99] ^= 1
    lie = replace(check, values=values).to_bytes(ring.profile)
    run.rewrite("hospital-d", "check", lie)
    run.reveals["hospital-d"] = commitment_to(run.study, "check", "hospital-d", lie)
    refused = await run.refusals("confirm")
    assert {cast("PeerWrong", why).member for why in refused.values()} == {"hospital-d"}
    assert "falsely" in str(refused["hospital-a"])


async def test_a_dealer_opens_its_deals_only_when_it_has_seen_the_dispute(run: Run) -> None:
    await run.before("confirm")
    await run.take("confirm")
    for member in MEMBERS:
        keyring = run.alliance.keyrings[member]
        assert await keyring.message(run.study, "opening", dealer=member, receiver="") == b""


async def test_a_disputed_dealer_that_opens_other_deals_is_named(run: Run, ring: Ring) -> None:
    await run.before("reveal")
    await run.deal_wrongly("hospital-b", "hospital-d")
    run.reveals = await run.step("reveal")
    hiding = Message("opening", "hospital-b", b"\xa0")
    await run.alliance.keyrings["hospital-b"].put_once(run.study, hiding)
    refused = await run.refusals("confirm")
    assert cast("PeerWrong", refused["hospital-a"]).member == "hospital-b"


async def test_an_answer_that_was_not_committed_to_names_its_receiver(run: Run) -> None:
    await run.before("confirm")
    run.reveals["hospital-c"] = hashlib.sha256(b"another").digest()
    with pytest.raises(PeerWrong) as caught:
        await run.at("hospital-a", "confirm")
    assert caught.value.member == "hospital-c"
