"""What holders and members may ask about contracts, answered from the committed state.

The functions run in a thread of their own with a read connection, beside the executing thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cipherward_chain.reads import Reader
from cipherward_contract.actors import Actor
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import Catalogue
from cipherward_contract.deciding import (
    Answer,
    KnownRules,
    Present,
    Question,
    decide,
    instance_of,
)
from cipherward_contract.disclosures import DisclosureRow, list_disclosures, list_instances
from cipherward_contract.entries import Instance
from cipherward_contract.notices import NoticeRow, member_notices, owner_notices
from cipherward_contract.refusals import Refused
from cipherward_contract.registry import Registered
from cipherward_contract.rights import may_read_record, readable_case, reading_actor
from cipherward_contract.store import StoredState, load_head
from cipherward_kit.database import Database
from cipherward_member.errors import ReadRejected

T = TypeVar("T")

PAGE_MAX = 100


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
        self._present = Present(clock, Catalogue(), KnownRules())

    async def decide(self, reader: Reader, question: Question) -> Answer:
        """Return what would be decided about a transition now, to whoever has a key that counts.

        Raises:
            ChainNotInitialised, ReadRejected, InstanceUnknown, ReadMalformed.
        """

        def work(connection: sqlite3.Connection) -> Answer:
            block = self._block(connection)
            actor = reading_actor(block, reader)
            return decide(block, actor, instance_of(block, reader.object), question)

        return await self._database.read(work)

    async def instance(self, reader: Reader) -> Instance:
        """Return the instance that the reader names.

        Raises:
            ReadRejected: the reader is nobody to it. InstanceUnknown: a reader whose key
                counts named what does not exist.
        """

        def work(connection: sqlite3.Connection) -> Instance:
            block, actor = self._opened(connection, reader)
            return readable_case(block, instance_of(block, reader.object), actor).instance

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

    async def notices(self, reader: Reader, page: Page) -> list[NoticeRow]:
        """Return what a member was told, or, of a record, its owner; or raise `ReadRejected`."""

        def work(connection: sqlite3.Connection) -> list[NoticeRow]:
            block, actor = self._opened(connection, reader)
            if not reader.object:
                if actor.kind != "member":
                    raise ReadRejected
                return member_notices(connection, actor.member, page.after, page.limit)
            record = _or_none(lambda: block.record(reader.object))
            if record is None or not actor.key or actor.key != record.owner:
                raise ReadRejected
            return owner_notices(connection, reader.object, page.after, page.limit)

        return await self._database.read(work)

    async def registry(self) -> tuple[int, Mapping[str, Registered]]:
        """Return the committed height and its registry, or raise `ChainNotInitialised`."""

        def work(connection: sqlite3.Connection) -> tuple[int, Mapping[str, Registered]]:
            block = self._block(connection)
            return block.height - 1, block.rules.registry

        return await self._database.read(work)

    def _block(self, connection: sqlite3.Connection) -> Block:
        return self._present.block(connection, StoredState(connection))

    def _opened(self, connection: sqlite3.Connection, reader: Reader) -> tuple[Block, Actor]:
        return self._present.opened(connection, StoredState(connection), reader)

    def _may_list(self, block: Block, object_id: bytes, actor: Actor) -> bool:
        record = _or_none(lambda: block.record(object_id))
        if record is not None:
            return actor.kind == "member" or may_read_record(record, actor)
        instance = _or_none(lambda: block.instance(object_id))
        if instance is None:
            return actor.kind == "member"
        readable_case(block, instance, actor)
        return True


def _or_none(find: Callable[[], T]) -> T | None:
    try:
        return find()
    except Refused:
        return None
