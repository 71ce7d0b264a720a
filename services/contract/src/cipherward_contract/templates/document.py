"""A contract template: a document, not a program.

Its bytes are canonical CBOR; `parsing.parse_template` reads them strictly, and
`checks.check_template` then shows what a deployment must show. All maps are by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cipherward_contract.templates.expressions import Expression
from cipherward_contract.templates.never import Never
from cipherward_contract.templates.types import FieldType

INSTANTIATE = "instantiate"  # the transition that makes an instance; from no state

# How a transition comes about: by an act that names it, by votes, by reports of a step's order, by
# the end of a ceremony, by a timer, or as the consequence of one of these or of another contract.
KINDS = frozenset({"transition", "vote", "report", "ceremony", "timer", "automatic"})
STEP_KINDS = frozenset({"vote", "report", "ceremony"})
# The kinds that may lead elsewhere when something that they would spend is spent.
EXHAUSTED_KINDS = frozenset({"vote", "report", "timer"})
# Who a party is; the parameters name terms.
PARTY_KINDS: Mapping[str, tuple[str, ...]] = {
    "record_owner": (),
    "creator": (),
    "staff_of": ("member", "key"),
    "member_of": ("members",),
    "any_member": (),
    "other_member": ("member",),
    "the_member": ("member",),
    "key_holder": ("key",),
    "any_staff": (),
    "custodian_member": (),
    "author_member": (),
    "custodian_staff": (),
    "author_staff": (),
}
# The kinds that exist only where the template is about a record.
RECORD_KINDS = frozenset(
    {
        "record_owner",
        "key_holder",
        "custodian_member",
        "author_member",
        "custodian_staff",
        "author_staff",
    }
)
# The kinds that are lists of members, who can vote; the last two are the registry's members at the
# time of the vote.
VOTING_KINDS = frozenset({"member_of", "any_member", "other_member"})
REGISTRY_KINDS = VOTING_KINDS - {"member_of"}
# More than two thirds of the registry at the time of counting.
QUORUM_REGISTRY = "two_thirds_of_registry"
# The record's custodian, and of the members that the variable `guardians` lists all but as many as
# may fail; for reports only.
QUORUM_CUSTODIAN = "custodian_and_guardians"
GUARDIANS = "guardians"
# What reports leave behind: every member's digest, the digest agreed on, or the first who agreed.
KEPT_FORMS = frozenset({"digests", "agreed_digest", "agreed_set"})


class TemplateMalformed(ValueError):
    """A template's document is not of the form, or does not show what it must; says what."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who somebody is to an instance: a kind of PARTY_KINDS and the terms that it reads."""

    kind: str
    terms: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """How votes or reports decide, or what becomes of a contract whose ceremony fails.

    quorum: "all" named members, QUORUM_REGISTRY, QUORUM_CUSTODIAN, or the term that says how many;
        "" for a ceremony.
    agree: reports count together only when their digests are equal.
    failures_end: one report FAILED ends the step; else it ends when the quorum is out of reach.
    otherwise: the automatic transition taken when the step cannot succeed.
    failure: what is recorded when the quorum is out of reach.
    keep: variables that the reports leave behind, each one of KEPT_FORMS.
    """

    quorum: str
    otherwise: str
    agree: bool = False
    failures_end: bool = True
    failure: str = ""
    keep: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Effects:
    """What a transition does besides changing the state.

    instructions: name and arguments, in order.
    sets: variables and where their values come from.
    counts_use: the instance's uses go up by one.
    spends: the variable with the digest that may be released only once on this chain, or "".
    """

    instructions: tuple[tuple[str, Mapping[str, Expression]], ...] = ()
    sets: Mapping[str, Expression] = field(default_factory=dict[str, Expression])
    counts_use: bool = False
    spends: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """One edge of the state machine.

    gives_up_rights: it stays open to keys of an ended epoch.
    exhausted: of a report, a vote or a timer, the automatic transition that is taken in its place
        when an instruction has nothing left to give, such as a spent budget; or "".
    """

    kind: str
    sources: tuple[str, ...]
    target: str
    by: tuple[str, ...] = ()
    arguments: Mapping[str, FieldType] = field(default_factory=dict[str, FieldType])
    step: Step | None = None
    effects: Effects = field(default_factory=Effects)
    gives_up_rights: bool = False
    exhausted: str = ""

    def orders(self, instruction: str) -> bool:
        """Say whether taking it gives an instruction."""
        return any(name == instruction for name, _ in self.effects.instructions)


@dataclass(frozen=True, slots=True)
class Timer:
    """While an instance is in one of `states`, `transition` is taken by block time.

    when: Unix seconds if `is_absolute`, else seconds after the state was entered.
    """

    states: tuple[str, ...]
    transition: str
    is_absolute: bool
    when: Expression


@dataclass(frozen=True, slots=True)
class States:
    """The states by name, where an instance begins, and where it ends."""

    names: tuple[str, ...]
    initial: str
    finals: frozenset[str]
    timers: tuple[Timer, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template.

    object_term: the term that names the record that it is about, or "" when it is about itself.
    unclaimed: it may be instantiated about a record that nobody owns yet.
    never: what the template says of itself that it never does.
    """

    name: str
    version: int
    object_term: str
    parties: Mapping[str, Party]
    terms: Mapping[str, FieldType]
    states: States
    transitions: Mapping[str, Transition]
    policies: str
    digest: bytes
    unclaimed: bool = False
    never: tuple[Never, ...] = ()

    def transition_from(self, state: str, kind: str) -> tuple[str, Transition] | None:
        """Return the first transition of `kind` that leaves `state`, by name; checks allow at most
        one.
        """
        for name, transition in self.transitions.items():
            if transition.kind == kind and state in transition.sources:
                return name, transition
        return None

    def timer_of(self, state: str) -> Timer | None:
        """Return the timer of `state`, if it has one; checks allow at most one."""
        return next((timer for timer in self.states.timers if state in timer.states), None)
