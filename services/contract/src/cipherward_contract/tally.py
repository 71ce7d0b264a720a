"""Whether the reports of a step's order, or the votes on a transition, have decided it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cipherward_chain.canonical import Value
from cipherward_contract.order_entries import OrderEntry, Reported
from cipherward_contract.templates.document import Step
from cipherward_contract.templates.values import Values
from cipherward_threshold.group.ceremony.plan import enough_of

MEMBER_FAILED, DISAGREED = "MEMBER_FAILED", "DISAGREED"
DIGEST_RELEASED, DEADLINE_PASSED = "DIGEST_RELEASED", "DEADLINE_PASSED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided. `agreed` are the reports that made the quorum; `failure` says why it
    failed.
    """

    decided: Literal["open", "succeeded", "failed"]
    agreed: Sequence[Reported] = ()
    failure: str = ""


OPEN = Verdict("open")


# In an alliance of two a removal would be one member's own decision, so it takes two.
REMOVERS_MIN = 2


def quorum_of(step: Step, named: int, terms: Values, variables: Values) -> int:
    """Return how many of the `named` members it takes: all, or as a term or a variable says."""
    root, _, name = step.quorum.partition(".")
    value = {"terms": terms, "variables": variables}.get(root, {}).get(name)
    return value if isinstance(value, int) else named


def registry_quorum(members: int, voters: int) -> int:
    """Return how many votes decide for the whole registry, at the time of counting.

    More than two thirds of its `members`; all `voters` where one member has no vote and that would
    be more than all, but then at least two.
    """
    wanted = members * 2 // 3 + 1
    return wanted if voters == members else max(min(wanted, voters), REMOVERS_MIN)


def tally_reports(step: Step, reports: Sequence[Reported], named: int, quorum: int) -> Verdict:
    """Judge the reports of a step, in the order in which they came, of `named` members."""
    if step.failures_end and any(not report.done for report in reports):
        return Verdict("failed", failure=MEMBER_FAILED)
    groups: dict[bytes, list[Reported]] = {}
    for report in reports:
        if report.done:
            groups.setdefault(report.digest if step.agree else b"", []).append(report)
    # of equal groups the earlier counts: dicts keep their order
    best = max(groups.values(), key=len, default=list[Reported]())
    if len(best) >= quorum:
        return Verdict("succeeded", best[:quorum])
    if len(best) + named - len(reports) < quorum:
        disagree = step.agree and len(groups) > 1
        return Verdict("failed", failure=DISAGREED if disagree else step.failure or MEMBER_FAILED)
    return OPEN


def tally_erasure(
    step: Step, entry: OrderEntry, custodian: str, guardians: Collection[str]
) -> Verdict:
    """Judge the reports of an order that takes the custodian, and enough of the guardians that the
    others cannot give a key.

    Of n guardians n - floor((n-1)/3), as many as are there when all who may fail have failed.
    """
    done = [report for report in entry.reports if report.done]
    failed = {report.member for report in entry.reports if not report.done}
    wanted = enough_of(len(guardians)) if guardians else 0
    have = sum(report.member in guardians for report in done)
    if have >= wanted and any(report.member == custodian for report in done):
        return Verdict("succeeded", done)
    left = len(guardians) - len(failed & set(guardians))
    if custodian in failed or left < wanted:
        return Verdict("failed", failure=step.failure or MEMBER_FAILED)
    return OPEN


def tally_votes(votes: Values, named: int, quorum: int) -> Verdict:
    """Judge the votes (member to yes or no) of `named` members."""
    approvals = sum(1 for vote in votes.values() if vote is True)
    if approvals >= quorum:
        return Verdict("succeeded")
    return Verdict("failed") if named - (len(votes) - approvals) < quorum else OPEN


def kept_variables(step: Step, agreed: Sequence[Reported]) -> Mapping[str, Value]:
    """Return the variables that the deciding reports leave behind."""
    forms: Mapping[str, Value] = {
        "digests": {report.member: report.digest for report in agreed},
        "agreed_digest": agreed[0].digest if agreed else b"",
        "agreed_set": sorted(report.member for report in agreed),
    }
    return {name: forms[form] for name, form in step.keep.items()}
