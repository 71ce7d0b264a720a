"""What would be decided about a transition now: the machine, on a block that nobody will commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.reads import Reader
from cipherward_chain.wire import NANOS
from cipherward_contract.actors import Actor, require_active
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.contract_acts import attempt
from cipherward_contract.entries import Instance
from cipherward_contract.errors import ChainNotInitialised, InstanceUnknown
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.rights import reading_actor
from cipherward_contract.state import Committed, State
from cipherward_contract.store import Head, load_head
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


@dataclass(slots=True)
class KnownRules:
    """The rules of the committed state that was asked about last; of one thread."""

    app_hash: bytes = b""
    rules: ChainRules | None = None

    def of(self, head: Head, state: State) -> ChainRules | None:
        """Return the rules of the state whose head that is."""
        if head.app_hash != self.app_hash:
            self.rules, self.app_hash = ChainRules.load(state), head.app_hash
        return self.rules


@dataclass(frozen=True, slots=True)
class Present:
    """Makes the blocks that questions are asked on.

    clock: Unix seconds. catalogue: of one thread. known: None to have every answer read all that it
    follows from, for whoever proves it.
    """

    clock: Callable[[], float]
    catalogue: Catalogue
    known: KnownRules | None = None

    def block(self, connection: sqlite3.Connection, committed: Committed) -> Block:
        """Return a block after the committed one that nobody will ever commit.

        Its time is the chain's or this clock's, whichever is later: an answer may only be stricter.

        Raises:
            ChainNotInitialised: there is no state.
        """
        head = load_head(connection)
        state = State(committed)
        rules = None
        if head is not None:
            rules = self.known.of(head, state) if self.known else ChainRules.load(state)
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
    try:
        arguments = decode_map(question.arguments)
    except NotCanonical as error:
        raise ReadMalformed(f"arguments: {error}") from error
    try:
        require_active(block, actor)  # who is suspended still reads, and so still asks
        # On a state that nobody will ever commit.
        policies = attempt(block, actor, instance, question.transition, arguments)
    except Refused as error:
        rule = "" if error.reason in _POLICY_REASONS else error.reason.value
        return Answer(False, error.policies, rule)
    return Answer(True, policies)
