"""Random histories: a machine of hypothesis whose rules are what anybody might say at any time.

Arguments are plain numbers and names, so that a history that goes wrong shrinks to a short one and
is printed as it was played.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from cipherward_chain.canonical import Value
from tests.reference import cast, words
from tests.reference.drawing import (
    DAY,
    DIGESTS,
    HOUR,
    MANNER,
    QUEUES,
    RECORD,
    WHICH,
    WHO,
    mostly,
    queue,
)
from tests.reference.history import History
from tests.reference.member_rules import MemberRules
from tests.reference.record_rules import RecordRules
from tests.reference.service import Mishap
from tests.reference.templates import LATER_CONSENT
from tests.reference.world import NANOS

PROLOGUES = (
    *("nothing", "consents", "emergency", "study", "columns", "erasure", "proposals"),
    *("suspended", "resharing"),
)
ALONE = "alone"
# Purposes, and who opens for them; the owner where nobody stands.
OPENINGS = (("TREAT", "clinician-b"), ("PATRQT", ""), ("HRESCH", "researcher-b"))


class Histories(RecordRules, MemberRules):
    """Anybody says anything, and time passes, and processes are killed."""

    @initialize(
        version=st.sampled_from([1, 2]), prologue=st.sampled_from(PROLOGUES), leaps=st.booleans()
    )
    def begin(self, version: int, prologue: str, leaps: bool) -> None:
        self.history = History(self.bases[version], self.runner, self.tally)
        self.history.leaps = leaps
        self.prepare(prologue)

    def prepare(self, what: str) -> None:
        """Let what is usual happen, so that something can be said about it."""
        if what == "consents":
            for record, lasts in ((1, HOUR), (0, 40 * DAY)):
                self.consent("", record, 1, ["HRESCH", "TREAT"], lasts, {}, False, ALONE)
        elif what == "emergency":
            self.break_the_glass("", 0, HOUR, "unconscious", False, "with others")
            self.break_the_glass("clinician-c", 2, HOUR, "unconscious", False, ALONE)
        elif what == "study":
            self.permit("", HOUR, {}, True, ALONE)
            self.study("", 0, {}, "with others")
            self.study("", 0, {"step_seconds": HOUR}, ALONE)
        elif what == "columns":
            self.permit("", 60 * DAY, {}, True, ALONE)
            self.data_key("", {}, 14, ALONE)
            self.column_study("", 0, {}, ALONE)
            self.carry_on(0, DIGESTS[0], 5, ())
            self.column_study("", 0, {}, "with others")
            self.risk_score("", 0, {}, ALONE)
            for which in (0, 1):
                self.carry_on(which, DIGESTS[0], 2, ())
        elif what == "resharing":
            self.permit("", 60 * DAY, {}, True, ALONE)
            self.data_key("hospital-a", {}, 14, ALONE)
            self.column_study("", 0, {}, ALONE)
            self.reshare("hospital-a", 0, {}, 7, ALONE)
            self.column_study("", 0, {}, ALONE)
            self.reshare("hospital-b", 0, {"members": list(cast.MEMBERS)}, 4, ALONE)
        elif what == "erasure":
            self.erase("", 1, "objection", False, ALONE)
        elif what in ("proposals", "suspended"):
            self.against_a_member("hospital-a", "suspension", "hospital-d", HOUR, ALONE)
            if what == "suspended":
                self.all_vote(0, (), ALONE)
            self.propose("hospital-b", LATER_CONSENT, HOUR, 1, ALONE)

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.finish()

    @rule(ways=st.lists(st.tuples(WHICH, WHICH, WHO), min_size=1, max_size=4), manner=MANNER)
    def go_on(self, ways: list[tuple[int, int, str]], manner: str) -> None:
        """Contracts go on as they may where they stand; mostly by whoever should see to it."""
        for which, way, who in ways:
            alive = self.history.alive()
            if not alive:
                self.prepare(PROLOGUES[way])
                continue
            self.take_a_way(alive[which % len(alive)], way, (who, manner))

    def take_a_way(self, instance: bytes, way: int, how: tuple[str, str]) -> None:
        """Take one of the ways on from where a contract stands."""
        history = self.history
        ways = [
            (kind, name)
            for kind in ("transition", "vote", "report")
            for name in history.ways_on(instance, kind)
        ]
        template, state = history.where(instance)
        if template == "consent":
            ways.append(("upgrade", state))
        if not ways:
            return
        kind, name = ways[way % len(ways)]
        if kind == "vote":
            for member in cast.MEMBERS:
                self.say((member, ""), "with others", words.Vote(instance, name, True))
            history.decide()
        elif kind == "report":
            place = history.step_of(instance)
            assert place is not None
            self.report_all(place, DIGESTS[0], (), own=False)
            history.decide()
        elif kind == "upgrade":
            who = how[0], self.right_for(instance, "")
            self.say(who, how[1], words.Upgrade(instance, 1 + way % 3))
        else:
            self.take(instance, name, how, way)

    def take(self, instance: bytes, name: str, how: tuple[str, str], way: int) -> None:
        """Let somebody take a transition; `how` is who and in which manner."""
        arguments: dict[str, Value] = {}
        right = self.right_for(instance, name)
        if name == "open":
            purpose, reader = OPENINGS[way % len(OPENINGS)]
            arguments = {"reader_key": cast.READER_KEY, "purpose": purpose}
            right = reader or right
        elif name.startswith("review"):
            arguments = {"finding": "justified"}
        elif name == "iterate":
            arguments = {
                "iterate": DIGESTS[0],
                "round": self.history.next_round(instance) + (way == 2),
            }
        elif name == "infer":
            arguments = {"request": DIGESTS[0], "requester_key_digest": DIGESTS[1]}
        times = 3 if way == 3 else 1  # all of them, or none: often one too many
        self.say((how[0], right), how[1], *[words.Move(instance, name, arguments)] * times)

    @rule(which=WHICH, way=WHICH, drawn=QUEUES)
    def everybody_tries(self, which: int, way: int, drawn: tuple[int, int]) -> None:
        """All who might slip through want the same of a contract, one after another."""
        for who in queue(drawn):
            alive = self.history.alive()
            if alive:
                instance = alive[which % len(alive)]
                names = self.history.ways_on(instance, "transition")
                if names:
                    self.take(instance, names[way % len(names)], (who, "with others"), way)
        self.history.decide()

    @rule(what=st.sampled_from(["consent", "emergency", "erasure"]), record=RECORD, drawn=QUEUES)
    def everybody_begins(self, what: str, record: int, drawn: tuple[int, int]) -> None:
        """All who might slip through want the same of a record, one after another."""
        for who in queue(drawn):
            if what == "consent":
                self.consent(who, record, 1, ["TREAT"], DAY, {}, False, "with others")
            elif what == "emergency":
                self.break_the_glass(who, record, HOUR, "unconscious", False, "with others")
            else:
                self.erase(who, record, "objection", False, "with others")
        self.history.decide()

    @rule(
        how=st.sampled_from(["garbage", "too large", "again", "another chain", "late", "early"]),
        which=WHICH,
    )
    def odd_transaction(self, how: str, which: int) -> None:
        history = self.history
        match how:
            case "garbage" | "too large":
                history.send(cast.unreadable(too_large=how == "too large"))
            case "again" if history.sent:
                history.send(history.sent[-1 - which % len(history.sent)])
            case "another chain":
                history.say("hospital-a", words.Tick(), chain="other-chain")
            case "late":
                history.say("hospital-a", words.Tick(), life=-which)
            case _:
                history.say("hospital-a", words.Tick(), life=600 + which % 2)

    @rule(
        seconds=mostly([0, 1, 59, HOUR, 4 * HOUR, DAY], [3 * DAY, 7 * DAY, 30 * DAY]),
        nanoseconds=st.sampled_from([0, 1, NANOS - 1]),
    )
    def wait(self, seconds: int, nanoseconds: int) -> None:
        self.history.pass_time(seconds * NANOS + nanoseconds)

    @rule(offset=mostly([0, 1], [-1, -2]), mishap=st.sampled_from(Mishap))
    def wait_for_a_timer(self, offset: int, mishap: Mishap) -> None:
        timers = self.history.timers()
        if timers:
            self.history.pass_until(timers[0] + offset)
            self.history.say("hospital-a", words.Tick())
        self.history.decide(mishap)

    @rule(mishap=st.sampled_from(Mishap))
    def decide(self, mishap: Mishap) -> None:
        self.history.decide(mishap)
