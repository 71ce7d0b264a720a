"""What holders and members may ask about contracts, answered from the committed state.

The functions run in a thread of their own with a read connection, beside the executing thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.reads import Reader
from cipherward_chain.wire import NANOS
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.disclosures import DisclosureRow, list_disclosures, list_instances
from cipherward_contract.entries import Instance
from cipherward_contract.errors import (
    ChainNotInitialised,
    InstanceUnknown,
)
from cipherward_contract.machine import check_arguments, judge, open_case, take
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.registry import Registered
from cipherward_contract.rights import (
    may_read_record,
    readable_case,
    reading_actor,
)
from cipherward_contract.state import State
from cipherward_contract.store import StoredState, load_head
from cipherward_contract.templates.document import INSTANTIATE
from cipherward_kit.database import Database
from cipherward_member.errors import ReadMalformed, ReadRejected

T = TypeVar("T")

PAGE_MAX = 100
# What a policy denied is told by its ids; what came before any policy, by the rule's name.
_POLICY_REASONS = frozenset({Reason.POLICY_DENIED, Reason.POLICY_ERROR})


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a transition would succeed now; by which policies, or which rule refused first."""

    allowed: bool
    policies: tuple[str, ...] = ()
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What of a list is wanted: at most `limit` items behind sequence `after`."""

    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Disclosures:
    """Who asked for a record, of the blocks from `complete_from` on."""

    rows: Sequence[DisclosureRow]
    complete_from: int


class Reading:
    """Answers questions about the committed state."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Use an open database of its own, and a clock (Unix seconds)."""
        self._database = database
        self._clock = clock
        self._catalogue = Catalogue()

    async def decide(self, reader: Reader, transition: str, arguments: bytes) -> Answer:
        """Return what would be decided about a transition now, to whoever has a key that counts.

        Raises:
            ChainNotInitialised, ReadRejected, InstanceUnknown, ReadMalformed.
        """
        return await self._database.read(lambda c: self._decide(c, reader, transition, arguments))

    async def instance(self, reader: Reader) -> Instance:
        """Return the instance that the reader names.

        Raises:
            ReadRejected: the reader is nobody to it. InstanceUnknown: a reader whose key
                counts named what does not exist.
        """

        def work(connection: sqlite3.Connection) -> Instance:
            block, actor = self._opened(connection, reader)
            return readable_case(block, self._found(block, reader.object), actor).instance

        return await self._database.read(work)

    async def instances(self, reader: Reader, page: Page) -> list[tuple[int, Instance]]:
        """Return the (sequence, instance) about an object, or raise `ReadRejected`."""

        def work(connection: sqlite3.Connection) -> list[tuple[int, Instance]]:
            block, actor = self._opened(connection, reader)
            if not self._may_list(block, reader.object, actor):
                raise ReadRejected
            rows = list_instances(connection, reader.object, page.after, page.limit)
            return [(sequence, block.instance(found)) for sequence, found in rows]

        return await self._database.read(work)

    async def disclosures(self, reader: Reader, page: Page) -> Disclosures:
        """Return who asked for a record, or raise `ReadRejected`."""

        def work(connection: sqlite3.Connection) -> Disclosures:
            block, actor = self._opened(connection, reader)
            record = _or_none(lambda: block.record(reader.object))
            if record is None or not may_read_record(record, actor):
                raise ReadRejected
            rows = list_disclosures(connection, reader.object, page.after, page.limit)
            head = load_head(connection)
            return Disclosures(rows, head.complete_from if head else 1)

        return await self._database.read(work)

    async def registry(self) -> tuple[int, Mapping[str, Registered]]:
        """Return the committed height and its registry, or raise `ChainNotInitialised`."""

        def work(connection: sqlite3.Connection) -> tuple[int, Mapping[str, Registered]]:
            block = self._block(connection)
            return block.height - 1, block.rules.registry

        return await self._database.read(work)

    def _block(self, connection: sqlite3.Connection) -> Block:
        """Return a block after the committed one that nobody will ever commit.

        Its time is the chain's or this clock's, whichever is later: an answer may only be stricter.
        """
        head = load_head(connection)
        state = State(StoredState(connection))
        rules = ChainRules.load(state) if head else None
        if head is None or rules is None:
            raise ChainNotInitialised("the chain has not begun: InitChain comes first")
        time_ns = max(head.time_ns, int(self._clock() * NANOS))
        return Block(head.height + 1, time_ns, rules, self._catalogue, state)

    def _opened(self, connection: sqlite3.Connection, reader: Reader) -> tuple[Block, Actor]:
        """Return the block and who reads; before the chain has begun nobody's key counts."""
        try:
            block = self._block(connection)
        except ChainNotInitialised:
            raise ReadRejected from None
        return block, reading_actor(block, reader)

    def _found(self, block: Block, instance_id: bytes) -> Instance:
        instance = _or_none(lambda: block.instance(instance_id))
        if instance is None:
            raise InstanceUnknown("no contract has that id")
        return instance

    def _may_list(self, block: Block, object_id: bytes, actor: Actor) -> bool:
        record = _or_none(lambda: block.record(object_id))
        if record is not None:
            return actor.kind == "member" or may_read_record(record, actor)
        instance = _or_none(lambda: block.instance(object_id))
        if instance is None:
            return actor.kind == "member"
        readable_case(block, instance, actor)
        return True

    def _decide(
        self, connection: sqlite3.Connection, reader: Reader, name: str, raw: bytes
    ) -> Answer:
        block = self._block(connection)
        actor = reading_actor(block, reader)
        instance = self._found(block, reader.object)
        try:
            arguments = decode_map(raw)
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


def _or_none(find: Callable[[], T]) -> T | None:
    try:
        return find()
    except Refused:
        return None
