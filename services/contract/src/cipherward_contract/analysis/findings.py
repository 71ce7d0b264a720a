"""Findings of an analysis: what is wrong, by which rule, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    is_fault: it stands in the way of deployment; else it is a remark.
    place: where in the document, as ("transitions", "open"); line: from 1, 0 is the whole.
    """

    rule: str
    message: str
    place: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    is_fault: bool = True
    line: int = 0

    @property
    def fix(self) -> str:
        """What to do about it, in words."""
        return FIXES.get(self.rule, "see docs/contracts/README.md")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found and shown. `report` is line by line, in words; `digest` is empty without a
    canonical document.
    """

    findings: tuple[Finding, ...]
    report: tuple[str, ...] = ()
    digest: bytes = b""

    @property
    def deployable(self) -> bool:
        """Whether nothing stands in the way."""
        return not any(finding.is_fault for finding in self.findings)


# What to do about a finding, by its rule. The reference is docs/contracts/README.md.
FIXES: Mapping[str, str] = {
    "yaml": "make it one YAML document: a map, with every text that looks like a number in quotes",
    "yaml-value": "write texts, integers, true or false; a document has no other values",
    "yaml-key": "write each key once, as a text",
    "size": "make it shorter: a template must fit a transaction",
    "form": "write the item as docs/contracts/README.md shows it: nothing more, nothing less",
    "missing": "add the key; every template has it",
    "unknown": "take the key out, or correct its spelling",
    "names": "name what the template defines: its states, terms, parties and transitions",
    "transitions": "give the transition what its kind needs, and instructions exactly their"
    " arguments",
    "graph": "lead to the state, and lead out of it to a final one",
    "reading-ends": "add a timer with a due time and a transition by the owner with"
    " gives_up_rights, both to a final state",
    "expressions": "name what the machine knows there: terms, arguments, variables, record, actor,"
    " instance, block, registry or subject",
    "arguments": "take it from where it is of that kind, within what the instruction reads",
    "ending": "add a way from the state to a final one",
    "timer-missing": "give each of its states a timer that takes it, or take the state out of"
    " `from`",
    "timer-loop": "let an act, a vote or a report stand between the timers, or end the contract",
    "policy-syntax": "correct the policy: Cedar cannot read it",
    "policy-types": "ask only for what the schema has, with its type: actors' attributes,"
    " terms, arguments, context.now",
    "policy-set": "give each of at most 32 policies an @id of its own, and no slots",
    "policy-never-permits": "permit one of its parties in some case, or take the transition out",
    "party-never-permitted": "permit it in some case, or take the party out of `by`",
    "never": "name an instruction, a transition and states that the template has, each"
    " property once, with an id of its own",
    "never-condition": "ask what is there in every transition that gives the order, or name the one"
    " transition that is meant",
    "never-broken": "forbid what the trace shows, or say less in the property",
    "never-idle": "name an instruction that the template gives, or take the property out",
    "too-complex": "compare fewer attributes in fewer policies",
}
