"""Break-glass: at once, for a short time, told, looked at, or else it is asked who it was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import register_pseudonym
from cipherward_chain.authorization import PseudonymSigner, Signer
from cipherward_chain.canonical import Value
from cipherward_chain.orders import Order
from cipherward_chain.testing import seed_of
from cipherward_contract.entries import Instance
from cipherward_contract.marks import suspended_key, suspended_until
from cipherward_contract.testing import (
    TICK,
    Decided,
    Presented,
    Story,
    instantiate,
    transition,
)
from cipherward_contract.testing_records import DAY, READER_KEY, RECORD, standing

EMERGENCY = b"e" * 16
HOUR = 3_600
TEMPLATES = ("consent/1", "emergency-access/1")


def terms(**changed: Value) -> dict[str, Value]:
    return {
        "record": RECORD,
        "reader_key": READER_KEY,
        "reason": "unconscious",
        "visit_seconds": HOUR,
        **changed,
    }


def breaking(instance: bytes = EMERGENCY, **changed: Value) -> pb.Act:
    return instantiate("emergency-access", instance, terms(**changed))


@dataclass(frozen=True, slots=True)
class Scene:
    """A record of hospital-a, opened in an emergency by a clinician of hospital-b at `began`."""

    story: Story
    owner: PseudonymSigner
    clinician: PseudonymSigner
    began: int
    block: Decided

    async def state(self) -> str:
        return (await standing(self.story, EMERGENCY)).position.state

    async def tick(self) -> list[str]:
        """Let a block exist; return the orders that its timers gave."""
        decided = await self.story.applied(self.story.member("hospital-c"), TICK)
        return [order.instruction for order in decided.orders]

    async def review(self, signer: Signer | None = None, name: str = "review") -> str:
        act = transition(EMERGENCY, name, finding="justified")
        return (await self.story.act(signer or self.story.member("hospital-a"), act)).reason


@pytest.fixture
async def scene(story: Story) -> Scene:
    owner = await story.record(RECORD, templates=TEMPLATES)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    began = story.now
    block = await story.applied(clinician, breaking())
    return Scene(story, owner, clinician, began, block)


def release_of(decided: Decided) -> Order:
    (order,) = decided.orders
    assert order.instruction == "release_key"
    return order


async def test_the_key_is_released_at_once_to_the_clinician(scene: Scene) -> None:
    order = release_of(scene.block)
    assert scene.block.results[0].policies == ("clinician-breaks-the-glass",)
    assert order.arguments["reader"] == scene.clinician.public_key
    assert order.arguments["reader_key"] == READER_KEY
    assert order.arguments["grant"] == EMERGENCY
    assert order.arguments["ends"] == scene.began + HOUR


async def test_a_record_that_nobody_owns_is_opened_too(story: Story) -> None:
    await story.record(RECORD, owned=False, templates=TEMPLATES)
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    release_of(await story.applied(clinician, breaking()))


async def test_a_record_whose_owner_named_no_emergencies_stays_closed(story: Story) -> None:
    await story.record(RECORD, templates=("consent/1",))
    clinician = await story.staff("hospital-b", "clinician", "clinician")
    assert (await story.act(clinician, breaking())).reason == "TEMPLATE_NOT_ALLOWED"


@pytest.mark.parametrize("role", ["dpo", "researcher"])
async def test_only_clinicians_break_the_glass(scene: Scene, role: str) -> None:
    somebody = await scene.story.staff("hospital-b", role, role)
    result = await scene.story.act(somebody, breaking(b"f" * 16))
    assert (result.reason, result.policies) == ("POLICY_DENIED", ())


async def test_members_and_patients_break_no_glass(scene: Scene) -> None:
    for somebody in (scene.owner, scene.story.member("hospital-a")):
        assert (await scene.story.act(somebody, breaking(b"f" * 16))).reason == "POLICY_DENIED"


async def test_a_clinician_without_a_registered_key_opens_nothing(scene: Scene) -> None:
    presented = Presented("duty:hospital-b:1", "hospital-b", "staff", 1, "clinician", "another")
    assert (await scene.story.act(presented, breaking(b"f" * 16))).reason == "KEY_REQUIRED"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reason": "curiosity"}, "reason: not of the closed list"),
        ({"visit_seconds": 59}, "visit_seconds: not between 60 and 14400"),
        ({"visit_seconds": 14_401}, "visit_seconds: not between 60 and 14400"),
        ({"reader_key": bytes(32)}, "reader_key: not bytes of length 1216"),
    ],
)
async def test_an_emergency_has_a_reason_and_a_short_visit(
    scene: Scene, changed: dict[str, Value], message: str
) -> None:
    result = await scene.story.act(scene.clinician, breaking(b"f" * 16, **changed))
    assert (result.reason, result.message) == ("TERMS_MALFORMED", message)


async def test_the_visit_ends_by_itself_and_the_review_stays_due(scene: Scene) -> None:
    scene.story.now = scene.began + HOUR
    assert await scene.tick() == ["revoke_key", "cut_transfers"]
    assert await scene.state() == "ended"


@pytest.mark.parametrize(("who", "act"), [("clinician", "close"), ("owner", "revoke")])
async def test_the_reader_closes_and_the_owner_revokes(scene: Scene, who: str, act: str) -> None:
    signer = {"clinician": scene.clinician, "owner": scene.owner}[who]
    decided = await scene.story.applied(signer, transition(EMERGENCY, act))
    assert [order.instruction for order in decided.orders] == ["revoke_key", "cut_transfers"]
    assert await scene.state() == "ended"
    assert (await scene.story.act(signer, transition(EMERGENCY, act))).reason == "STATE_FORBIDS"


async def test_nobody_else_ends_the_visit(scene: Scene) -> None:
    stranger = await scene.story.staff("hospital-c", "clinician", "stranger")
    for act in ("close", "revoke"):
        assert (await scene.story.act(stranger, transition(EMERGENCY, act))).reason != ""
    assert (await scene.story.act(scene.owner, transition(EMERGENCY, "close"))).reason != ""
    assert await scene.state() == "open"


async def test_a_review_in_time_ends_the_matter(scene: Scene) -> None:
    assert await scene.review() == "STATE_FORBIDS"  # the visit is not over
    scene.story.now = scene.began + HOUR
    await scene.tick()
    assert await scene.review() == ""
    assert await scene.state() == "reviewed"
    kept = (await standing(scene.story, EMERGENCY)).variables
    assert kept["finding"] == "justified"
    scene.story.now = scene.began + 8 * DAY
    assert await scene.tick() == []
    assert (await scene.story.act(scene.clinician, TICK)).applied


async def test_officers_of_author_and_custodian_review_and_others_do_not(scene: Scene) -> None:
    story = scene.story
    await story.applied(scene.clinician, transition(EMERGENCY, "close"))
    elsewhere = await story.staff("hospital-b", "dpo", "officer-b")
    clinician = await story.staff("hospital-a", "clinician", "clinician-a")
    officer = await story.staff("hospital-a", "dpo", "officer")
    for somebody in (elsewhere, clinician, scene.owner, story.member("hospital-b")):
        assert await scene.review(somebody) == "POLICY_DENIED"
    assert await scene.review(officer) == ""


async def test_a_missed_review_suspends_the_pseudonym(scene: Scene) -> None:
    story = scene.story
    await story.applied(scene.clinician, transition(EMERGENCY, "close"))
    story.now = scene.began + 3 * DAY
    assert await scene.tick() == ["suspend"]
    assert await scene.state() == "unreviewed"
    refused = await story.act(scene.clinician, breaking(b"f" * 16))
    assert refused.reason == "PSEUDONYM_SUSPENDED"
    raw = await story.state(suspended_key("duty:hospital-b:1", _pseudonym()))
    assert raw is not None
    assert suspended_until(raw) == scene.began + 33 * DAY


def _pseudonym() -> bytes:
    name = "clinician"
    return Presented("duty:hospital-b:1", "hospital-b", "staff", 1, name, name).pseudonym


async def test_a_suspended_pseudonym_gives_up_rights_and_takes_no_other_key(scene: Scene) -> None:
    story, second = scene.story, b"s" * 16
    story.now = scene.began + 3 * DAY - 60
    await story.applied(scene.clinician, breaking(second))
    story.now = scene.began + 3 * DAY
    await scene.tick()  # the visit's end
    await scene.tick()  # and the missed review: a contract takes one timer a block
    assert (await story.act(scene.clinician, TICK)).applied  # a tick grants nothing
    refused = await story.act(scene.clinician, breaking(b"g" * 16))
    assert refused.reason == "PSEUDONYM_SUSPENDED"
    await story.applied(scene.clinician, transition(second, "close"))
    presented = Presented("duty:hospital-b:1", "hospital-b", "staff", 1, "clinician", "clinician")
    act = register_pseudonym(story.genesis.chain_id, presented.scope, seed_of("another key"))
    assert (await story.act(presented, act)).reason == "PSEUDONYM_SUSPENDED"


async def test_colleagues_of_a_suspended_clinician_go_on(scene: Scene) -> None:
    scene.story.now = scene.began + 3 * DAY
    await scene.tick()
    colleague = await scene.story.staff("hospital-b", "clinician", "colleague")
    await scene.story.applied(colleague, breaking(b"f" * 16))


async def test_a_late_review_spares_the_opening_but_not_the_suspension(scene: Scene) -> None:
    story = scene.story
    await story.applied(scene.clinician, transition(EMERGENCY, "close"))
    story.now = scene.began + 3 * DAY
    await scene.tick()
    assert await scene.review() == "STATE_FORBIDS"
    assert await scene.review(name="review_late") == ""
    story.now = scene.began + 8 * DAY
    assert await scene.tick() == []
    refused = await story.act(scene.clinician, breaking(b"f" * 16))
    assert refused.reason == "PSEUDONYM_SUSPENDED"


async def test_after_seven_days_the_members_are_asked_who_it_was(scene: Scene) -> None:
    story = scene.story
    orders: list[str] = []
    for after in (HOUR, 3 * DAY, 7 * DAY):
        story.now = scene.began + after
        orders += await scene.tick()
    assert orders == ["revoke_key", "cut_transfers", "suspend", "begin_opening"]
    assert await scene.state() == "handed_over"
    opening = await _opening(story)
    assert opening.origin.terms["ground"] == "emergency-unreviewed"
    assert opening.origin.terms["scope"] == "duty:hospital-b:1"
    assert opening.origin.terms["pseudonym"] == _pseudonym()
    assert opening.origin.terms["recipient"] == "hospital-a"
    custodian = story.genesis.members["hospital-a"].custodian_public_key
    assert opening.origin.terms["recipient_key"] == custodian
    assert opening.position.state == "proposed"
    assert opening.origin.creator == b""


async def _opening(story: Story) -> Instance:
    """Return the one opening of the committed state, found as people find it: by the index."""
    rows: list[tuple[bytes]] = await story.database.read(
        lambda connection: list(connection.execute("SELECT instance FROM instance_index"))
    )
    instances = [await standing(story, row[0]) for row in rows]
    (found,) = [one for one in instances if one.origin.template == "opening"]
    return found
