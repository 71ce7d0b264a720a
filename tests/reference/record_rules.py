"""What is said about records: consents, emergencies, erasures, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.reference import cast, words
from tests.reference.base import SLOT
from tests.reference.drawing import (
    CONSENT_CHANGES,
    DAY,
    HOSPITAL,
    HOUR,
    MANNER,
    PEOPLE,
    PURPOSES,
    RECORD,
    TAKEN,
    TEN_YEARS,
    WHICH,
    WHO,
    mostly,
)
from tests.reference.telling import Teller

CLOSED_MOVES = ["expire", "instantiate", "complete", "nothing_of_that_name", "review", "revoke"]
VERSIONS = mostly([1, 1, 2], [3, 4])
OPENERS = {"PATRQT": "", "HRESCH": "researcher-b"}  # by purpose; else a clinician


class RecordRules(Teller):
    """Rules about records."""

    @rule(
        who=WHO,
        record=RECORD,
        version=VERSIONS,
        purposes=PURPOSES,
        lasts=mostly([DAY, DAY, HOUR, 60, 40 * DAY], [TEN_YEARS, TEN_YEARS + 1, 0]),
        changes=CONSENT_CHANGES,
        taken=TAKEN,
        manner=MANNER,
    )
    def consent(
        self,
        who: str,
        record: int,
        version: int,
        purposes: list[str],
        lasts: int,
        changes: Mapping[str, Any],
        taken: bool,
        manner: str,
    ) -> None:
        terms: dict[str, Any] = {
            "record": cast.RECORDS[record],
            "grantee_member": "hospital-b",
            "grantee_key": b"",
            "representative_key": cast.key_of("representative-0") if record == 0 else b"",
            "purposes": purposes,
            "expires": self.history.now + lasts,
            "visits_max": 2,
            "visit_seconds": HOUR,
            **self.with_keys(changes),
        }
        act = words.Instantiate("consent", version, self.new_instance(taken), terms)
        self.say((who, self.owner_of(record)), manner, act)

    @rule(
        who=WHO,
        which=WHICH,
        purpose=mostly(["TREAT", "TREAT", "PATRQT", "HRESCH"], ["GOSSIP", "ETREAT"]),
        length=mostly([1216], [1215]),
        times=st.sampled_from([1, 1, 2, 3]),
        manner=MANNER,
    )
    def open(
        self, who: str, which: int, purpose: str, length: int, times: int, manner: str
    ) -> None:
        instance = self.some(which, "consent")
        key = cast.READER_KEY[:length]
        act = words.Move(instance, "open", {"reader_key": key, "purpose": purpose})
        owner = self.owner_of(self.history.record_of(instance))
        right = OPENERS.get(purpose, "clinician-b") or owner
        self.say((who, right), manner, *[act] * times)

    @rule(
        who=WHO,
        record=RECORD,
        visit=mostly([60, HOUR, 14_400], [59, 14_401]),
        reason=mostly(["unconscious", "transfer-of-care"], ["curiosity"]),
        taken=TAKEN,
        manner=MANNER,
    )
    def break_the_glass(
        self, who: str, record: int, visit: int, reason: str, taken: bool, manner: str
    ) -> None:
        terms = {
            "record": cast.RECORDS[record],
            "reader_key": cast.READER_KEY,
            "reason": reason,
            "visit_seconds": visit,
        }
        act = words.Instantiate("emergency-access", 1, self.new_instance(taken), terms)
        self.say((who, "clinician-b"), manner, act)

    @rule(
        who=WHO,
        which=WHICH,
        way=WHICH,
        odd=st.sampled_from([""] * 12 + CLOSED_MOVES),
        finding=mostly(["justified", "not-justified"], ["boring"]),
        manner=MANNER,
    )
    def move(self, who: str, which: int, way: int, odd: str, finding: str, manner: str) -> None:
        """Somebody takes one of the ways on, or a way that there is not."""
        instance = self.some(which)
        ways = [name for name in self.history.ways_on(instance, "transition") if name != "open"]
        name = odd or (ways[way % len(ways)] if ways else "revoke")
        arguments = {"finding": finding} if name.startswith("review") else {}
        right = self.right_for(instance, name)
        self.say((who, right), manner, words.Move(instance, name, arguments))

    @rule(
        who=WHO,
        record=RECORD,
        ground=mostly(["objection"], ["anger"]),
        taken=TAKEN,
        manner=MANNER,
    )
    def erase(self, who: str, record: int, ground: str, taken: bool, manner: str) -> None:
        terms = {"record": cast.RECORDS[record], "ground": ground}
        held = self.history.stage.reference.world.get(b"record/" + cast.RECORDS[record])
        owned = held is not None and held["owner"]
        right = self.owner_of(record) if owned else "hospital-a"
        act = words.Instantiate("erasure", 1, self.new_instance(taken), terms)
        self.say((who, right), manner, act)

    @rule(who=WHO, which=WHICH, version=mostly([1, 2], [3, 4]), manner=MANNER)
    def upgrade(self, who: str, which: int, version: int, manner: str) -> None:
        instance = self.some(which, "consent", "erasure", "emergency-access")
        right = self.owner_of(self.history.record_of(instance))
        self.say((who, right), manner, words.Upgrade(instance, version))

    @rule(
        who=WHO,
        record=RECORD,
        template=mostly(
            ["consent/1", "consent/2", "consent/3", "emergency-access/1"], ["nothing/1"]
        ),
        manner=MANNER,
    )
    def allow(self, who: str, record: int, template: str, manner: str) -> None:
        act = words.Allow(cast.RECORDS[record], template)
        self.say((who, self.owner_of(record)), manner, act)

    @rule(
        name=st.sampled_from(PEOPLE),
        how=mostly(["showing"], ["showing-late", "", "showing-elsewhere"]),
        borrowed=mostly([""], ["owner-0", "clinician-b"]),
        manner=MANNER,
    )
    def register(self, name: str, how: str, borrowed: str, manner: str) -> None:
        epoch = self.history.epoch
        owner = borrowed or name
        public_key, seed = cast.key_of(owner, epoch), cast.PERSON[owner].seed(epoch)
        act = words.Register(public_key)
        self.say((f"{name} {how}", ""), manner, act, seed=seed)
        if how == "showing" and not borrowed:
            self.history.epochs[name] = epoch

    @rule(
        who=HOSPITAL,
        record=mostly([4, 5], [0, 2, 3]),
        custodian=mostly(["hospital-a", "hospital-b", "hospital-d"], [cast.NO_MEMBER]),
        templates=st.sampled_from([(), ("consent/1",), ("consent/1", "emergency-access/1")]),
        key_epoch=mostly([0, 1], [2]),
        owner=mostly([""], ["owner-2", "owner-3"]),
        manner=MANNER,
    )
    def anchor(
        self,
        who: str,
        record: int,
        custodian: str,
        templates: tuple[str, ...],
        key_epoch: int,
        owner: str,
        manner: str,
    ) -> None:
        octets = cast.anchor(record, custodian=custodian, templates=templates, key_epoch=key_epoch)
        act = words.Anchor(octets, SLOT, cast.key_of(owner) if owner else b"")
        seed = cast.PERSON[owner].seed(1) if owner else b""
        self.say((who, ""), manner, act, seed=seed)

    @rule(who=WHO, owner=mostly(["owner-2"], ["owner-0"]), manner=MANNER)
    def claim(self, who: str, owner: str, manner: str) -> None:
        """Give a record that is anchored already an owner."""
        held = self.history.stage.reference.world.record(cast.RECORDS[2])
        act = words.Anchor(held["anchor"], SLOT, cast.key_of(owner))
        self.say((who, "hospital-a"), manner, act, seed=cast.PERSON[owner].seed(1))
