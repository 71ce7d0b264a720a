"""What tests of studies share: data permits, granted, and studies under them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.marks import budget_key, budget_spent
from cipherward_contract.templates.values import member_list
from cipherward_contract.testing import MEMBERS, TICK, Decided, Story, instantiate, report, vote
from cipherward_contract.testing_registry import voted

PERMIT, STUDY = b"p" * 16, b"s" * 16
# Every state of a study of one round between its approval and its end, while all goes well.
STEPS = (
    "keying_commit",
    "keying_reveal",
    "keying_confirm",
    "counting",
    "counts_ready",
    "checking",
    "valuing",
    "values_ready",
    "releasing",
)
# The states in which members agree on a digest, and those of which a threshold of reports decides.
AGREED = frozenset(
    {"keying_confirm", "counts_ready", "counts_adding", "values_ready", "values_adding"}
)
ENOUGH = frozenset(
    {"counts_ready", "checking", "counts_refreshing", "counts_adding", "values_ready"}
    | {"values_refreshing", "values_adding"}
)
USER = "hospital-b"
OUTPUTS = ("count", "mean", "variance")
RELEASES = 100  # of a permit in these tests: more than any of them spends, unless it says so
PERMIT_SECONDS = 90 * 86_400  # beyond the epoch in which it is granted


def permit_terms(story: Story, **changed: Value) -> dict[str, Value]:
    """Return the terms of a permit for the researchers of hospital-b."""
    return {
        "purposes": ["research"],
        "data_sets": ["cohort-1", "cohort-2"],
        "user_member": USER,
        "user_key": b"",
        "outputs": list(OUTPUTS),
        "minimum": 10,
        "releases_max": RELEASES,
        "expires": story.now + PERMIT_SECONDS,
        "holders": list(MEMBERS),
        "threshold": 3,
        "approvals": 3,
        "vote_seconds": 3_600,
        **changed,
    }


def study_terms(**changed: Value) -> dict[str, Value]:
    """Return the terms of a study of all members under a permit of `permit_terms`."""
    return {
        "permit": PERMIT,
        "data_set": "cohort-1",
        "outputs": list(OUTPUTS),
        "releases_max": RELEASES,
        "rounds_max": 1,
        "rho": 0,
        "rho_max": 0,
        "spec_digest": hashlib.sha256(b"spec").digest(),
        "members": list(MEMBERS),
        "threshold": 3,
        "approvals": 3,
        "minimum": 10,
        "requester_key_digest": hashlib.sha256(b"requester").digest(),
        "step_seconds": 60,
        **changed,
    }


async def applied_for(story: Story, permit: bytes = PERMIT, /, **changed: Value) -> PseudonymSigner:
    """Let a researcher of hospital-b apply for a permit; return who did."""
    applicant = await story.staff(USER, "researcher", f"applicant/{permit.hex()}")
    await story.applied(
        applicant, instantiate("data-permit", permit, permit_terms(story, **changed))
    )
    return applicant


async def granted(story: Story, permit: bytes = PERMIT, /, **changed: Value) -> PseudonymSigner:
    """Let a permit be applied for and granted; return who applied."""
    applicant = await applied_for(story, permit, **changed)
    await voted(story, permit, "grant", MEMBERS[:3])
    return applicant


def digest(*parts: str) -> bytes:
    return hashlib.sha256("/".join(parts).encode()).digest()


@dataclass(slots=True)
class StudyScene:
    """A study of four members, proposed by a researcher of hospital-b."""

    story: Story
    researcher: PseudonymSigner
    study: bytes = STUDY
    order: Order | None = None  # the newest

    def noted(self, decided: Decided) -> Decided:
        self.order = decided.orders[-1] if decided.orders else self.order
        return decided

    async def instance(self) -> Instance:
        raw = await self.story.state(INSTANCE + self.study)
        assert raw is not None
        return Instance.from_bytes(self.study, raw)

    async def at(self) -> str:
        return (await self.instance()).position.state

    async def failure(self) -> Value:
        instance = await self.instance()
        assert instance.position.state == "failed"
        return instance.variables["failure"]

    async def report(
        self, member: str, done: bool = True, digest: bytes = b"", order: Order | None = None
    ) -> TransactionResult:
        order = order or self.order
        assert order is not None
        act = report((order.height, order.index), done, digest)
        story = self.story
        return self.noted(await story.block(story.transaction(story.member(member), act))).results[
            0
        ]

    async def all_report(
        self, what: str, *, agree: bool, members: tuple[str, ...] = MEMBERS
    ) -> None:
        order = self.order
        for member in members:
            made = digest(what) if agree else digest(what, member)
            assert (await self.report(member, digest=made, order=order)).applied

    async def _attempt(self) -> list[Value]:
        """Return what tells a round and an attempt from the first: every sum is another."""
        instance, attempt = await self.instance(), 0
        raw = await self.story.state(budget_key(f"{self.study.hex()}/attempts"))
        if raw is not None:
            attempt = budget_spent(raw)
        found = instance.variables.get("round", 0), attempt
        return [] if found in ((0, 0), (1, 0)) else list(found)

    async def overdue(self) -> Decided:
        """Let the deadline of the present state pass."""
        self.story.now = (await self.instance()).position.timer
        return self.noted(await self.story.applied(self.story.member("hospital-a"), TICK))

    async def vote(self, member: str, approve: bool = True) -> TransactionResult:
        story, act = self.story, vote(self.study, "approve", approve)
        return self.noted(await story.block(story.transaction(story.member(member), act))).results[
            0
        ]

    async def advance_to(self, state: str) -> None:
        """Take the study along its flow, all members in agreement, until it is in `state`."""
        while (now := await self.at()) != state:
            if now == "proposed":
                for member in MEMBERS[:3]:
                    await self.vote(member)
            elif now == "releasing":
                assert self.order is not None
                chosen = tuple(member_list(self.order.arguments["set"]))
                await self.all_report(now, agree=False, members=chosen)
            else:
                members = MEMBERS[:3] if now in ENOUGH else MEMBERS
                what = "/".join((self.study.hex(), now, *map(str, await self._attempt())))
                await self.all_report(what, agree=now in AGREED, members=members)


async def propose(story: Story, study: bytes = STUDY, /, **changed: Value) -> StudyScene:
    """Let a researcher propose a study, under the story's permit, which is granted first."""
    if await story.state(INSTANCE + PERMIT) is None:
        await granted(story)
    researcher = await story.staff("hospital-b", "researcher", f"researcher/{study.hex()}")
    await story.applied(researcher, instantiate("study", study, study_terms(**changed)))
    return StudyScene(story, researcher, study)
