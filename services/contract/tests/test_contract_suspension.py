"""A suspended member has no say and no seat; its patients keep their rights, and it comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from importlib import resources
from pathlib import Path

import pytest

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import register_pseudonym
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.registry import SEATED_POWER
from cipherward_contract.templates.checks import check_template
from cipherward_contract.templates.document import TemplateMalformed
from cipherward_contract.templates.parsing import parse_template
from cipherward_contract.templates.shipped import document_of
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Decided,
    Presented,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    transition,
    vote,
)
from cipherward_contract.testing_registry import Newcomer, admitted, removed, suspended, voted

ONE, TWO, RECORD = bytes([1]) * 16, bytes([2]) * 16, bytes([7]) * 16
D = MEMBERS[3]


@pytest.fixture
async def alliance(tmp_path: Path) -> AsyncGenerator[Story]:
    """A chain of four members whose nodes all vote in consensus."""
    genesis, keys = contract_genesis(engine="cometbft")
    async with open_story(tmp_path, genesis, keys) as story:
        yield story


def powers(decided: Decided) -> list[int]:
    answer = pb.ExecuteBlockResponse.FromString(decided.answer)
    return [update.power for update in answer.validator_updates]


async def state_of(story: Story, instance: bytes) -> str:
    raw = await story.state(INSTANCE + instance)
    assert raw is not None
    return Instance.from_bytes(instance, raw).position.state


async def test_a_suspension_takes_the_seat_and_the_return_gives_it_back(alliance: Story) -> None:
    assert powers(await suspended(alliance, D, ONE)) == [0]
    back = await voted(alliance, ONE, "reinstate", MEMBERS[:3])
    assert powers(back) == [SEATED_POWER]
    assert [order.instruction for order in back.orders] == ["reinstate_member"]
    assert await state_of(alliance, ONE) == "reinstated"
    assert (await alliance.act(alliance.member(D), vote(ONE, "suspend", True))).reason != (
        "MEMBER_SUSPENDED"
    )


async def test_a_suspension_ends_by_itself_when_its_time_is_over(alliance: Story) -> None:
    await suspended(alliance, D, ONE, seconds=3_600)
    alliance.now += 3_600
    ended = await alliance.applied(alliance.member(MEMBERS[0]), TICK)
    assert powers(ended) == [SEATED_POWER]
    assert await state_of(alliance, ONE) == "reinstated"


async def test_a_suspended_member_acts_and_votes_on_nothing(alliance: Story) -> None:
    await suspended(alliance, D, ONE)
    for act in (
        vote(ONE, "reinstate", True),
        instantiate("removal", TWO, {"member": MEMBERS[0], "vote_seconds": 3_600}),
    ):
        assert (await alliance.act(alliance.member(D), act)).reason == "MEMBER_SUSPENDED"


async def test_the_votes_that_suspended_are_no_votes_for_the_return(alliance: Story) -> None:
    await suspended(alliance, D, ONE)
    await alliance.applied(alliance.member(MEMBERS[0]), vote(ONE, "reinstate", True))
    assert await state_of(alliance, ONE) == "suspended"


async def test_a_return_that_is_refused_can_be_voted_again(alliance: Story) -> None:
    await suspended(alliance, D, ONE)
    await alliance.applied(alliance.member(MEMBERS[0]), vote(ONE, "reinstate", False))
    assert await state_of(alliance, ONE) == "suspended"
    await voted(alliance, ONE, "reinstate", MEMBERS[:3])
    assert await state_of(alliance, ONE) == "reinstated"


async def test_the_member_has_no_vote_on_its_own_suspension(alliance: Story) -> None:
    terms = {"member": D, "vote_seconds": 3_600, "suspend_seconds": 60}
    await alliance.applied(alliance.member(MEMBERS[0]), instantiate("suspension", ONE, terms))
    result = await alliance.act(alliance.member(D), vote(ONE, "suspend", False))
    assert result.reason == "POLICY_DENIED"


async def test_staff_of_a_suspended_member_only_give_rights_up(alliance: Story) -> None:
    clinician = await alliance.staff(D, "clinician", "somebody")
    await suspended(alliance, D, ONE)
    act = instantiate("consent", TWO, {})
    assert (await alliance.act(clinician, act)).reason == "MEMBER_SUSPENDED"
    epoch = alliance.genesis.epoch_at(alliance.now)
    another = Presented(f"duty:{D}:{epoch}", D, "staff", epoch, "clinician", "another")
    registering = register_pseudonym(alliance.genesis.chain_id, another.scope, bytes(range(32)))
    assert (await alliance.act(another, registering)).reason == "MEMBER_SUSPENDED"
    await voted(alliance, ONE, "reinstate", MEMBERS[:3])
    assert (await alliance.act(another, registering)).applied


async def test_patients_of_a_suspended_member_keep_their_rights(alliance: Story) -> None:
    owner = await alliance.record(RECORD, author=D)
    await suspended(alliance, D, ONE)
    terms = {
        "record": RECORD,
        "grantee_member": MEMBERS[0],
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": alliance.now + 50_000,
        "visits_max": 9,
        "visit_seconds": 60,
    }
    await alliance.applied(owner, instantiate("consent", TWO, terms))
    await alliance.applied(owner, transition(TWO, "revoke"))


async def test_a_quorum_is_counted_among_the_members_that_may_vote(alliance: Story) -> None:
    await suspended(alliance, D, ONE)
    terms = {"version": 2, "height": alliance.height + 100, "vote_seconds": 3_600}
    await alliance.applied(alliance.member(MEMBERS[0]), instantiate("machine-upgrade", TWO, terms))
    await voted(alliance, TWO, "upgrade", MEMBERS[:2])
    assert await state_of(alliance, TWO) == "proposed"  # two of three are not more than two thirds
    await voted(alliance, TWO, "upgrade", MEMBERS[2:3])
    assert await state_of(alliance, TWO) == "scheduled"


async def test_the_last_seat_is_not_taken(story: Story) -> None:
    terms = {"member": MEMBERS[0], "vote_seconds": 3_600, "suspend_seconds": 60}
    await story.applied(story.member(MEMBERS[1]), instantiate("suspension", ONE, terms))
    decided = await voted(story, ONE, "suspend", MEMBERS[1:])
    assert decided.results[0].reason == "REMOVAL_REFUSED"
    assert await state_of(story, ONE) == "proposed"


async def test_a_newcomer_that_is_suspended_does_not_take_its_seat(alliance: Story) -> None:
    newcomer = Newcomer("hospital-e")
    await admitted(alliance, newcomer, TWO)
    await suspended(alliance, newcomer.id, ONE, voters=MEMBERS)
    joining = transition(TWO, "join")
    assert (await alliance.act(newcomer.signer, joining)).reason == "MEMBER_SUSPENDED"
    assert powers(await voted(alliance, ONE, "reinstate", MEMBERS)) == []
    assert powers(await alliance.applied(newcomer.signer, joining)) == [SEATED_POWER]


async def test_a_suspended_member_is_not_suspended_again_until_it_is_back(
    alliance: Story,
) -> None:
    await suspended(alliance, D, ONE, seconds=3_600)
    terms = {"member": D, "vote_seconds": 86_400, "suspend_seconds": 7_200}
    await alliance.applied(alliance.member(MEMBERS[0]), instantiate("suspension", TWO, terms))
    again = await voted(alliance, TWO, "suspend", MEMBERS[:3])
    assert again.results[0].reason == "REMOVAL_REFUSED"
    alliance.now += 3_600  # the first one ends at the start of the block
    last = await voted(alliance, TWO, "suspend", MEMBERS[2:3])
    assert [order.instruction for order in last.orders] == ["reinstate_member", "suspend_member"]
    assert powers(last) == []


async def test_a_suspension_of_a_member_that_was_removed_ends_in_nothing(alliance: Story) -> None:
    await suspended(alliance, D, ONE, seconds=3_600)
    await removed(alliance, D, bytes([3]) * 16)
    alliance.now += 3_600
    ended = await alliance.applied(alliance.member(MEMBERS[0]), TICK)
    assert not ended.orders
    assert await state_of(alliance, ONE) == "reinstated"


def test_a_template_with_two_votes_counts_each_anew() -> None:
    source = (resources.files("cipherward_contract.templates") / "suspension.yaml").read_text()
    trap = source.replace("    sets: {votes: {value: {}}}\n", "", 1)
    assert trap != source
    with pytest.raises(TemplateMalformed, match="more than one vote"):
        check_template(parse_template(document_of(trap)))
