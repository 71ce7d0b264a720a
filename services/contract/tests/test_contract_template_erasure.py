"""Erasure: no key is released from the block that orders it, and everybody says what they did."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import anchor_record
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value
from cipherward_contract.entries import Instance
from cipherward_contract.marks import erased_entry, erased_key
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Decided,
    Story,
    instantiate,
    report,
    transition,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_contract.testing_records import (
    CONSENT,
    DAY,
    READER_KEY,
    RECORD,
    consent_terms,
    opening,
    share_record_key,
    shared_record,
    standing,
)

ERASURE, STATEMENT = b"z" * 16, b"s" * 32
MONTH = 30 * DAY


def erasing(instance: bytes = ERASURE, **changed: Value) -> pb.Act:
    terms: dict[str, Value] = {"record": RECORD, "ground": "consent-withdrawn", **changed}
    return instantiate("erasure", instance, terms)


@dataclass(frozen=True, slots=True)
class Scene:
    """A shared record of hospital-a with a consent to hospital-b; every member is a guardian."""

    story: Story
    owner: PseudonymSigner
    clinician: PseudonymSigner

    async def ordered(self) -> tuple[int, int]:
        """Erase the record; return the order's place."""
        decided = await self.story.applied(self.owner, erasing())
        return decided.height, 0

    async def reported(
        self, member: str, place: tuple[int, int], *, done: bool = True, digest: bytes = STATEMENT
    ) -> str:
        act = report(place, done, digest if done else b"")
        return (await self.story.act(self.story.member(member), act)).reason

    async def now(self) -> Instance:
        return await standing(self.story, ERASURE)

    async def tick(self) -> Decided:
        return await self.story.applied(self.story.member("hospital-c"), TICK)


@pytest.fixture
async def scene(story: Story) -> Scene:
    key = await share_record_key(story)
    owner = await shared_record(story, key.key_epoch)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    await story.applied(owner, instantiate("consent", CONSENT, consent_terms(story.now)))
    return Scene(story, owner, clinician)


async def test_the_owner_erases_and_custodian_and_guardians_are_ordered(scene: Scene) -> None:
    decided = await scene.story.applied(scene.owner, erasing())
    (order,) = decided.orders
    assert (order.instruction, order.template) == ("erase_record", "erasure")
    assert order.arguments == {
        "record": RECORD,
        "custodian": "hospital-a",
        "members": list(MEMBERS),
    }
    assert await scene.story.state(erased_key(RECORD)) == erased_entry(decided.height)


async def test_from_that_block_on_no_key_is_released(scene: Scene) -> None:
    story = scene.story
    erase = story.transaction(scene.owner, erasing())
    look = story.transaction(scene.clinician, opening())
    decided = await story.block(erase, look)  # in the very same block, behind it
    assert [result.reason for result in decided.results] == ["", "RECORD_ERASED"]
    assert [order.instruction for order in decided.orders] == ["erase_record"]
    emergency = {
        "record": RECORD,
        "reader_key": READER_KEY,
        "reason": "unconscious",
        "visit_seconds": 60,
    }
    refused = await story.act(
        scene.clinician, instantiate("emergency-access", b"e" * 16, emergency)
    )
    assert refused.reason == "RECORD_ERASED"
    again = instantiate("consent", b"d" * 16, consent_terms(story.now))
    assert (await story.act(scene.owner, again)).reason == "RECORD_ERASED"


async def test_an_erasure_before_it_in_the_block_wins_and_after_it_the_opening_stands(
    scene: Scene,
) -> None:
    story = scene.story
    look = story.transaction(scene.clinician, opening())
    erase = story.transaction(scene.owner, erasing())
    decided = await story.block(look, erase)
    assert [order.instruction for order in decided.orders] == ["release_key", "erase_record"]


async def test_it_is_erased_when_the_custodian_and_enough_guardians_have_said_so(
    scene: Scene,
) -> None:
    place = await scene.ordered()
    for member in ("hospital-b", "hospital-c", "hospital-d"):
        assert await scene.reported(member, place) == ""
        assert (await scene.now()).position.state == "ordered"  # the custodian is missing
    assert await scene.reported("hospital-a", place) == ""
    done = await scene.now()
    assert done.position.state == "erased"
    assert done.variables["statements"] == dict.fromkeys(MEMBERS, STATEMENT)


async def test_as_many_guardians_may_be_away_as_may_fail(scene: Scene) -> None:
    place = await scene.ordered()
    for member in ("hospital-a", "hospital-b"):
        assert await scene.reported(member, place) == ""
    assert (await scene.now()).position.state == "ordered"
    assert await scene.reported("hospital-d", place) == ""
    assert (await scene.now()).position.state == "erased"


async def test_a_report_without_a_statement_is_refused(scene: Scene) -> None:
    place = await scene.ordered()
    assert await scene.reported("hospital-a", place, digest=b"") == "DIGEST_REQUIRED"
    assert await scene.reported("hospital-a", place) == ""
    assert await scene.reported("hospital-a", place) == "ALREADY_REPORTED"


async def test_a_custodian_that_cannot_ends_it_unfinished(scene: Scene) -> None:
    place = await scene.ordered()
    assert await scene.reported("hospital-a", place, done=False) == ""
    ended = await scene.now()
    assert (ended.position.state, ended.variables["failure"]) == ("unfinished", "MEMBER_FAILED")
    assert (await scene.story.act(scene.clinician, opening())).reason == "RECORD_ERASED"


async def test_one_failed_guardian_does_not_and_two_do(scene: Scene) -> None:
    place = await scene.ordered()
    assert await scene.reported("hospital-b", place, done=False) == ""
    assert (await scene.now()).position.state == "ordered"
    assert await scene.reported("hospital-c", place, done=False) == ""
    assert (await scene.now()).position.state == "unfinished"


async def test_who_is_late_still_counts_and_silence_ends_it(scene: Scene) -> None:
    place = await scene.ordered()
    scene.story.now += MONTH
    await scene.tick()
    assert (await scene.now()).position.state == "overdue"
    for member in ("hospital-a", "hospital-b"):
        assert await scene.reported(member, place) == ""
    scene.story.now += 2 * MONTH
    await scene.tick()
    assert (await scene.now()).position.state == "unfinished"


async def test_an_overdue_erasure_is_completed(scene: Scene) -> None:
    place = await scene.ordered()
    scene.story.now += MONTH
    await scene.tick()
    for member in MEMBERS[:3]:
        assert await scene.reported(member, place) == ""
    assert (await scene.now()).position.state == "erased"


async def test_a_record_is_erased_once(scene: Scene) -> None:
    await scene.ordered()
    result = await scene.story.act(scene.owner, erasing(b"y" * 16))
    assert result.reason == "RECORD_ERASED"


@pytest.mark.parametrize("who", ["clinician", "author", "member"])
async def test_nobody_but_its_owner_erases_a_record_that_has_one(scene: Scene, who: str) -> None:
    story = scene.story
    signers = {
        "clinician": scene.clinician,
        "author": story.member("hospital-a"),
        "member": story.member("hospital-b"),
    }
    assert (await story.act(signers[who], erasing())).reason == "POLICY_DENIED"
    assert await story.state(erased_key(RECORD)) is None


async def test_the_author_erases_what_nobody_owns(story: Story) -> None:
    await story.record(RECORD, owned=False)
    assert (await story.act(story.member("hospital-b"), erasing())).reason == "POLICY_DENIED"
    decided = await story.applied(story.member("hospital-a"), erasing())
    assert decided.orders[0].arguments["members"] == ["hospital-a"]  # of suite 1: no guardians
    place = decided.height, 0
    await story.applied(story.member("hospital-a"), report(place, digest=STATEMENT))
    assert (await standing(story, ERASURE)).position.state == "erased"


async def test_an_owner_whose_epoch_has_ended_still_erases(scene: Scene) -> None:
    story = scene.story
    story.now += story.genesis.parameters.epoch_seconds
    terms = consent_terms(story.now)
    refused = await story.act(scene.owner, instantiate("consent", b"d" * 16, terms))
    assert refused.reason == "EPOCH_OVER"
    await scene.ordered()


async def test_revoking_and_expiring_go_on_about_an_erased_record(scene: Scene) -> None:
    await scene.ordered()
    decided = await scene.story.applied(scene.owner, transition(CONSENT, "revoke"))
    assert [order.instruction for order in decided.orders] == ["revoke_key", "cut_transfers"]


async def test_an_erased_record_that_nobody_owned_is_not_claimed(story: Story) -> None:
    owner = await story.record(RECORD, owned=False)
    await story.applied(story.member("hospital-a"), erasing())
    anchor = record_anchor(RECORD)
    slot = b"\0" * 32
    again = anchor_record(anchor, slot, owner.public_key, bytes(64))
    assert (await story.act(story.member("hospital-a"), again)).reason == "RECORD_EXISTS"
