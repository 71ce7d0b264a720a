"""Staff can be opened by a warrant that the members voted; the chain never learns who it was."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cipherward_chain.acts import register_pseudonym
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value
from cipherward_chain.domains import warrant_context
from cipherward_chain.orders import Order
from cipherward_chain.sealing import SealInfo, seal
from cipherward_chain.testing import seed_of
from cipherward_contract.entries import INSTANCE, KEY, Instance, Registration
from cipherward_contract.testing import (
    MEMBERS,
    TICK,
    Presented,
    Story,
    contract_genesis,
    instantiate,
    open_story,
    report,
)
from cipherward_contract.testing_ceremonies import Openable, SharedKey, shared_key
from cipherward_contract.testing_registry import suspended, voted
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.curve import G, octets, random_scalar, read_point
from cipherward_threshold.group.opening import combine_opening, make_opening_share

CEREMONY, WARRANT = bytes([1]) * 16, bytes([2]) * 16
RECIPIENT = MEMBERS[2]


@dataclass(frozen=True, slots=True)
class Somebody:
    """A member of staff of hospital-b, registered so that the members can open who it is."""

    identity: bytes
    presented: Openable
    signer: PseudonymSigner


@dataclass(frozen=True, slots=True)
class Scene:
    """A chain with an opening key."""

    story: Story
    key: SharedKey

    def presenting(self, name: str, member: str = MEMBERS[1]) -> tuple[bytes, Openable]:
        """Return an identity key, and its holder's presentation."""
        identity, blinding = G * random_scalar(), random_scalar()
        shared = read_point(self.key.entry.public_key)
        ciphertext = octets(G * blinding, shared * blinding + identity)
        epoch = self.story.genesis.epoch_at(self.story.now)
        presented = Presented(f"duty:{member}:{epoch}", member, "staff", epoch, "clinician", name)
        return octets(identity), Openable(presented, self.key.entry.public_key, ciphertext)

    async def somebody(self, name: str = "somebody") -> Somebody:
        """Register somebody."""
        identity, presented = self.presenting(name)
        return Somebody(identity, presented, await register(self.story, presented, name))

    def terms(self, who: Openable, **changed: Value) -> dict[str, Value]:
        """Return the terms of a warrant."""
        return {
            "scope": who.scope,
            "pseudonym": who.presented.pseudonym,
            "ground": "misuse",
            "recipient": RECIPIENT,
            "recipient_key": self.story.keys.custodian_keys[RECIPIENT].public_key,
            "vote_seconds": 3_600,
            "answer_seconds": 3_600,
            **changed,
        }

    async def approved(self, who: Openable) -> Order:
        """Propose a warrant and let the members approve it; return what it orders."""
        act = instantiate("opening", WARRANT, self.terms(who))
        await self.story.applied(self.story.member(MEMBERS[0]), act)
        (order,) = (await voted(self.story, WARRANT, "approve", MEMBERS[:3])).orders
        return order

    async def answer(self, order: Order, member: str, digest: bytes = b"d" * 32) -> str:
        """Report that a guardian has sealed its share; return why that is refused."""
        act = report((order.height, order.index), digest=digest)
        return (await self.story.act(self.story.member(member), act)).reason

    async def warrant(self) -> Instance:
        """Return the warrant as it stands."""
        raw = await self.story.state(INSTANCE + WARRANT)
        assert raw is not None
        return Instance.from_bytes(WARRANT, raw)


async def register(story: Story, presented: Openable, name: str) -> PseudonymSigner:
    """Register the key of `name` behind a presentation that can be opened."""
    seed = seed_of(name)
    act = register_pseudonym(story.genesis.chain_id, presented.scope, seed)
    await story.applied(presented, act)
    return PseudonymSigner(seed)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncGenerator[Scene]:
    genesis, keys = contract_genesis()
    async with open_story(tmp_path, genesis, keys) as story:
        yield Scene(story, await shared_key(story, CEREMONY, "opening"))


async def test_a_warrant_is_answered_when_as_many_guardians_as_open_have_sealed_their_share(
    scene: Scene,
) -> None:
    who = await scene.somebody()
    order = await scene.approved(who.presented)
    assert order.instruction == "open_identity"
    given = order.arguments
    assert given["warrant"] == WARRANT
    assert given["ciphertext"] == who.presented.opening
    assert given["opening_key"] == scene.key.entry.public_key
    assert (given["key_epoch"], given["sharing"], given["threshold"]) == (1, 1, 3)
    assert given["guardians"] == list(MEMBERS)
    for member in MEMBERS[:2]:
        assert await scene.answer(order, member) == ""
        assert (await scene.warrant()).position.state == "opening"
    assert await scene.answer(order, MEMBERS[3]) == ""
    warrant = await scene.warrant()
    assert warrant.position.state == "answered"
    answers = warrant.variables["answers"]
    assert isinstance(answers, dict)
    assert sorted(answers) == [MEMBERS[0], MEMBERS[1], MEMBERS[3]]


async def test_a_guardian_that_fails_does_not_stop_the_others_and_too_many_do(
    scene: Scene,
) -> None:
    order = await scene.approved((await scene.somebody()).presented)
    failing = report((order.height, order.index), done=False)
    await scene.story.applied(scene.story.member(MEMBERS[0]), failing)
    assert (await scene.warrant()).position.state == "opening"
    await scene.story.applied(scene.story.member(MEMBERS[1]), failing)
    assert (await scene.warrant()).position.state == "failed"


async def test_an_answer_says_what_was_sealed_and_comes_from_a_guardian_once(
    scene: Scene,
) -> None:
    order = await scene.approved((await scene.somebody()).presented)
    assert await scene.answer(order, MEMBERS[0], b"") == "DIGEST_REQUIRED"
    assert await scene.answer(order, MEMBERS[0]) == ""
    assert await scene.answer(order, MEMBERS[0]) == "ALREADY_REPORTED"


async def test_a_warrant_that_nobody_answers_in_time_fails(scene: Scene) -> None:
    await scene.approved((await scene.somebody()).presented)
    scene.story.now += 3_600
    await scene.story.applied(scene.story.member(MEMBERS[0]), TICK)
    assert (await scene.warrant()).position.state == "failed"


async def test_a_warrant_that_the_members_do_not_approve_opens_nothing(scene: Scene) -> None:
    who = (await scene.somebody()).presented
    act = instantiate("opening", WARRANT, scene.terms(who))
    await scene.story.applied(scene.story.member(MEMBERS[0]), act)
    decided = await voted(scene.story, WARRANT, "approve", MEMBERS[:2])
    assert not decided.orders
    scene.story.now += 3_600
    await scene.story.applied(scene.story.member(MEMBERS[0]), TICK)
    assert (await scene.warrant()).position.state == "lapsed"


async def test_only_members_ask_for_a_warrant_and_for_a_ground_of_the_list(scene: Scene) -> None:
    who = await scene.somebody()
    act = instantiate("opening", WARRANT, scene.terms(who.presented))
    assert (await scene.story.act(who.signer, act)).reason == "POLICY_DENIED"
    curious = instantiate("opening", WARRANT, scene.terms(who.presented, ground="curiosity"))
    member = scene.story.member(MEMBERS[0])
    assert (await scene.story.act(member, curious)).reason == "TERMS_MALFORMED"


async def test_staff_present_for_the_opening_key_as_soon_as_there_is_one(scene: Scene) -> None:
    story = scene.story
    _, presented = scene.presenting("somebody")
    wrong = [
        presented.presented,
        replace(presented, opening_key=b"", opening=b""),
        replace(presented, opening_key=bytes(48)),
    ]
    act = register_pseudonym(story.genesis.chain_id, presented.scope, bytes(range(32)))
    for one in wrong:
        assert (await story.act(one, act)).reason == "OPENING_REQUIRED"
    assert (await story.act(presented, act)).applied


async def test_staff_show_no_opening_while_the_members_have_no_key_for_it(story: Story) -> None:
    epoch = story.genesis.epoch_at(story.now)
    staff = Presented(f"duty:{MEMBERS[1]}:{epoch}", MEMBERS[1], "staff", epoch, "clinician")
    act = register_pseudonym(story.genesis.chain_id, staff.scope, bytes(range(32)))
    opened = Openable(staff, bytes(48), bytes(96))
    assert (await story.act(opened, act)).reason == "OPENING_REQUIRED"
    assert (await story.act(staff, act)).applied


async def test_a_patient_is_opened_by_nobody(scene: Scene) -> None:
    _, staff = scene.presenting("somebody")
    patient = Presented(f"record:{bytes(16).hex()}", MEMBERS[1])
    act = register_pseudonym(scene.story.genesis.chain_id, patient.scope, bytes(range(32)))
    opened = replace(staff, presented=patient)
    assert (await scene.story.act(opened, act)).reason == "PRESENTATION_REFUSED"
    assert (await scene.story.act(patient, act)).applied
    terms = scene.terms(staff, scope=patient.scope, pseudonym=patient.pseudonym)
    result = await scene.story.act(
        scene.story.member(MEMBERS[0]), instantiate("opening", WARRANT, terms)
    )
    assert result.reason == "TERMS_MALFORMED"


async def test_who_registered_before_there_was_an_opening_key_cannot_be_opened(
    story: Story,
) -> None:
    await story.staff(MEMBERS[1], "clinician", "early")
    scene = Scene(story, await shared_key(story, CEREMONY, "opening"))
    _, presented = scene.presenting("early")
    act = instantiate("opening", WARRANT, scene.terms(presented))
    await story.applied(story.member(MEMBERS[0]), act)
    decided = await voted(story, WARRANT, "approve", MEMBERS[:3])
    assert decided.results[0].reason == "NOT_RECORDED"
    assert not decided.orders


async def test_a_registration_keeps_what_can_be_opened_and_under_which_key(scene: Scene) -> None:
    who = await scene.somebody()
    raw = await scene.story.state(KEY + who.signer.public_key)
    assert raw is not None
    found = Registration.from_bytes(raw)
    assert (found.opening, found.opening_epoch) == (who.presented.opening, 1)


async def test_an_order_leaves_out_a_suspended_guardian(scene: Scene) -> None:
    who = await scene.somebody()
    await suspended(scene.story, MEMBERS[3], bytes([9]) * 16)
    order = await scene.approved(who.presented)
    assert order.arguments["guardians"] == list(MEMBERS[:3])


async def test_neither_shares_nor_the_identity_are_ever_on_the_chain(scene: Scene) -> None:
    """H3: whoever reads the whole chain, all its states included, learns who answered, and no
    more; the recipient learns who it is.
    """
    story, who = scene.story, await scene.somebody()
    order = await scene.approved(who.presented)
    key = threshold_key(story.genesis.chain_id, scene.key.entry)
    context = warrant_context(story.genesis.chain_id, WARRANT, RECIPIENT)
    recipient = story.keys.custodian_keys[RECIPIENT]
    shares: dict[int, bytes] = {}
    states: list[bytes] = []
    for index, member in enumerate(MEMBERS[:3], start=1):
        secret = scene.key.shares[member]
        shares[index] = make_opening_share(key, index, secret, who.presented.opening[:48], context)
        info = SealInfo(story.genesis.chain_id, WARRANT, f"opening/{member}", context)
        sealed = seal(shares[index], recipient.public_key, info)
        assert await scene.answer(order, member, hashlib.sha256(sealed).digest()) == ""
        states += await pairs(story)
    assert combine_opening(key, who.presented.opening, shares, context) == who.identity
    blocks = [raw for _, sent, answer in story.blocks for raw in (*sent, answer)]
    public = b"\n".join([*states, *blocks])
    assert who.presented.opening in public  # what is searched here is what everybody can read
    secrets = [who.identity, *(share[6:54] for share in shares.values())]
    secrets += scene.key.shares.values()
    for secret in secrets:
        assert secret not in public
        assert secret.hex().encode() not in public


async def pairs(story: Story) -> list[bytes]:
    """Return every pair of the committed state, key before value."""
    found = await story.database.read(
        lambda connection: connection.execute("SELECT key, value FROM state").fetchall()
    )
    return [octet for row in found for octet in row]
