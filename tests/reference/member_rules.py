"""What members say: proposals, votes, reports."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from cipherward_chain.testing import ca_certificate
from tests.reference import cast, words
from tests.reference.drawing import (
    DAY,
    DIGESTS,
    DISSENT,
    HOSPITAL,
    HOUR,
    MANNER,
    RIGHT,
    WHICH,
    mostly,
)
from tests.reference.study_rules import StudyRules
from tests.reference.templates import BROKEN_CONSENT, LATER_CONSENT, proposals

# What a member may ask for as its authorities: its own of the genesis, its next one, and another's.
OWN, NEXT, OTHERS = ("own",), ("next",), ("other's",)


class MemberRules(StudyRules):
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
        who=mostly([RIGHT], cast.MEMBERS),
        member=mostly(cast.MEMBERS, [cast.NO_MEMBER]),
        held=mostly([OWN + NEXT, NEXT, OWN], [OWN + OTHERS, NEXT + NEXT, ()]),
        seconds=mostly([HOUR], [59]),
        manner=MANNER,
    )
    def change_authorities(
        self, who: str, member: str, held: tuple[str, ...], seconds: int, manner: str
    ) -> None:
        names = {"own": member, "next": f"{member} next", "other's": cast.MEMBERS[0]}
        terms: dict[str, Any] = {
            "member": member,
            "authorities": "".join(ca_certificate(names[one]) for one in held),
            "vote_seconds": seconds,
        }
        act = words.Instantiate("authority-change", 1, self.history.fresh_id(), terms)
        self.say((who or member, ""), manner, act)

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
