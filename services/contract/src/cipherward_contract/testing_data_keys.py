"""What tests of data keys share: keys, what computes with them, and taking either along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import Value
from cipherward_chain.key_holders import KeyHolders, key_holders_key
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.templates.document import Transition
from cipherward_contract.templates.shipped import load_shipped
from cipherward_contract.templates.values import member_list
from cipherward_contract.testing import MEMBERS, TICK, Decided, Story, instantiate, report, vote
from cipherward_contract.testing_studies import PERMIT, digest, granted
from cipherward_threshold.group.ceremony.plan import enough_of

KEY, STUDY, SCORE, RESHARING = b"k" * 16, b"c" * 16, b"r" * 16, b"h" * 16
KEY_RELEASES = 20  # of a key in these tests: more than any of them spends, unless it says so
DAY = 86_400


def key_terms(story: Story, **changed: Value) -> dict[str, Value]:
    """Return the terms of a data key of all members, whose enrolment closes in a day."""
    return {
        "data_set": "cohort-1",
        "year": 2026,
        "members": list(MEMBERS),
        "threshold": 3,
        "approvals": 3,
        "spec_digest": digest("columns"),
        "minimum": 10,
        "releases_max": KEY_RELEASES,
        "enrol_until": story.now + DAY,
        "expires": story.now + 300 * DAY,
        "step_seconds": 60,
        **changed,
    }


@dataclass(slots=True)
class KeyScene:
    """A contract whose members vote for it and then report what it orders."""

    story: Story
    id: bytes
    order: Order | None = None  # the newest that somebody must report

    def noted(self, decided: Decided) -> Decided:
        for order in decided.orders:
            if order.instance == self.id:
                self.order = order
        return decided

    async def instance(self) -> Instance:
        raw = await self.story.state(INSTANCE + self.id)
        assert raw is not None
        return Instance.from_bytes(self.id, raw)

    async def at(self) -> str:
        return (await self.instance()).position.state

    async def act(self, signer: Signer, act: pb.Act) -> Decided:
        """Let somebody act, and keep what is ordered."""
        return self.noted(await self.story.applied(signer, act))

    async def report(
        self, member: str, done: bool = True, digest: bytes = b"", order: Order | None = None
    ) -> TransactionResult:
        order = order or self.order
        assert order is not None
        act, story = report((order.height, order.index), done, digest), self.story
        decided = await story.block(story.transaction(story.member(member), act))
        return self.noted(decided).results[0]

    async def overdue(self) -> Decided:
        """Let the timer of the present state fall due."""
        self.story.now = max(self.story.now, (await self.instance()).position.timer)
        return self.noted(await self.story.applied(self.story.member("hospital-a"), TICK))

    async def advance(self) -> None:
        """Let members do what the present state waits for, all in agreement."""
        instance = await self.instance()
        template, _ = load_shipped()[instance.origin.template]
        state = instance.position.state
        if (found := template.transition_from(state, "report")) is not None:
            await self._all_report(state, found[1])
        elif state == "enrolling":
            await self.overdue()
        else:
            found = template.transition_from(state, "vote")
            assert found is not None
            await self.vote(found[0], MEMBERS[:3])

    async def vote(self, name: str, members: Iterable[str], approve: bool = True) -> Decided:
        """Let members vote on a transition, all in one block."""
        act, story = vote(self.id, name, approve), self.story
        said = [story.transaction(story.member(member), act) for member in members]
        return self.noted(await story.block(*said))

    async def _all_report(self, state: str, transition: Transition) -> None:
        order, step = self.order, transition.step
        assert order is not None
        assert step is not None
        named = order.arguments["set"] if order.instruction == "release_result" else None
        members = member_list(named or order.arguments["members"])
        story, said = self.story, list[bytes]()
        for member in members if step.quorum == "all" else members[:3]:
            what = self.id.hex(), state, str(order.height), "" if step.agree else member
            act = report((order.height, order.index), True, digest(*what))
            said.append(story.transaction(story.member(member), act))
        decided = self.noted(await story.block(*said))
        assert all(result.applied for result in decided.results)

    async def advance_to(self, state: str) -> None:
        """Take the contract along, until it is in `state`."""
        while await self.at() != state:
            await self.advance()


async def proposed_key(story: Story, key: bytes = KEY, /, **changed: Value) -> KeyScene:
    """Let hospital-a propose a data key."""
    scene = KeyScene(story, key)
    act = instantiate("data-key", key, key_terms(story, **changed))
    await scene.act(story.member("hospital-a"), act)
    return scene


async def ready_key(story: Story, key: bytes = KEY, /, **changed: Value) -> KeyScene:
    """Let a data key be made, and its columns fixed."""
    scene = await proposed_key(story, key, **changed)
    await scene.advance_to("ready")
    return scene


async def _of_the_key(key: KeyScene) -> dict[str, Value]:
    instance = await key.instance()
    raw = await key.story.state(key_holders_key(key.id))
    holders = MEMBERS if raw is None else KeyHolders.from_bytes(raw).members
    return {
        "source": key.id,
        "data_set": instance.origin.terms["data_set"],
        "members": list(holders),
        "threshold": enough_of(len(holders)),
        "approvals": 3,
        "minimum": 10,
        "key_digest": instance.variables["key_digest"],
        "key_releases_max": instance.origin.terms["releases_max"],
        "step_seconds": 60,
    }


async def column_terms(key: KeyScene, **changed: Value) -> dict[str, Value]:
    """Return the terms of a column study with a key, under the permit of `granted`."""
    return {
        **await _of_the_key(key),
        "permit": PERMIT,
        "outputs": ["count", "product_sum"],
        "releases_max": 100,
        "spec_digest": digest("spec"),
        "requester_key_digest": digest("requester"),
        **changed,
    }


async def proposed_column_study(
    key: KeyScene, study: bytes = STUDY, /, **changed: Value
) -> tuple[KeyScene, Signer]:
    """Let a researcher propose a column study; return who did, too."""
    story = key.story
    if await story.state(INSTANCE + PERMIT) is None:
        await granted(story, outputs=["count", "product_sum"])
    researcher = await story.staff("hospital-b", "researcher", f"researcher/{study.hex()}")
    scene = KeyScene(story, study)
    terms = await column_terms(key, **changed)
    await scene.act(researcher, instantiate("column-study", study, terms))
    return scene, researcher


async def score_terms(key: KeyScene, **changed: Value) -> dict[str, Value]:
    """Return the terms of scores for hospital-b, twice within a day."""
    return {
        **await _of_the_key(key),
        "hospital": ["hospital-b"],
        "model_digest": digest("model"),
        "uses_max": 2,
        "expires": key.story.now + DAY,
        **changed,
    }


async def granted_scores(key: KeyScene, score: bytes = SCORE, /, **changed: Value) -> KeyScene:
    """Let scores for hospital-b be proposed and granted."""
    scene, story = KeyScene(key.story, score), key.story
    terms = await score_terms(key, **changed)
    await scene.act(story.member("hospital-b"), instantiate("risk-score", score, terms))
    await scene.advance_to("granted")
    return scene


async def resharing_terms(
    key: KeyScene, members: Iterable[str], /, **changed: Value
) -> dict[str, Value]:
    """Return the terms by which a key goes over to members, by its holders of today."""
    now = await _of_the_key(key)
    found = sorted(members)
    return {
        **now,
        "holders": now["members"],
        "old_threshold": now["threshold"],
        "members": found,
        "threshold": enough_of(len(found)),
        **changed,
    }


async def proposed_resharing(
    key: KeyScene, members: Iterable[str], resharing: bytes = RESHARING, /, **changed: Value
) -> KeyScene:
    """Let hospital-a propose that a key goes over to members."""
    scene = KeyScene(key.story, resharing)
    terms = await resharing_terms(key, members, **changed)
    act = instantiate("key-resharing", resharing, terms)
    await scene.act(key.story.member("hospital-a"), act)
    return scene


async def handed_over(
    key: KeyScene, members: Iterable[str], resharing: bytes = RESHARING, /, **changed: Value
) -> KeyScene:
    """Let a key go over to members."""
    scene = await proposed_resharing(key, members, resharing, **changed)
    await scene.advance_to("handed_over")
    return scene
