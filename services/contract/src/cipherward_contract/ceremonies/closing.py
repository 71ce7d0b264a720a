"""What moves a ceremony: the members' messages, and heights.

A window closes with the message of the last member that may speak, or by height: at the start of
the first non-empty block after its deadline, after the timers. The message or the height that ends
the ceremony moves the contract that waits for it, in the same block.
"""

from __future__ import annotations

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.entries import (
    DEADLINE,
    DEADLINE_END,
    Running,
    ceremony_of,
    deadline_key,
)
from cipherward_contract.ceremonies.plans import RUNNING_MAX, load_running
from cipherward_contract.ceremonies.speaking import forget, moved, save, say
from cipherward_contract.ceremonies.transcripts import take
from cipherward_contract.judging import Case, open_case
from cipherward_contract.machine import fall_back
from cipherward_contract.machine import take as take_transition
from cipherward_contract.refusals import Refused
from cipherward_contract.state import State
from cipherward_contract.templates.document import Transition
from cipherward_threshold.group.ceremony.transcript import Failed, Outcome

# What is recorded when a sharing that was made cannot be brought into force.
NOT_USABLE = "NOT_USABLE"


def next_deadline(state: State) -> int:
    """Return the height after which the next window is closed; 0 when none is open."""
    first = state.scan(DEADLINE, DEADLINE_END, 1)
    return int.from_bytes(first[0][0][len(DEADLINE) : len(DEADLINE) + 8], "big") if first else 0


def hear(block: Block, actor: Actor, said: pb.CeremonyMessage) -> None:
    """Take a member's message, or refuse it without a trace; end a ceremony that it completes."""
    running, outcome = say(block, actor, said)
    if outcome is not None:
        _finish(block, running, outcome)


def close_windows(block: Block) -> None:
    """Close the windows whose last height is before this block, and end what has an outcome."""
    due = block.state.scan(DEADLINE, deadline_key(block.height, b""), RUNNING_MAX)
    for key, _ in due:
        running = load_running(block, ceremony_of(key))
        if running is None:
            block.state.delete(key)
            continue
        _close(block, running)


def _close(block: Block, before: Running) -> None:
    transcript = take(block, before)
    transcript.advance(block.height)
    after = moved(before, transcript)
    outcome = transcript.outcome
    block.transcripts.keep(after, transcript)
    save(block, after, before)
    if outcome is not None:
        _finish(block, after, outcome)


def _finish(block: Block, running: Running, outcome: Outcome) -> None:
    _end(block, running, outcome)
    left = load_running(block, running.order.ceremony)
    if left is not None:  # nothing was brought into force
        forget(block, left)


def _end(block: Block, running: Running, outcome: Outcome) -> None:
    """Move the contract that waits for the ceremony, if it still does.

    No template that passed the checks refuses here; if one did, its contract would stay as it is,
    and the chain would go on.
    """
    failure = outcome.reason if isinstance(outcome, Failed) else ""
    try:
        with block.all_or_nothing():
            if not failure:
                _succeed(block, running)
    except Refused:
        failure = NOT_USABLE
    if not failure:
        return
    try:
        with block.all_or_nothing():
            _fail(block, running, failure)
    except Refused:
        return


def _succeed(block: Block, running: Running) -> None:
    waiting = _waiting(block, running)
    if waiting is not None:
        take_transition(block, *waiting)


def _fail(block: Block, running: Running, failure: str) -> None:
    waiting = _waiting(block, running)
    if waiting is not None:
        fall_back(block, *waiting, failure)


def _waiting(block: Block, running: Running) -> tuple[Case, Transition] | None:
    """Return the contract and the transition that a ceremony takes; None when it waits no more."""
    instance = block.instance(running.order.ceremony)
    case = open_case(block, instance)
    found = case.template.transition_from(instance.position.state, "ceremony")
    return None if found is None else (case, found[1])
