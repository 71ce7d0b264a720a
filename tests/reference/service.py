"""The contract service's own executor on a real file, which can be killed between any two steps."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.genesis import Genesis
from cipherward_chain.results import TransactionResult
from cipherward_contract.chain import Chain
from cipherward_contract.restoring import Restoring
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.store import SCHEMA, all_pairs, save_writes
from cipherward_contract.tree import StateTree
from cipherward_kit.database import Database
from tests.reference.interpreter import Decided, Result

FILE = "state.db"
WRITTEN = (FILE, f"{FILE}-wal")  # what a killed process leaves on the disk


class Mishap(StrEnum):
    """What goes wrong around a block."""

    NONE = "none"
    ASKED_TWICE = "asked twice"
    KILLED_AFTER_EXECUTE = "killed after execute"
    KILLED_AFTER_COMMIT = "killed after commit"
    RESTORED_FROM_A_SNAPSHOT = "restored from a snapshot"


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is asked for."""

    height: int
    time_ns: int
    transactions: Sequence[bytes]


class Service:
    """A chain in a folder; whoever comes after a kill finds the files as they were."""

    def __init__(self, folder: Path, genesis: Genesis) -> None:
        self._folder = folder
        self._genesis = genesis
        self._lives = 0
        self._home = folder
        self._database: Database | None = None
        self._chain: Chain | None = None

    @property
    def home(self) -> Path:
        """Where the files are now."""
        return self._home

    async def resume(self, origin: Path) -> None:
        """Open a copy of the files of `origin`."""
        await self._open_copy(origin)

    async def begin(self, document: bytes, beside: Mapping[bytes, bytes]) -> bytes:
        """Begin the chain of a genesis document, and write some pairs that no block writes."""
        self._home = self._new_home()
        await self._open()
        await self._need().init_chain(document)

        def write(connection: sqlite3.Connection) -> bytes:
            save_writes(connection, beside)
            root = StateTree(all_pairs(connection)).root
            connection.execute("UPDATE committed SET app_hash = ?", (root,))
            return root

        assert self._database is not None
        root = await self._database.write(write)
        await self._need().load()
        return root

    async def close(self) -> None:
        """Close the files."""
        database, self._database = self._database, None
        if database is not None:
            await database.__aexit__(None, None, None)

    async def block(self, block: Block, mishap: Mishap) -> Decided:
        """Execute and commit a block, whatever happens meanwhile; return what it came to."""
        answer = await self._execute(block)
        if mishap is Mishap.ASKED_TWICE:
            assert await self._execute(block) == answer
        if mishap is Mishap.KILLED_AFTER_EXECUTE:
            await self._kill()
            assert await self._execute(block) == answer
        await self._need().commit(block.height)
        if mishap is Mishap.ASKED_TWICE:
            await self._need().commit(block.height)
            assert await self._execute(block) == answer
        if mishap is Mishap.KILLED_AFTER_COMMIT:
            await self._kill()
            assert await self._execute(block) == answer
            assert await self._need().executed(block.height) == answer
        found = pb.ExecuteBlockResponse.FromString(answer)
        if mishap is Mishap.RESTORED_FROM_A_SNAPSHOT:
            await self._move_out(block.height, found.app_hash)
        return _decided(found)

    async def pairs(self) -> dict[bytes, bytes]:
        """Return the state as it is on the disk."""
        assert self._database is not None
        return await self._database.read(lambda connection: dict(all_pairs(connection)))

    def _need(self) -> Chain:
        assert self._chain is not None
        return self._chain

    async def _execute(self, block: Block) -> bytes:
        return await self._need().execute(block.height, block.time_ns, block.transactions)

    async def _kill(self) -> None:
        """Let another process find the files exactly as they are now, and go on with them."""
        left, leaving = self._home, self._database
        self._database = None
        await self._open_copy(left)
        assert leaving is not None
        await leaving.__aexit__(None, None, None)
        shutil.rmtree(left)

    async def _open_copy(self, origin: Path) -> None:
        self._home = self._new_home()
        for name in WRITTEN:
            if (origin / name).exists():
                shutil.copyfile(origin / name, self._home / name)
        await self._open()

    def _new_home(self) -> Path:
        self._lives += 1
        home = self._folder / str(self._lives)
        home.mkdir()
        return home

    async def _open(self) -> None:
        self._database = Database(self._home / FILE, SCHEMA)
        await self._database.__aenter__()
        self._chain = Chain(self._database, self._genesis.digest)
        await self._chain.load()

    async def _move_out(self, height: int, app_hash: bytes) -> None:
        """Give a newcomer a snapshot, and go on as the newcomer."""
        left = self._home
        async with Snapshots(left / "snapshots", left / FILE, every=1) as snapshots:
            await snapshots.committed(height)
            await snapshots.finished()
            (snapshot,) = await snapshots.list()
            chunks = [await snapshots.load(height, 1, index) for index in range(snapshot.chunks)]
        await self.close()
        self._home = self._new_home()
        await self._open()
        assert self._database is not None
        restoring = Restoring(self._need(), self._database, self._genesis.digest)
        await restoring.offer(snapshot, snapshot.hash, app_hash)
        for index, chunk in enumerate(chunks):
            last = await restoring.apply(index, chunk)
            assert last == (index == len(chunks) - 1)
        shutil.rmtree(left)


def _decided(answer: pb.ExecuteBlockResponse) -> Decided:
    results = [TransactionResult.from_bytes(raw) for raw in answer.results]
    timer = answer.next_timer.seconds if answer.HasField("next_timer") else None
    return Decided(
        tuple(Result(one.reason, one.first_order, one.order_count) for one in results),
        tuple(answer.orders),
        answer.app_hash,
        timer,
    )
