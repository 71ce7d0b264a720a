"""Who may do what, in words of our own: no policy of a template is read here.

A slip in a template's policies shows as a difference between what they say and what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.reference.templates import Document
from tests.reference.world import Actor

RESEARCH = {"GRU", "HMB", "HRESCH", "NPUNCU"}  # what researchers open records for
SELF = "PATRQT"  # what owners, and who stands for them, open records for


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants a transition of a contract now. `record` is None where it is about none."""

    actor: Actor
    instance: Document
    terms: Mapping[str, Any]
    record: Document | None
    arguments: Mapping[str, Any]
    now: int

    @property
    def owns(self) -> bool:
        return self.record is not None and self._is_key(self.record["owner"])

    @property
    def made_it(self) -> bool:
        return self._is_key(self.instance["creator"])

    @property
    def represents(self) -> bool:
        if self.record is None or not self._is_key(self.terms["representative_key"]):
            return False
        return self.actor.scope == f"record:{self.record['parsed'].record_id.hex()}"

    @property
    def granted(self) -> bool:
        return self.is_staff_of("grantee_member", "grantee_key")

    def is_staff_of(self, member_term: str, key_term: str) -> bool:
        """Say whether the actor is staff of a member, or has one key, as the terms say."""
        member, key = self.terms[member_term], self.terms[key_term]
        if self.actor.schema != "staff" or not (member or key):
            return False
        return member in ("", self.actor.member) and key in (b"", self.actor.key)

    def is_member(self, *names: str) -> bool:
        """Say whether a member acts itself; one of `names`, if there are any."""
        return self.actor.kind == "member" and (not names or self.actor.member in names)

    def works_at(self, *members: str) -> bool:
        return self.actor.schema == "staff" and self.actor.member in members

    def is_other_member(self) -> bool:
        return self.is_member() and self.actor.member != self.terms["member"]

    def keepers(self) -> tuple[str, str]:
        assert self.record is not None
        return self.record["parsed"].author, self.record["parsed"].custodian

    def _is_key(self, key: bytes) -> bool:
        return self.actor.key != b"" and self.actor.key == key


def _opens(asked: Asked) -> bool:
    if asked.now >= asked.terms["expires"]:
        return False
    if asked.instance["uses"] >= asked.terms["visits_max"]:
        return False
    purpose = asked.arguments["purpose"]
    if asked.owns or asked.represents:
        return purpose == SELF
    if not asked.granted or purpose not in asked.terms["purposes"]:
        return False
    researches = asked.actor.role == "researcher" and purpose in RESEARCH
    return asked.actor.role == "clinician" or researches


def _reviews(asked: Asked) -> bool:
    if asked.made_it:
        return False
    keepers = asked.keepers()
    return asked.is_member(*keepers) or (asked.works_at(*keepers) and asked.actor.role == "dpo")


def _erases(asked: Asked) -> bool:
    assert asked.record is not None
    return asked.owns if asked.record["owner"] else asked.is_member(asked.keepers()[0])


def _researches(asked: Asked) -> bool:
    return asked.actor.schema == "staff" and asked.actor.role == "researcher"


def _withdraws(asked: Asked) -> bool:
    return asked.made_it or asked.is_member(*asked.terms["members"])


def _infers(asked: Asked) -> bool:
    left = asked.instance["uses"] < asked.terms["uses_max"]
    return asked.is_member(*asked.terms["hospital"]) and left and asked.now < asked.terms["expires"]


def _any_member(asked: Asked) -> bool:
    return asked.is_member()


MAY: Mapping[tuple[str, str], Callable[[Asked], bool]] = {
    ("consent", "instantiate"): lambda asked: asked.owns,
    ("consent", "open"): _opens,
    ("consent", "revoke"): lambda asked: asked.owns or asked.represents,
    ("consent", "pause"): lambda asked: asked.owns,
    ("consent", "resume"): lambda asked: asked.owns,
    ("emergency-access", "instantiate"): lambda asked: (
        asked.actor.schema == "staff" and asked.actor.role == "clinician"
    ),
    ("emergency-access", "close"): lambda asked: asked.made_it,
    ("emergency-access", "revoke"): lambda asked: asked.owns,
    ("emergency-access", "review"): _reviews,
    ("emergency-access", "review_late"): _reviews,
    ("erasure", "instantiate"): _erases,
    ("data-permit", "instantiate"): lambda asked: (
        _researches(asked) and asked.actor.member == asked.terms["user_member"]
    ),
    ("data-permit", "grant"): lambda asked: asked.is_member(*asked.terms["holders"]),
    ("data-permit", "revoke"): lambda asked: asked.is_member(*asked.terms["holders"]),
    ("data-permit", "surrender"): lambda asked: asked.made_it,
    ("study", "instantiate"): _researches,
    ("study", "approve"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("study", "withdraw"): _withdraws,
    ("study", "iterate"): lambda asked: (
        asked.made_it and asked.arguments["round"] == asked.instance["uses"] + 2
    ),
    ("study", "conclude"): lambda asked: asked.made_it,
    ("column-study", "instantiate"): _researches,
    ("column-study", "approve"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("column-study", "withdraw"): _withdraws,
    ("data-key", "instantiate"): lambda asked: (
        asked.is_member(*asked.terms["members"])
        and asked.terms["expires"] > asked.terms["enrol_until"]
    ),
    ("data-key", "approve"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("data-key", "retire"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("data-key", "withdraw"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("key-resharing", "instantiate"): lambda asked: asked.is_member(*asked.terms["holders"]),
    ("key-resharing", "approve"): lambda asked: asked.is_member(*asked.terms["holders"]),
    ("key-resharing", "retire"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("key-resharing", "withdraw"): lambda asked: asked.is_member(
        *asked.terms["holders"], *asked.terms["members"]
    ),
    ("risk-score", "instantiate"): lambda asked: (
        asked.is_member(*asked.terms["hospital"]) and asked.is_member(*asked.terms["members"])
    ),
    ("risk-score", "grant"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("risk-score", "infer"): _infers,
    ("risk-score", "give_up"): lambda asked: asked.is_member(*asked.terms["members"]),
    ("template-adoption", "instantiate"): _any_member,
    ("template-adoption", "adopt"): _any_member,
    ("suspension", "instantiate"): _any_member,
    ("suspension", "suspend"): Asked.is_other_member,
    ("suspension", "reinstate"): Asked.is_other_member,
    ("removal", "instantiate"): _any_member,
    ("removal", "remove"): Asked.is_other_member,
    ("authority-change", "instantiate"): lambda asked: asked.is_member(asked.terms["member"]),
    ("authority-change", "change"): _any_member,
    ("machine-upgrade", "instantiate"): _any_member,
    ("machine-upgrade", "upgrade"): _any_member,
    ("opening", "instantiate"): _any_member,
    ("opening", "approve"): _any_member,
}


def is_party(party: Document, asked: Asked) -> bool:
    """Say whether the actor is a party, by what the template calls it."""
    match party["is"]:
        case "record_owner":
            return asked.owns
        case "creator":
            return asked.made_it
        case "key_holder":
            return asked.represents
        case "staff_of":
            return asked.is_staff_of(party["member"], party["key"])
        case "any_staff":
            return asked.actor.schema == "staff"
        case "any_member":
            return asked.is_member()
        case "the_member":
            return asked.is_member(asked.terms[party["member"]])
        case "other_member":
            return asked.is_other_member()
        case "member_of":
            return asked.is_member(*asked.terms[party["members"]])
        case "author_member":
            return asked.is_member(asked.keepers()[0])
        case "custodian_member":
            return asked.is_member(asked.keepers()[1])
        case "author_staff":
            return asked.works_at(asked.keepers()[0])
        case "custodian_staff":
            return asked.works_at(asked.keepers()[1])
        case other:
            raise NotImplementedError(other)
