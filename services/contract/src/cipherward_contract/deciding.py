"""What would be decided about a transition now: the machine, on a block that nobody will commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.reads import Reader
from cipherward_chain.wire import NANOS
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.entries import Instance
from cipherward_contract.errors import ChainNotInitialised, InstanceUnknown
from cipherward_contract.judging import check_arguments, judge, open_case
from cipherward_contract.machine import take
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.rights import reading_actor
from cipherward_contract.state import Committed, State
from cipherward_contract.store import load_head
from cipherward_contract.templates.document import INSTANTIATE
from cipherward_member.errors import ReadMalformed, ReadRejected

# What a policy denied is told by its ids; what came before any policy, by the rule's name.
_POLICY_REASONS = frozenset({Reason.POLICY_DENIED, Reason.POLICY_ERROR})


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a transition would succeed now; by which policies, or which rule refused first."""

    allowed: bool
    policies: tuple[str, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A transition that somebody might attempt; `arguments` are the canonical document."""

    transition: str
    arguments: bytes


@dataclass(frozen=True, slots=True)
class Present:
    """Makes the blocks that questions are asked on.

    clock: Unix seconds. catalogue: of one thread.
    """

    clock: Callable[[], float]
    catalogue: Catalogue

    def block(self, connection: sqlite3.Connection, committed: Committed) -> Block:
        """Return a block after the committed one that nobody will ever commit.

        Its time is the chain's or this clock's, whichever is later: an answer may only be stricter.

        Raises:
            ChainNotInitialised: there is no state.
        """
        head = load_head(connection)
        state = State(committed)
        rules = ChainRules.load(state) if head else None
        if head is None or rules is None:
            raise ChainNotInitialised("the chain has not begun: InitChain comes first")
        time_ns = max(head.time_ns, int(self.clock() * NANOS))
        return Block(head.height + 1, time_ns, rules, self.catalogue, state)

    def opened(
        self, connection: sqlite3.Connection, committed: Committed, reader: Reader
    ) -> tuple[Block, Actor]:
        """Return the block and who reads; before the chain has begun nobody's key counts."""
        try:
            block = self.block(connection, committed)
        except ChainNotInitialised:
            raise ReadRejected from None
        return block, reading_actor(block, reader)


def instance_of(block: Block, instance_id: bytes) -> Instance:
    """Return an instance, or raise `InstanceUnknown`."""
    try:
        return block.instance(instance_id)
    except Refused:
        raise InstanceUnknown("no contract has that id") from None


def decide(block: Block, actor: Actor, instance: Instance, question: Question) -> Answer:
    """Return what would be decided about a transition of `instance` by `actor` in `block`.

    Raises:
        ReadMalformed: the arguments are no canonical document.
    """
    name = question.transition
    try:
        arguments = decode_map(question.arguments)
    except NotCanonical as error:
        raise ReadMalformed(f"arguments: {error}") from error
    try:
        case = open_case(block, instance, actor)
        transition = case.template.transitions.get(name)
        if transition is None or transition.kind != "transition" or name == INSTANTIATE:
            raise Refused(Reason.TRANSITION_UNKNOWN, "nobody takes that transition by an act")
        if instance.position.state not in transition.sources:
            raise Refused(Reason.STATE_FORBIDS, f"the contract is {instance.position.state}")
        case = check_arguments(block, case, transition, arguments)
        policies = judge(block, case, name, arguments)
        take(block, case, transition)  # on a state that nobody will ever commit
    except Refused as error:
        rule = "" if error.reason in _POLICY_REASONS else error.reason.value
        return Answer(False, error.policies, rule)
    return Answer(True, policies)
