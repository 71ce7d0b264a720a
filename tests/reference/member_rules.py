"""What members say: proposals, votes, reports; and permits and studies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.reference import cast, words
from tests.reference.drawing import (
    DAY,
    DIGESTS,
    HOSPITAL,
    HOUR,
    MANNER,
    PERMIT_CHANGES,
    STUDY_CHANGES,
    WHICH,
    WHO,
    mostly,
)
from tests.reference.telling import Teller
from tests.reference.templates import BROKEN_CONSENT, LATER_CONSENT, proposals

DISSENT = st.sampled_from([(), (), (), ("hospital-a",), ("hospital-a", "hospital-c")])
STUDY = "study"


class MemberRules(Teller):
    """Rules about what members decide and carry out."""

    @rule(
        who=HOSPITAL,
        version=mostly([LATER_CONSENT], [BROKEN_CONSENT]),
        lasts=mostly([HOUR], [59]),
        times=mostly([1], [5]),
        manner=MANNER,
    )
    def propose(self, who: str, version: int, lasts: int, times: int, manner: str) -> None:
        for _ in range(times):
            document, sound = proposals()[version], version != BROKEN_CONSENT
            instance = self.history.fresh_id()
            act = words.Propose("consent", version, document, sound, instance, lasts)
            self.history.say(who, act)
        self.say((who, ""), manner, words.Tick())

    @rule(
        who=HOSPITAL,
        template=st.sampled_from(["suspension", "suspension", "removal"]),
        member=mostly(cast.MEMBERS, [cast.NO_MEMBER]),
        seconds=mostly([HOUR, DAY], [59]),
        manner=MANNER,
    )
    def against_a_member(
        self, who: str, template: str, member: str, seconds: int, manner: str
    ) -> None:
        terms: dict[str, Any] = {"member": member, "vote_seconds": seconds}
        if template == "suspension":
            terms["suspend_seconds"] = DAY
        act = words.Instantiate(template, 1, self.history.fresh_id(), terms)
        self.say((who, ""), manner, act)

    @rule(
        who=HOSPITAL,
        which=WHICH,
        odd=mostly([""], ["suspend", "adopt", "open"]),
        approve=st.booleans(),
        manner=MANNER,
    )
    def vote(self, who: str, which: int, odd: str, approve: bool, manner: str) -> None:
        instance, name = self.voted_on(which)
        self.say((who, ""), manner, words.Vote(instance, odd or name, approve))

    def voted_on(self, which: int) -> tuple[bytes, str]:
        """Return one of the newest contracts that wait for votes, and on what."""
        if not self.history.ways_waiting("vote"):
            self.prepare("proposals")
        waiting = self.history.ways_waiting("vote")  # members that are gone propose nothing
        return waiting[which % len(waiting)] if waiting else (bytes(16), "adopt")

    @rule(which=WHICH, against=DISSENT, manner=MANNER)
    def all_vote(self, which: int, against: tuple[str, ...], manner: str) -> None:
        """Every member votes on what a contract waits for."""
        instance, name = self.voted_on(which)
        for member in cast.MEMBERS:
            act = words.Vote(instance, name, member not in against)
            self.say((member, ""), "with others", act)
        if manner == "alone":
            self.history.decide()

    @rule(
        who=HOSPITAL,
        which=WHICH,
        done=st.booleans(),
        digest=st.sampled_from([b"", *DIGESTS]),
        manner=MANNER,
    )
    def report(self, who: str, which: int, done: bool, digest: bytes, manner: str) -> None:
        orders = self.history.ordered
        place = orders[::-1][which % len(orders)] if orders else None
        act = words.Report(place.height if place else 1, place.index if place else 0, done, digest)
        self.say((who, ""), manner, act)

    @rule(which=WHICH, digest=mostly(DIGESTS, [b""]), failing=DISSENT, own=st.booleans())
    def all_report(self, which: int, digest: bytes, failing: tuple[str, ...], own: bool) -> None:
        """Whoever an order names reports it; own: each with a digest of its own."""
        orders = self.history.waited_for()
        if not orders:
            self.prepare("erasure")
            return
        self.report_all(orders[which % len(orders)], digest, failing, own)
        self.history.decide()

    def report_all(
        self, place: tuple[int, int], digest: bytes, failing: tuple[str, ...], own: bool
    ) -> None:
        for member in cast.MEMBERS:
            made = hashlib.sha256(digest + member.encode()).digest() if own else digest
            act = words.Report(*place, member not in failing, made)
            self.say((member, ""), "with others", act)

    @rule(digest=mostly(DIGESTS, [b""]), steps=st.sampled_from([1, 4, 10, 10]), failing=DISSENT)
    def run_a_study(self, digest: bytes, steps: int, failing: tuple[str, ...]) -> None:
        """Members take a study so many steps on; some fail in the last."""
        alive = self.history.alive()
        studies = [one for one in alive if self.history.where(one)[0] == STUDY]
        if not studies:
            self.prepare("study")
            return
        study = studies[0]
        for step in range(steps):
            state = self.history.where(study)[1]
            if state == "proposed":
                for member in cast.MEMBERS[:3]:
                    self.say((member, ""), "with others", words.Vote(study, "approve", True))
            place = self.history.step_of(study)
            if place:
                last = failing if step == steps - 1 else ()
                agree = state in ("keying_confirm", "counts_ready", "values_ready")
                made = hashlib.sha256(digest + state.encode()).digest()
                self.report_all(place, made, last, not agree)
            self.history.decide()

    @rule(
        who=WHO,
        lasts=mostly([DAY, HOUR, 60 * DAY], [0]),
        changes=PERMIT_CHANGES,
        granted=st.booleans(),
        manner=MANNER,
    )
    def permit(
        self, who: str, lasts: int, changes: Mapping[str, Any], granted: bool, manner: str
    ) -> None:
        terms: dict[str, Any] = {
            "purposes": ["research"],
            "data_sets": ["cohort-1", "cohort-2"],
            "user_member": "hospital-b",
            "user_key": b"",
            "outputs": ["count", "mean"],
            "minimum": 10,
            "releases_max": 3,
            "expires": self.history.now + lasts,
            "holders": list(cast.MEMBERS),
            "threshold": 3,
            "approvals": 3,
            "vote_seconds": HOUR,
            **self.with_keys(changes),
        }
        instance = self.history.fresh_id()
        act = words.Instantiate("data-permit", 1, instance, terms)
        self.say((who, "researcher-b"), manner, act)
        if granted:
            for member in cast.MEMBERS[:3]:
                self.say((member, ""), "with others", words.Vote(instance, "grant", True))
            self.history.decide()

    @rule(who=WHO, which=WHICH, changes=STUDY_CHANGES, manner=MANNER)
    def study(self, who: str, which: int, changes: Mapping[str, Any], manner: str) -> None:
        permit = self.instance(which, "data-permit")
        terms: dict[str, Any] = {
            "permit": permit,
            "data_set": "cohort-1",
            "outputs": ["mean"],
            "releases_max": 3,
            "spec_digest": DIGESTS[0],
            "members": list(cast.MEMBERS),
            "threshold": 3,
            "approvals": 3,
            "minimum": 10,
            "requester_key_digest": DIGESTS[1],
            "step_seconds": 60,
            **changes,
        }
        act = words.Instantiate(STUDY, 1, self.history.fresh_id(), terms)
        self.say((who, "researcher-b"), manner, act)
