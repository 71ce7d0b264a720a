"""Replaying a chain from its genesis through the real machine, to follow one contract.

Every block is executed again and every result compared with the one that the chain certifies, so a
replay shows both why each act of the contract ended as it did, and that the chain says the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.genesis import Genesis
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import (
    ParsedTransaction,
    TransactionMalformed,
    TransactionTooLarge,
    parse_transaction,
)
from cipherward_chain.wire import NANOS
from cipherward_contract.genesis_state import initial_pairs
from cipherward_contract.simulation.stage import Played, Stage
from cipherward_contract.steps import TIMERS_MAX

KEY_SHOWN = 8  # of a pseudonym's key, in hexadecimal digits: enough to tell two apart


@dataclass(frozen=True, slots=True)
class RecordedBlock:
    """A block of the chain that has transactions, with its serialised results."""

    height: int
    time_ns: int
    transactions: Sequence[bytes]
    results: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ReplayedStep:
    """An act or a timer of the contract, and what became of it when it was done again.

    at: Unix seconds. rule: why it was refused. same: the chain says the same.
    """

    height: int
    at: int
    act: str
    rule: str
    policies: tuple[str, ...]
    state: str
    orders: tuple[str, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """The contract's steps, and the heights whose results are not what this machine makes."""

    steps: tuple[ReplayedStep, ...]
    differing: tuple[int, ...]


def replay(genesis: bytes, blocks: Iterable[RecordedBlock], instance: bytes) -> Replay:
    """Execute the blocks again, in order, and return what was about the contract.

    Args:
        genesis: the genesis document that the chain began with.
        blocks: all that are not empty, from the first on.

    Raises:
        GenesisMalformed, GenesisUnusable: the chain cannot have begun with that.
    """
    stage = Stage(initial_pairs(Genesis.parse(genesis)))
    orders: set[tuple[int, int]] = set()  # those that the contract gave
    steps: list[ReplayedStep] = []
    differing: list[int] = []
    for block in blocks:
        fired = _fired(stage, block, instance)
        played = stage.play_at(block.height, block.time_ns, block.transactions)
        orders |= {(o.height, o.index) for o in played.orders if o.instance == instance}
        again = [result.to_bytes() for result in played.results]
        if again != list(block.results):
            differing.append(block.height)
        if fired:
            steps.append(_step(stage, block, played, f"timer {fired}", instance))
        for raw, result, recorded in zip(
            block.transactions, played.results, block.results, strict=True
        ):
            for text in _acts(raw, instance, orders):
                step = _step(stage, block, played, text, instance, result)
                steps.append(_compared(step, result, recorded))
    return Replay(tuple(steps), tuple(differing))


def _fired(stage: Stage, block: RecordedBlock, instance: bytes) -> str:
    """Return the state in which the contract's timer fires in a block, or ""."""
    found = stage.instances().get(instance)
    due = found is not None and instance in stage.due_timers(block.time_ns // NANOS, TIMERS_MAX)
    return f"of {found.position.state}" if due and found is not None else ""


def _acts(raw: bytes, instance: bytes, orders: set[tuple[int, int]]) -> list[str]:
    """Return the acts of a transaction that are about the contract, in words."""
    try:
        transaction = parse_transaction(raw)
    except (TransactionMalformed, TransactionTooLarge):
        return []
    who = _who(transaction)
    found = (_about(act, instance, orders) for act in transaction.body.acts)
    return [f"{who} {text}" for text in found if text]


def _who(transaction: ParsedTransaction) -> str:
    match transaction.authorization.WhichOneof("kind"):
        case "member":
            return transaction.authorization.member.member_id
        case "pseudonym":
            return f"key {transaction.authorization.pseudonym.public_key.hex()[:KEY_SHOWN]}"
        case _:
            return "somebody by a presentation"


def _about(act: pb.Act, instance: bytes, orders: set[tuple[int, int]]) -> str:
    kind = act.WhichOneof("act")
    if kind == "report":
        place = act.report.order.height, act.report.order.index
        done = "done" if act.report.outcome == pb.OUTCOME_DONE else "failed"
        return f"reports order {place[0]}/{place[1]} {done}" if place in orders else ""
    named = getattr(getattr(act, kind), "instance_id", b"") if kind else b""
    if named != instance:
        return ""
    match kind:
        case "instantiate":
            return f"begins {act.instantiate.template}/{act.instantiate.version}"
        case "transition":
            return f"takes {act.transition.transition}"
        case "vote":
            return f"votes {'yes' if act.vote.approve else 'no'} on {act.vote.transition}"
        case _:
            return str(kind).replace("_", " ")


def _step(
    stage: Stage,
    block: RecordedBlock,
    played: Played,
    text: str,
    instance: bytes,
    result: TransactionResult | None = None,
) -> ReplayedStep:
    found = stage.instances().get(instance)
    return ReplayedStep(
        block.height,
        block.time_ns // NANOS,
        text,
        rule=result.reason if result else "",
        policies=tuple(result.policies) if result else (),
        state=found.position.state if found else "",
        orders=tuple(played.given_by(instance)),
        same=True,
    )


def _compared(step: ReplayedStep, result: TransactionResult, recorded: bytes) -> ReplayedStep:
    same = result.to_bytes() == recorded
    return ReplayedStep(
        step.height,
        step.at,
        step.act,
        step.rule,
        step.policies,
        step.state,
        step.orders if result.applied else (),
        same,
    )
