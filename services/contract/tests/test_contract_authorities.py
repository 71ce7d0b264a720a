"""A member's authorities change by a vote: never to another's, and never to a set without any of
those that its services still show.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.certificates import CERTIFICATES_MAX
from cipherward_chain.registry_entry import entered_member, member_key
from cipherward_chain.testing import ca_certificate
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.testing import (
    MEMBERS,
    Decided,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    vote,
)
from cipherward_contract.testing_registry import (
    Newcomer,
    admitted,
    authorities_changed,
    removed,
    suspended,
    voted,
)
from cipherward_kit.tls import AUTHORITIES_MAX

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))
A, B, C, D = MEMBERS
OLD, NEXT = ca_certificate(B), ca_certificate("the next of hospital-b")


@pytest.fixture
async def alliance(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain of four members whose nodes all vote in consensus."""
    genesis, keys = contract_genesis(engine="cometbft")
    async with open_story(tmp_path, genesis, keys) as story:
        yield story


async def authorities_of(story: Story, member: str = B) -> str:
    raw = await story.state(member_key(member))
    assert raw is not None
    return entered_member(member, raw).ca_certificate


async def state_of(story: Story, instance: bytes) -> str:
    raw = await story.state(INSTANCE + instance)
    assert raw is not None
    return Instance.from_bytes(instance, raw).position.state


async def refused(story: Story, authorities: str, instance: bytes = ONE) -> str:
    """Let B propose and all vote; return the reason for which the deciding vote is refused."""
    before = await authorities_of(story)
    decided = await authorities_changed(story, B, authorities, instance)
    assert await authorities_of(story) == before
    assert await state_of(story, instance) == "proposed"
    assert decided.orders == ()
    return decided.results[0].reason


def registry_changed(decided: Decided) -> bool:
    return pb.ExecuteBlockResponse.FromString(decided.answer).registry_changed


async def test_a_member_comes_to_a_new_authority_in_two_votes(alliance: Story) -> None:
    both = await authorities_changed(alliance, B, OLD + NEXT, ONE)
    (order,) = both.orders
    assert (order.instruction, order.arguments) == (
        "set_authorities",
        {"member": B, "authorities": OLD + NEXT},
    )
    assert registry_changed(both)
    assert await authorities_of(alliance) == OLD + NEXT
    alone = await authorities_changed(alliance, B, NEXT, TWO)
    assert registry_changed(alone)
    assert not pb.ExecuteBlockResponse.FromString(alone.answer).validator_updates
    assert await authorities_of(alliance) == NEXT
    assert (await state_of(alliance, ONE), await state_of(alliance, TWO)) == ("changed",) * 2


async def test_a_set_without_any_of_the_present_one_is_refused(alliance: Story) -> None:
    assert await refused(alliance, NEXT) == "REGISTRATION_REFUSED"
    await authorities_changed(alliance, B, OLD + NEXT, TWO)
    decided = await voted(alliance, ONE, "change", [C])  # both steps may be voted at once
    assert decided.results[0].applied
    assert await authorities_of(alliance) == NEXT


async def test_nobody_else_proposes_a_members_authorities(alliance: Story) -> None:
    terms = {"member": B, "authorities": OLD + NEXT, "vote_seconds": 3_600}
    act = instantiate("authority-change", ONE, terms)
    staff = await alliance.staff(B, "clinician", "clinician")
    for nobody in (alliance.member(A), staff):
        assert (await alliance.act(nobody, act)).reason == "POLICY_DENIED"


async def test_less_than_a_quorum_changes_nothing(alliance: Story) -> None:
    decided = await authorities_changed(alliance, B, OLD + NEXT, ONE, voters=(B, A))
    assert (decided.results[0].applied, decided.orders) == (True, ())
    for member in (C, D):
        await alliance.applied(alliance.member(member), vote(ONE, "change", False))
    assert await state_of(alliance, ONE) == "rejected"
    assert await authorities_of(alliance) == OLD


async def test_another_members_authority_is_refused_also_under_another_key(
    alliance: Story,
) -> None:
    assert await refused(alliance, OLD + ca_certificate(C)) == "REGISTRATION_REFUSED"
    same_name = ca_certificate(C, key_name="of a thief")
    assert same_name != ca_certificate(C)
    assert await refused(alliance, OLD + same_name, TWO) == "REGISTRATION_REFUSED"


async def test_nobody_is_admitted_with_an_authority_of_a_member_that_has_two(
    alliance: Story,
) -> None:
    await authorities_changed(alliance, B, OLD + NEXT, ONE)
    newcomer = Newcomer("hospital-e")
    terms = newcomer.terms(ca_certificate=NEXT)
    await alliance.applied(alliance.member(A), instantiate("membership", TWO, terms))
    decided = await voted(alliance, TWO, "admit", MEMBERS[:3])
    assert decided.results[0].reason == "REGISTRATION_REFUSED"


async def test_authorities_of_a_removed_member_never_come_back(alliance: Story) -> None:
    following = ca_certificate("the next of hospital-d")
    await authorities_changed(alliance, D, ca_certificate(D) + following, TWO)
    await removed(alliance, D, THREE)
    for instance, gone in ((ONE, following), (b"x" * 16, ca_certificate(D))):
        assert await refused(alliance, OLD + gone, instance) == "REGISTRATION_REFUSED"


async def test_a_suspended_member_neither_proposes_nor_gets_others(alliance: Story) -> None:
    terms = {"member": B, "authorities": OLD + NEXT, "vote_seconds": 3_600}
    await alliance.applied(alliance.member(B), instantiate("authority-change", ONE, terms))
    await suspended(alliance, B, TWO, voters=(A, C, D))
    act = instantiate("authority-change", THREE, terms)
    assert (await alliance.act(alliance.member(B), act)).reason == "MEMBER_SUSPENDED"
    decided = await voted(alliance, ONE, "change", (A, C, D))
    assert decided.results[0].reason == "REGISTRATION_REFUSED"
    assert await authorities_of(alliance) == OLD


async def test_the_vote_on_a_member_that_has_left_changes_nothing(alliance: Story) -> None:
    newcomer = Newcomer("hospital-e")
    await admitted(alliance, newcomer, TWO)
    theirs = ca_certificate(newcomer.id) + NEXT
    terms = {"member": newcomer.id, "authorities": theirs, "vote_seconds": 3_600}
    await alliance.applied(newcomer.signer, instantiate("authority-change", ONE, terms))
    await removed(alliance, newcomer.id, THREE, MEMBERS)
    decided = await voted(alliance, ONE, "change", MEMBERS[:3])
    assert (decided.results[0].applied, decided.orders) == (True, ())
    assert await alliance.state(member_key(newcomer.id)) is None


async def test_two_proposals_of_one_set_change_it_once(alliance: Story) -> None:
    for instance, orders in ((ONE, 1), (TWO, 0)):
        decided = await authorities_changed(alliance, B, OLD + NEXT, instance)
        assert (decided.results[0].applied, len(decided.orders)) == (True, orders)
        assert await state_of(alliance, instance) == "changed"


async def test_an_alliance_of_one_changes_its_authority_by_its_own_vote(tmp_path: Path) -> None:
    genesis, keys = contract_genesis(members=1)
    async with open_story(tmp_path, genesis, keys) as story:
        both = ca_certificate(A) + NEXT
        await authorities_changed(story, A, both, ONE, voters=(A,))
        assert await authorities_of(story, A) == both


@pytest.mark.parametrize(
    "authorities",
    [
        "",
        "nobody",
        OLD + OLD,
        OLD + "\n" + NEXT,
        OLD[:-1],
        OLD + "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "".join(ca_certificate(f"authority {number}") for number in range(CERTIFICATES_MAX + 1)),
    ],
)
async def test_a_set_out_of_form_is_refused_at_once(alliance: Story, authorities: str) -> None:
    terms = {"member": B, "authorities": authorities, "vote_seconds": 3_600}
    result = await alliance.act(alliance.member(B), instantiate("authority-change", ONE, terms))
    assert result.reason == "TERMS_MALFORMED"


def test_as_many_may_be_set_as_services_look_at() -> None:
    assert CERTIFICATES_MAX == AUTHORITIES_MAX
