"""What moves a contract without naming its next state: votes, reports and timers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import Value, decode
from cipherward_chain.fields import Fields
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.entries import TIMER, TIMER_END
from cipherward_contract.index_rows import AccessReported
from cipherward_contract.instructions.closed_list import INSTRUCTIONS
from cipherward_contract.instructions.releasing import RELEASE_KEY
from cipherward_contract.judging import Case, judge, open_case
from cipherward_contract.machine import fall_back, save_variables, succeed, take
from cipherward_contract.order_entries import OrderEntry, Reported, order_key
from cipherward_contract.parties import voters_of
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.tally import (
    DEADLINE_PASSED,
    Verdict,
    kept_variables,
    quorum_of,
    registry_quorum,
    tally_erasure,
    tally_reports,
    tally_votes,
)
from cipherward_contract.templates.document import (
    GUARDIANS,
    QUORUM_CUSTODIAN,
    QUORUM_REGISTRY,
    Step,
    Transition,
)
from cipherward_contract.templates.values import member_list

# Timers that fire in one block, the rest in the next: bounds what comes before the first
# transaction.
TIMERS_MAX = 256
VOTES, SILENT = "votes", "silent"


def vote(
    block: Block, actor: Actor, instance_id: bytes, ballot: tuple[str, bool]
) -> tuple[str, ...]:
    """Count a member's vote on a transition, and take it when the votes have decided.

    Args:
        ballot: the transition's name, and yes or no.

    Returns:
        The policies that let the member vote.
    """
    name, approve = ballot
    instance = block.instance(instance_id)
    case = open_case(block, instance, actor)
    transition = case.template.transitions.get(name)
    if transition is None or transition.kind != "vote" or transition.step is None:
        raise Refused(Reason.TRANSITION_UNKNOWN, "no transition of that name is voted on")
    if instance.position.state not in transition.sources:
        raise Refused(Reason.STATE_FORBIDS, f"the contract is {instance.position.state}")
    policies = judge(block, case, name, {"approve": "yes" if approve else "no"})
    voters = _voters(block, case, transition)  # the actor is one: its parties are lists of members
    before = instance.variables.get(VOTES)
    votes: dict[str, Value] = {**(before if isinstance(before, dict) else {})}
    votes[actor.member] = approve
    counted = {member: yes for member, yes in votes.items() if member in voters}
    verdict = tally_votes(counted, len(voters), _vote_quorum(block, case, transition.step, voters))
    kept: dict[str, Value] = {VOTES: votes}
    if verdict.decided == "succeeded":
        succeed(block, case, transition, kept)
    elif verdict.decided == "failed":
        take(block, case, case.template.transitions[transition.step.otherwise], kept)
    else:
        save_variables(block, instance, kept)
    return policies


def _voters(block: Block, case: Case, transition: Transition) -> frozenset[str]:
    """Return who may vote now: a member that was removed counts no more."""
    parties = (case.template.parties[name] for name in transition.by)
    terms, registry = case.instance.origin.terms, block.rules.active
    return frozenset(member for party in parties for member in voters_of(party, terms, registry))


def _vote_quorum(block: Block, case: Case, step: Step, voters: Collection[str]) -> int:
    if step.quorum == QUORUM_REGISTRY:
        return registry_quorum(len(block.rules.active), len(voters))
    instance = case.instance
    return quorum_of(step, len(voters), instance.origin.terms, instance.variables)


def report(block: Block, actor: Actor, wanted: pb.Report) -> None:
    """Keep a member's report of an order that names it, and move the contract that waits for it."""
    place = wanted.order.height, wanted.order.index
    raw = block.state.get(order_key(*place))
    if raw is None:
        raise Refused(Reason.ORDER_UNKNOWN, "no block has given that order")
    entry = OrderEntry.from_bytes(raw)
    if actor.kind != "member" or actor.member not in entry.members:
        raise Refused(Reason.NOT_NAMED, "the order names others")
    if any(earlier.member == actor.member for earlier in entry.reports):
        raise Refused(Reason.ALREADY_REPORTED, "the member has reported this order")
    done = wanted.outcome == pb.OUTCOME_DONE
    entry = replace(entry, reports=(*entry.reports, Reported(actor.member, done, wanted.digest)))
    if INSTRUCTIONS[entry.instruction].is_step:
        _advance(block, place, entry)
    elif entry.instruction == RELEASE_KEY.name:
        block.rows.append(AccessReported(place, done, block.transaction_id))
    if block.machine.forgets_finished_orders and _is_finished(block, place, entry):
        block.state.delete(order_key(*place))
    else:
        block.state.put(order_key(*place), entry.to_bytes())


def _is_finished(block: Block, place: tuple[int, int], entry: OrderEntry) -> bool:
    """Say whether nobody's report of an order counts any more."""
    reported = {report.member for report in entry.reports}
    if all(one in reported for one in entry.members if one in block.rules.registry):
        return True
    if not INSTRUCTIONS[entry.instruction].is_step:
        return False
    return block.instance(entry.instance).position.step != place


def _advance(block: Block, place: tuple[int, int], entry: OrderEntry) -> None:
    """Judge the step that waits for `entry`, whose last report is new."""
    instance = block.instance(entry.instance)
    case = open_case(block, instance)
    found = case.template.transition_from(instance.position.state, "report")
    if instance.position.step != place or found is None or found[1].step is None:
        raise Refused(Reason.ORDER_NOT_CURRENT, "the contract waits for another order, or for none")
    transition, step = found[1], found[1].step
    last = entry.reports[-1]
    if last.done and (step.agree or "digests" in step.keep.values()) and not last.digest:
        raise Refused(
            Reason.DIGEST_REQUIRED, "this step's report carries the digest of what was made"
        )
    verdict = _verdict(case, step, entry)
    if verdict.decided == "succeeded":
        succeed(block, case, transition, kept_variables(step, verdict.agreed))
    elif verdict.decided == "failed":
        fall_back(block, case, transition, verdict.failure)


def _verdict(case: Case, step: Step, entry: OrderEntry) -> Verdict:
    named = len(entry.members)
    if step.quorum == QUORUM_CUSTODIAN and case.record is not None:
        custodian = case.record.parsed().custodian
        guardians = member_list(case.instance.variables.get(GUARDIANS))
        return tally_erasure(step, entry, custodian, guardians)
    instance = case.instance
    quorum = quorum_of(step, named, instance.origin.terms, instance.variables)
    return tally_reports(step, entry.reports, named, quorum)


def fire_timers(block: Block) -> int:
    """Take the transitions of due timers, by due time and instance; return how many were due.

    A timer may move other contracts: what it has stopped, or set anew, does not fire here.
    """
    end = min(TIMER + (block.now + 1).to_bytes(8, "big"), TIMER_END)
    due = block.state.scan(TIMER, end, TIMERS_MAX)
    for key, value in due:
        if block.state.get(key) != value:
            continue
        instance_id = key[len(TIMER) + 8 :]
        try:
            with block.all_or_nothing():
                _fire(block, instance_id, Fields(decode(value)).text("transition"))
        except Refused:
            # No template that passed the checks comes here; if one did, its contract stays as it
            # is, and the chain goes on.
            block.state.delete(key)
    return len(due)


def _fire(block: Block, instance_id: bytes, name: str) -> None:
    case = open_case(block, block.instance(instance_id))
    timer = case.template.timer_of(case.instance.position.state)
    transition = case.template.transitions[name]
    missed = timer is not None and not timer.is_absolute
    keep: dict[str, Value] = _silent(block, case) if missed else {}
    if transition.exhausted:  # another attempt, as long as there is one
        succeed(block, case, transition, keep)
        return
    if missed:
        keep["failure"] = DEADLINE_PASSED
    take(block, case, transition, keep)


def _silent(block: Block, case: Case) -> dict[str, Value]:
    """Return who has not reported the order that the contract has waited for."""
    step = case.instance.position.step
    raw = None if step is None else block.state.get(order_key(*step))
    if raw is None:
        return {}
    entry = OrderEntry.from_bytes(raw)
    return {SILENT: sorted(set(entry.members) - {one.member for one in entry.reports})}
