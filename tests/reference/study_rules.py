"""What is said about studies: permits, data keys, and what computes under both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.reference import cast, words
from tests.reference.drawing import (
    COLUMN_STUDY_CHANGES,
    DAY,
    DIGESTS,
    DISSENT,
    HOSPITAL,
    HOUR,
    KEY_CHANGES,
    MANNER,
    PERMIT_CHANGES,
    RESHARING_CHANGES,
    SCORE_CHANGES,
    STUDY_CHANGES,
    WHICH,
    WHO,
    mostly,
)
from tests.reference.scenes import leaving
from tests.reference.telling import Teller

STUDIES = ("study", "column-study", "data-key", "key-resharing", "risk-score")


class StudyRules(Teller):
    """Rules about what is computed together."""

    @rule(
        which=WHICH,
        digest=mostly(DIGESTS, [b""]),
        steps=st.sampled_from([1, 4, 16, 16]),
        failing=DISSENT,
    )
    def carry_on(self, which: int, digest: bytes, steps: int, failing: tuple[str, ...]) -> None:
        """Members take what they compute so many steps on; some fail in the last."""
        alive = self.history.alive()
        found = [one for one in alive if self.history.where(one)[0] in STUDIES]
        if not found:
            self.prepare("study")
            return
        for step in range(steps):
            instance = found[which % len(found)]
            self.one_step(instance, digest, failing if step == steps - 1 else ())

    def one_step(self, instance: bytes, digest: bytes, failing: tuple[str, ...] = ()) -> None:
        """Let members vote for what a contract waits for, and report what it has ordered."""
        history = self.history
        template, state = history.where(instance)
        if state == "proposed":
            for vote in history.ways_on(instance, "vote"):
                for member in cast.MEMBERS[:3]:
                    self.say((member, ""), "with others", words.Vote(instance, vote, True))
        elif state == "enrolling":
            history.pass_until(min(history.timers()))
            history.say("hospital-a", words.Tick())
        elif state in ("iterating", "granted"):
            self.ask_more(instance)
        place = history.step_of(instance)
        if place:
            entry = history.stage.reference.world.templates[template, 1]
            found = leaving(entry, state, "report")
            agree = found is not None and bool(found[1].get("agree"))
            said = digest and hashlib.sha256(digest + f"{state}/{place}".encode()).digest()
            self.report_all(place, said, failing, not agree and bool(said))
        history.decide()

    def report_all(
        self, place: tuple[int, int], digest: bytes, failing: tuple[str, ...], own: bool
    ) -> None:
        """Let everybody report an order; own: each with a digest of its own."""
        for member in cast.MEMBERS:
            made = hashlib.sha256(digest + member.encode()).digest() if own else digest
            act = words.Report(*place, member not in failing, made)
            self.say((member, ""), "with others", act)

    def ask_more(self, instance: bytes, who: str = "", odd: bytes = b"") -> None:
        """Let who may ask for more of a contract do so."""
        template, _ = self.history.where(instance)
        digest = odd or hashlib.sha256(bytes([len(self.history.ordered) % 256])).digest()
        if template == "study":
            arguments = {"iterate": digest, "round": self.history.next_round(instance)}
            act = words.Move(instance, "iterate", arguments)
            self.say((who, "researcher-b"), "with others", act)
        elif template == "risk-score":
            arguments = {"request": digest, "requester_key_digest": digest}
            act = words.Move(instance, "infer", arguments)
            self.say((who, "hospital-b"), "with others", act)

    @rule(who=WHO, which=WHICH, odd=mostly([b""], [b"short"]))
    def ask(self, who: str, which: int, odd: bytes) -> None:
        """Somebody asks for the next iterate of a study, or for a score."""
        instance = self.instance(which, "study", "risk-score")
        self.ask_more(instance, who, odd)
        self.history.decide()

    @rule(which=WHICH, late=st.booleans())
    def be_silent(self, which: int, late: bool) -> None:
        """Whoever should report does not, until the time is over."""
        alive = [one for one in self.history.alive() if self.history.where(one)[0] in STUDIES]
        if not alive:
            return
        instance = alive[which % len(alive)]
        place, due = self.history.step_of(instance), self.history.due_of(instance)
        if place is not None:
            self.say(("hospital-c", ""), "with others", words.Report(*place, True, DIGESTS[0]))
        self.history.pass_until(due - (not late))
        self.history.say("hospital-a", words.Tick())
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
            "outputs": ["count", "mean", "product_sum"],
            "minimum": 10,
            "releases_max": 5,
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
        terms: dict[str, Any] = {
            **self._shared_terms(),
            "permit": self.instance(which, "data-permit"),
            "outputs": ["mean"],
            "releases_max": 5,
            "rounds_max": 2,
            "rho": 0,
            "rho_max": 0,
            "spec_digest": DIGESTS[0],
            "requester_key_digest": DIGESTS[1],
            **changes,
        }
        act = words.Instantiate("study", 1, self.history.fresh_id(), terms)
        self.say((who, "researcher-b"), manner, act)

    @rule(who=HOSPITAL, changes=KEY_CHANGES, steps=st.sampled_from([0, 3, 14]), manner=MANNER)
    def data_key(self, who: str, changes: Mapping[str, Any], steps: int, manner: str) -> None:
        terms: dict[str, Any] = {
            **self._shared_terms(),
            "year": 2026,
            "spec_digest": DIGESTS[0],
            "releases_max": 8,
            "enrol_until": self.history.now + 2 * HOUR,
            "expires": self.history.now + DAY,
            **changes,
        }
        instance = self.history.fresh_id()
        self.say((who, "hospital-a"), manner, words.Instantiate("data-key", 1, instance, terms))
        for _ in range(steps):
            self.one_step(instance, instance)

    @rule(who=WHO, which=WHICH, changes=COLUMN_STUDY_CHANGES, manner=MANNER)
    def column_study(self, who: str, which: int, changes: Mapping[str, Any], manner: str) -> None:
        terms: dict[str, Any] = {
            **self._shared_terms(),
            **self._key_terms(which),
            "permit": self.instance(which, "data-permit"),
            "outputs": ["product_sum"],
            "releases_max": 5,
            "spec_digest": DIGESTS[0],
            "requester_key_digest": DIGESTS[1],
            **changes,
        }
        act = words.Instantiate("column-study", 1, self.history.fresh_id(), terms)
        self.say((who, "researcher-b"), manner, act)

    @rule(who=HOSPITAL, which=WHICH, changes=SCORE_CHANGES, manner=MANNER)
    def risk_score(self, who: str, which: int, changes: Mapping[str, Any], manner: str) -> None:
        terms: dict[str, Any] = {
            **self._shared_terms(),
            **self._key_terms(which),
            "hospital": ["hospital-b"],
            "model_digest": DIGESTS[0],
            "uses_max": 2,
            "expires": self.history.now + DAY,
            **changes,
        }
        act = words.Instantiate("risk-score", 1, self.history.fresh_id(), terms)
        self.say((who, "hospital-b"), manner, act)

    @rule(
        who=HOSPITAL,
        which=WHICH,
        changes=RESHARING_CHANGES,
        steps=st.sampled_from([0, 4, 7, 7]),
        manner=MANNER,
    )
    def reshare(
        self, who: str, which: int, changes: Mapping[str, Any], steps: int, manner: str
    ) -> None:
        """A data key goes over to other members; all steps are 7."""
        said = self._key_terms(which)
        terms: dict[str, Any] = {
            **self._shared_terms(),
            **said,
            "holders": [one for one in said["members"] if one in self.history.members()],
            "old_threshold": said["threshold"],
            "members": ["hospital-a", "hospital-b", "hospital-c"],
            "threshold": 3,
            **changes,
        }
        instance = self.history.fresh_id()
        act = words.Instantiate("key-resharing", 1, instance, terms)
        self.say((who, "hospital-a"), manner, act)
        for _ in range(steps):
            self.one_step(instance, instance)

    def _shared_terms(self) -> dict[str, Any]:
        return {
            "data_set": "cohort-1",
            "members": list(cast.MEMBERS),
            "threshold": 3,
            "approvals": 3,
            "minimum": 10,
            "step_seconds": 60,
        }

    def _key_terms(self, which: int) -> dict[str, Any]:
        """Return what a contract says of one of the newest data keys, and who holds it now."""
        source = self.instance(which, "data-key")
        world = self.history.stage.reference.world
        found = world.get(b"instance/" + source)
        digest = found["variables"].get("key_digest", DIGESTS[0]) if found else DIGESTS[0]
        held = world.get(b"key_holders/" + source)
        return {
            "source": source,
            "key_digest": digest,
            "key_releases_max": 8,
            "members": held["members"] if held else list(cast.MEMBERS),
            "threshold": held["threshold"] if held else 3,
        }
