"""Members who take the steps of a key ceremony or a resharing over real stores in one folder.

They ask each other directly; over sockets and a chain they do in the tests of studies.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cipherward_chain.testing import make_genesis
from cipherward_compute import arithmetic
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.keyring import MessageKind
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers
from cipherward_compute.schema import SCHEMA
from cipherward_kit.database import Database
from cipherward_kit.jobs import WorkerPool
from cipherward_kit.testing import eventually
from cipherward_member.registry import MemberRegistry

# Four members compute in turn on one pool of processes; a step takes seconds on a busy machine.
ANSWER_SECONDS = 120.0

Tamper = Callable[[str, MessageKind, bytes], bytes]
# Returns a member's message of a study to another one; nothing if there is none yet.
Ask = Callable[[str, bytes, MessageKind, str], Awaitable[bytes]]


@dataclass
class Neighbours(Peers):
    """The other members, asked directly; `dies_at` is the question that `mine` does not survive."""

    mine: str
    ask: Ask
    asked: int = 0
    dies_at: int = -1
    tamper: Tamper | None = None

    async def ceremony_message(self, member: str, study: bytes, kind: MessageKind) -> bytes:
        self.asked += 1
        if self.asked == self.dies_at:
            raise RuntimeError("killed")
        found = b""

        async def there() -> bool:
            nonlocal found
            found = await self.ask(member, study, kind, self.mine)
            return bool(found)

        await eventually(there, seconds=ANSWER_SECONDS, what=f"{kind} of {member}")
        return self.tamper(member, kind, found) if self.tamper else found


@dataclass
class MembersOnDisk(ABC):
    """Members who start and stop; what a subclass makes of one over its store is gone when it
    starts again.
    """

    folder: Path
    pool: WorkerPool
    registry: MemberRegistry
    databases: dict[str, Database] = field(default_factory=dict[str, Database])

    @abstractmethod
    def assemble(self, me: Member, database: Database) -> None:
        """Make the parts of a member that starts."""

    async def start(self, name: str) -> None:
        self.databases[name] = await Database(self.folder / f"{name}.db", SCHEMA).__aenter__()
        me = Member(name, "chain test", self.registry, self.pool)
        self.assemble(me, self.databases[name])

    async def stop(self, name: str) -> None:
        await self.databases.pop(name).__aexit__(None, None, None)

    async def restart(self, name: str) -> None:
        await self.stop(name)
        await self.start(name)

    async def keep(self, folder: Path) -> None:
        """Leave a copy of everything that is on disk."""
        await self._copied(self.folder, folder)

    async def begin_with(self, folder: Path) -> None:
        """Go on with what `keep` has left."""
        await self._copied(folder, self.folder)

    async def _copied(self, source: Path, target: Path) -> None:
        names = list(self.databases)
        for name in names:
            await self.stop(name)
        await asyncio.to_thread(shutil.copytree, source, target, dirs_exist_ok=True)
        for name in names:
            await self.start(name)

    def sql(self, name: str, statement: str, *values: object) -> list[tuple[bytes, ...]]:
        """Look at a member's disk, or change it."""
        with sqlite3.connect(self.folder / f"{name}.db") as connection:
            rows = connection.execute(statement, values).fetchall()
        connection.close()
        return rows

    def rewrite(
        self, study: bytes, member: str, kind: MessageKind, octets: bytes, receiver: str = ""
    ) -> bytes:
        """Let a member have another message than it made; return the commitment to it."""
        self.sql(
            member,
            "UPDATE ceremony_messages SET octets = ?"
            " WHERE study = ? AND kind = ? AND sender = ? AND receiver = ?",
            *(octets, study, kind, member, receiver),
        )
        return commitment_to(study, kind, member, octets)


A = TypeVar("A", bound=MembersOnDisk)


@asynccontextmanager
async def running(
    members: Callable[[Path, WorkerPool, MemberRegistry], A], folder: Path, names: Sequence[str]
) -> AsyncGenerator[A]:
    """Start members, named as those of a genesis are, and stop them at the end."""
    genesis, _ = make_genesis(len(names))
    async with WorkerPool(0, 64, arithmetic.__name__) as pool:
        made = members(folder, pool, MemberRegistry(genesis, folder / "registry.json"))
        for name in names:
            await made.start(name)
        try:
            yield made
        finally:
            for name in list(made.databases):
                await made.stop(name)
