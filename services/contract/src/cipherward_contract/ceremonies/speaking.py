"""A ceremony from its first window to its last: begun by an order, fed by the members' acts."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import Value
from cipherward_chain.group_key_orders import CeremonyOrder, SharingOrder
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.entries import (
    Running,
    ceremony_key,
    deadline_key,
    log_key,
    log_value,
)
from cipherward_contract.ceremonies.plans import (
    ceremony_refused,
    load_running,
    order_for,
    plan_of,
)
from cipherward_contract.ceremonies.shared_keys import put_shared_key
from cipherward_contract.ceremonies.transcripts import reading, take
from cipherward_contract.marks import NOTED
from cipherward_contract.templates.values import Values
from cipherward_member.shared_keys import entry_of
from cipherward_threshold.group.ceremony.transcript import Completed, LogEntry, Outcome, Transcript
from cipherward_threshold.group.errors import MessageRefused


def begin(block: Block, order: CeremonyOrder) -> None:
    """Open the first window of a ceremony; its messages count from the next block on.

    Raises:
        Refused: the contract has a ceremony, or the order is not the one that follows from its
            terms and the state.
    """
    if load_running(block, order.ceremony) is not None:
        raise ceremony_refused("the contract's ceremony runs")
    due = order_for(
        block,
        order.ceremony,
        {
            "purpose": order.purpose,
            "key_epoch": 0 if order.old is None else order.key_epoch,
            "members": list(order.members),
            "window": order.window,
        },
    )
    if order != due:
        raise ceremony_refused("the ceremony is not the one that the state asks for")
    transcript = Transcript(plan_of(block, order), order.start)
    running = Running.begun(order, transcript.phase, transcript.deadline)
    block.transcripts.keep(running, transcript)
    save(block, running)


def say(block: Block, actor: Actor, said: pb.CeremonyMessage) -> tuple[Running, Outcome | None]:
    """Take a member's message into the log of a ceremony, or refuse it without a trace.

    Returns:
        The ceremony as it is then, and how it has ended, if it has.
    """
    if actor.kind != "member":
        raise ceremony_refused("members speak in a ceremony")
    before = load_running(block, said.instance_id)
    if before is None:
        raise ceremony_refused("no ceremony of that contract runs")
    transcript = take(block, before)
    try:
        kept = transcript.feed(block.height, actor.member, said.kind, said.body)
    except MessageRefused as error:
        block.transcripts.keep(before, transcript)
        raise ceremony_refused(str(error)) from error
    entry = LogEntry(block.height, actor.member, said.kind, kept)
    after = moved(before.with_message(entry), transcript)
    block.transcripts.keep(after, transcript)
    block.state.put(log_key(said.instance_id, before.count), log_value(entry))
    save(block, after, before)
    return after, transcript.outcome


def moved(running: Running, transcript: Transcript) -> Running:
    """Return a ceremony with the window that its transcript has open."""
    return Running(
        running.order, running.count, running.digest, transcript.phase, transcript.deadline
    )


def save(block: Block, running: Running, before: Running | None = None) -> None:
    """Write a ceremony and the deadline of its window."""
    ceremony = running.order.ceremony
    if before is not None and before.deadline != running.deadline:
        block.state.delete(deadline_key(before.deadline, ceremony))
    block.state.put(ceremony_key(ceremony), running.to_bytes())
    block.state.put(deadline_key(running.deadline, ceremony), NOTED)


def forget(block: Block, running: Running) -> None:
    """Delete a ceremony with its log."""
    ceremony = running.order.ceremony
    block.state.delete(ceremony_key(ceremony))
    block.state.delete(deadline_key(running.deadline, ceremony))
    for number in range(running.count):
        block.state.delete(log_key(ceremony, number))


def described(block: Block, ceremony: bytes, terms: Values) -> Mapping[str, Value]:
    """Return what a template's expressions may name of the contract's ceremony.

    That is what would be ordered now, or was ordered when it runs, and, of one that is completed,
    its `public_key` and its `guardians`: the members that have proved to hold their share.
    """
    running = load_running(block, ceremony)
    if running is None:
        return order_for(block, ceremony, terms).arguments()
    found = running.order.arguments()
    with reading(block, running) as transcript:
        outcome = transcript.outcome
    if isinstance(outcome, Completed):
        members = running.order.members
        found["public_key"] = outcome.key.public_key
        found["guardians"] = sorted(members[index - 1] for index in outcome.ready)
    return found


def use(block: Block, order: SharingOrder) -> None:
    """Bring the sharing that a ceremony has made into force, and delete the ceremony.

    Raises:
        Refused: the contract's ceremony has not completed, or made another sharing.
    """
    running = load_running(block, order.ceremony)
    if running is None:
        raise ceremony_refused("no ceremony of that contract runs")
    with reading(block, running) as transcript:
        outcome = transcript.outcome
    if not isinstance(outcome, Completed):
        raise ceremony_refused("the ceremony has not completed")
    made = entry_of(plan_of(block, running.order), outcome, block.height)
    said = (order.purpose, order.key_epoch, order.sharing, order.threshold, order.public_key)
    same = said == (made.purpose, made.key_epoch, made.sharing, made.threshold, made.public_key)
    if not same or order.members != running.order.members or order.guardians != made.guardians:
        raise ceremony_refused("the ceremony has made another sharing")
    put_shared_key(block.state, made)
    forget(block, running)
