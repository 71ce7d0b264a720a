"""Templates are voted, wait, and are pinned: what runs keeps what it was signed under."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pytest
import yaml

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import encode
from cipherward_chain.results import TransactionResult
from cipherward_contract.entries import RECORD as RECORD_ENTRY
from cipherward_contract.entries import Record, template_key
from cipherward_contract.marks import active_entry, active_key, proposal_key
from cipherward_contract.template_acts import PROPOSALS_MAX
from cipherward_contract.testing import MEMBERS, TICK, Decided, Story, instantiate, vote
from cipherward_contract.testing_records import (
    CONSENT,
    RECORD,
    ConsentScene,
    consent_terms,
    opening,
    standing,
)

pytestmark = pytest.mark.slow  # every proposal is analysed: a third of a second

ADOPTION, LONG = b"a" * 16, b"l" * 16
DELAY = 86_400  # the genesis' delay between the vote and the first instance
VOTE_SECONDS = 3_600


def consent_document(version: int, **changed: Any) -> bytes:
    """Return the shipped consent as another version, with other keys at its top."""
    source = resources.files("cipherward_contract.templates").joinpath("consent.yaml")
    document: dict[str, Any] = yaml.safe_load(source.read_text("utf-8"))
    return encode({**document, "version": version, **changed})


def proposing(document: bytes, instance: bytes = ADOPTION) -> pb.Act:
    proposal = pb.ProposeTemplate(
        document=document, instance_id=instance, vote_seconds=VOTE_SECONDS
    )
    return pb.Act(propose_template=proposal)


def allowing(template: str, record: bytes = RECORD) -> pb.Act:
    return pb.Act(allow_template=pb.AllowTemplate(record_id=record, template=template))


def upgrading(version: int, instance: bytes = CONSENT) -> pb.Act:
    return pb.Act(upgrade_instance=pb.UpgradeInstance(instance_id=instance, version=version))


@dataclass(frozen=True, slots=True)
class Adoptions:
    """Proposes and votes on a story's chain."""

    story: Story

    async def propose(self, document: bytes, instance: bytes = ADOPTION) -> TransactionResult:
        return await self.story.act(self.story.member("hospital-a"), proposing(document, instance))

    async def vote(
        self, approve: bool = True, members: Iterable[str] = MEMBERS[:3], instance: bytes = ADOPTION
    ) -> Decided:
        decided = None
        for member in members:
            act = vote(instance, "adopt", approve)
            decided = await self.story.applied(self.story.member(member), act)
        assert decided is not None
        return decided

    async def adopted(self, document: bytes, instance: bytes = ADOPTION) -> None:
        """Adopt a template and let its delay pass."""
        assert (await self.propose(document, instance)).applied
        await self.vote(instance=instance)
        self.story.now += DELAY


@pytest.fixture
def adoptions(story: Story) -> Adoptions:
    return Adoptions(story)


async def test_a_voted_template_is_registered_and_waits(adoptions: Adoptions) -> None:
    story, document = adoptions.story, consent_document(2)
    digest = hashlib.sha256(document).digest()
    assert (await adoptions.propose(document)).applied
    assert await story.state(proposal_key(digest)) == document
    now = story.now + 2  # the third vote decides
    decided = await adoptions.vote()
    assert [order.instruction for order in decided.orders] == ["register_template"]
    assert decided.orders[0].arguments == {"digest": digest}
    assert await story.state(template_key("consent", 2)) == document
    assert await story.state(active_key("consent", 2)) == active_entry(now + DELAY)
    assert await story.state(proposal_key(digest)) is None
    assert (await standing(story, ADOPTION)).position.state == "adopted"


async def test_before_its_time_nothing_is_begun_under_it(adoptions: Adoptions) -> None:
    story = adoptions.story
    owner = await story.record(RECORD, templates=("consent/1", "consent/2"))
    terms = consent_terms(story.now + DELAY)
    act = instantiate("consent", CONSENT, terms, version=2)
    assert (await story.act(owner, act)).reason == "TEMPLATE_UNKNOWN"
    await adoptions.propose(consent_document(2))
    assert (await story.act(owner, act)).reason == "TEMPLATE_UNKNOWN"
    await adoptions.vote()
    voted = story.now - 1
    assert (await story.act(owner, act)).reason == "TEMPLATE_NOT_ACTIVE"
    story.now = voted + DELAY - 1
    assert (await story.act(owner, act)).reason == "TEMPLATE_NOT_ACTIVE"
    await story.applied(owner, act)


@pytest.mark.parametrize("members", [MEMBERS[:1], MEMBERS[:2]])
async def test_two_of_four_adopt_nothing(adoptions: Adoptions, members: tuple[str, ...]) -> None:
    await adoptions.propose(consent_document(2))
    await adoptions.vote(members=members)
    adoptions.story.now += VOTE_SECONDS
    await adoptions.story.applied(adoptions.story.member("hospital-d"), TICK)
    assert (await standing(adoptions.story, ADOPTION)).position.state == "lapsed"
    assert await adoptions.story.state(template_key("consent", 2)) is None


async def test_two_against_end_it(adoptions: Adoptions) -> None:
    await adoptions.propose(consent_document(2))
    await adoptions.vote(approve=False, members=MEMBERS[:2])
    assert (await standing(adoptions.story, ADOPTION)).position.state == "rejected"


async def test_a_block_looks_at_a_few_proposals_only(adoptions: Adoptions) -> None:
    story = adoptions.story
    proposals = [
        story.transaction(story.member(MEMBERS[n % 4]), proposing(b"\xa0", bytes([n]) * 16))
        for n in range(PROPOSALS_MAX + 1)
    ]
    messages = [result.message for result in (await story.block(*proposals)).results]
    assert messages.count("the block has had as many proposals as it looks at") == 1
    assert (await adoptions.propose(b"\xa0")).message != messages[-1]  # the next looks again


async def test_only_members_propose_and_vote(adoptions: Adoptions) -> None:
    story = adoptions.story
    clinician = await story.staff("hospital-a", "clinician", "clinician")
    refused = await story.act(clinician, proposing(consent_document(2)))
    assert refused.reason == "NOT_A_PARTY"
    await adoptions.propose(consent_document(2))
    refused = await story.act(clinician, vote(ADOPTION, "adopt", True))
    assert refused.reason == "POLICY_DENIED"


async def test_a_version_is_never_replaced(adoptions: Adoptions) -> None:
    again = await adoptions.propose(consent_document(1, unclaimed=True))
    assert again.reason == "TEMPLATE_REFUSED"
    first, second = consent_document(2), consent_document(2, unclaimed=True)
    assert (await adoptions.propose(first)).applied
    assert (await adoptions.propose(second, b"b" * 16)).applied  # both may be voted on
    await adoptions.vote()
    decided = await adoptions.vote(instance=b"b" * 16)
    assert not decided.orders  # the other was there first
    assert await adoptions.story.state(template_key("consent", 2)) == first


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b"\xff", "canonical"),
        (consent_document(2, timers=[]), "no due time ends it"),
        (consent_document(2, policies="permit everything"), "do not parse"),
        (consent_document(2, colour="red"), "unknown field colour"),
        (
            consent_document(
                2, never=[{"id": "no-opening", "order": "release_key", "in": ["active"]}]
            ),
            "no-opening",
        ),
    ],
    ids=["bytes", "endless", "policies", "field", "never"],
)
async def test_a_template_that_cannot_be_deployed_is_not_voted_on(
    adoptions: Adoptions, document: bytes, fault: str
) -> None:
    result = await adoptions.propose(document)
    assert result.reason == "TEMPLATE_REFUSED"
    assert fault in result.message or fault == "canonical"
    assert await adoptions.story.state(proposal_key(hashlib.sha256(document).digest())) is None


async def test_what_runs_keeps_the_version_it_was_signed_under(adoptions: Adoptions) -> None:
    story = adoptions.story
    scene = await ConsentScene.begin(story)
    await story.applied(
        scene.owner, instantiate("consent", LONG, consent_terms(story.now + DELAY, visits_max=1))
    )
    await adoptions.adopted(consent_document(2).replace(b"visits-spent", b"visits-gonex"))
    assert (await standing(story, LONG)).origin.version == 1
    await story.applied(scene.clinician, opening(LONG))
    refused = await story.act(scene.clinician, opening(LONG))
    assert refused.policies == ("visits-spent",)  # as its own version calls it


async def test_a_later_voted_template_releases_nothing_its_owner_never_named(
    adoptions: Adoptions,
) -> None:
    story = adoptions.story
    scene = await ConsentScene.begin(story)
    await adoptions.adopted(consent_document(2))
    terms = consent_terms(story.now)
    act = instantiate("consent", b"2" * 16, terms, version=2)
    assert (await story.act(scene.owner, act)).reason == "TEMPLATE_NOT_ALLOWED"
    assert (await story.act(scene.clinician, allowing("consent/2"))).reason == "NOT_A_PARTY"
    author = story.member("hospital-a")
    assert (await story.act(author, allowing("consent/2"))).reason == "NOT_A_PARTY"
    assert (await story.act(scene.owner, allowing("consent/3"))).reason == "TEMPLATE_UNKNOWN"
    await story.applied(scene.owner, allowing("consent/2"))
    await story.applied(scene.owner, allowing("consent/2"))  # once more changes nothing
    raw = await story.state(RECORD_ENTRY + RECORD)
    assert raw is not None
    assert Record.from_bytes(raw).allowed == ("consent/2",)
    await story.applied(scene.owner, act)


async def test_a_template_is_allowed_when_it_is_active(adoptions: Adoptions) -> None:
    story = adoptions.story
    scene = await ConsentScene.begin(story)
    await adoptions.propose(consent_document(2))
    await adoptions.vote()
    assert (await story.act(scene.owner, allowing("consent/2"))).reason == "TEMPLATE_NOT_ACTIVE"
    unknown = allowing("consent/2", b"?" * 16)
    assert (await story.act(scene.owner, unknown)).reason == "RECORD_UNKNOWN"


@pytest.fixture
async def running(adoptions: Adoptions) -> ConsentScene:
    """A consent of version 1 that outlives the adoption of version 2."""
    story = adoptions.story
    scene = await ConsentScene.begin(story)
    await adoptions.adopted(consent_document(2))
    await story.applied(scene.owner, instantiate("consent", LONG, consent_terms(story.now)))
    return scene


async def test_an_upgrade_takes_the_owner_and_a_version_it_has_named(running: ConsentScene) -> None:
    story, owner = running.story, running.owner
    assert (await story.act(owner, upgrading(2, LONG))).reason == "TEMPLATE_NOT_ALLOWED"
    await story.applied(owner, allowing("consent/2"))
    for somebody in (running.clinician, story.member("hospital-a")):
        assert (await story.act(somebody, upgrading(2, LONG))).reason == "NOT_A_PARTY"
    before = await standing(story, LONG)
    await story.applied(owner, upgrading(2, LONG))
    after = await standing(story, LONG)
    assert (before.origin.version, after.origin.version) == (1, 2)
    assert after.position == before.position
    assert (await story.act(running.clinician, opening(LONG))).applied
    assert (await story.act(owner, upgrading(2, LONG))).reason == "UPGRADE_REFUSED"


async def test_the_timer_is_that_of_the_new_version(running: ConsentScene) -> None:
    story, owner = running.story, running.owner
    await story.applied(owner, allowing("consent/2"))
    await story.applied(owner, upgrading(2, LONG))
    due = (await standing(story, LONG)).position.timer
    story.now = due
    decided = await story.applied(story.member("hospital-c"), TICK)
    assert {order.instance for order in decided.orders} == {LONG}
    assert (await standing(story, LONG)).position.state == "expired"
    committed = await story.chain.committed()
    assert committed is not None
    assert committed.next_timer is None  # the timer of the former version is gone


async def test_what_has_ended_is_not_upgraded(running: ConsentScene) -> None:
    story, owner = running.story, running.owner
    await story.applied(owner, allowing("consent/2"))
    assert (await standing(story, CONSENT)).position.state == "expired"
    assert (await story.act(owner, upgrading(2))).reason == "UPGRADE_REFUSED"
    assert (await story.act(owner, upgrading(3, LONG))).reason == "TEMPLATE_UNKNOWN"
    assert (await story.act(owner, upgrading(2, b"?" * 16))).reason == "INSTANCE_UNKNOWN"


async def test_a_version_without_the_contracts_state_does_not_take_it(adoptions: Adoptions) -> None:
    story = adoptions.story
    document = consent_document(2).replace(b"\x66active", b"\x66living")
    await adoptions.adopted(document)
    scene = await ConsentScene.begin(story)
    await story.applied(scene.owner, allowing("consent/2"))
    assert (await story.act(scene.owner, upgrading(2))).reason == "INSTANCE_NOT_IN_STATE"


async def test_a_version_that_wants_other_terms_does_not_take_it(adoptions: Adoptions) -> None:
    story = adoptions.story
    source = resources.files("cipherward_contract.templates").joinpath("consent.yaml")
    terms: dict[str, Any] = yaml.safe_load(source.read_text("utf-8"))["terms"]
    terms["visits_max"] = {"type": "int", "minimum": 100, "maximum": 1000}
    await adoptions.adopted(consent_document(2, terms=terms))
    scene = await ConsentScene.begin(story)
    await story.applied(scene.owner, allowing("consent/2"))
    refused = await story.act(scene.owner, upgrading(2))
    assert refused.reason == "UPGRADE_REFUSED"
    assert "visits_max" in refused.message


async def test_an_undone_registration_leaves_nothing_behind(adoptions: Adoptions) -> None:
    """The deciding vote and an act that is refused, in one transaction: neither happened."""
    story = adoptions.story
    first, second = consent_document(2), consent_document(2, unclaimed=True)
    await adoptions.propose(first)
    await adoptions.propose(second, b"b" * 16)
    await adoptions.vote(members=MEMBERS[:2])
    refused = await story.act(
        story.member(MEMBERS[2]),
        vote(ADOPTION, "adopt", True),
        instantiate("consent", b"x" * 16, consent_terms(story.now), version=2),
    )
    assert refused.reason == "TEMPLATE_NOT_ACTIVE"
    assert await story.state(template_key("consent", 2)) is None
    await adoptions.vote(instance=b"b" * 16)
    story.now += DELAY
    owner = await story.record(RECORD, owned=False, templates=("consent/2",))
    act = instantiate("consent", CONSENT, consent_terms(story.now), version=2)
    assert (
        await story.act(owner, act)
    ).reason == "POLICY_DENIED"  # the second: unclaimed is no bar
