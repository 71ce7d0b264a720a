"""Restoring the state from a snapshot: nothing counts until its root is the certified one.

Pairs are stored as the chunks come, behind no head: until the last step the store is as before
InitChain to everybody, and what is left of a restoration that never ended is dropped by the next
beginning. The tree is then built from what is on the disk, as at every start; if its root is the
app hash that the chain certifies, one transaction writes the head and what is derived from the
state. Block time is not in a state: until the next block the head has the genesis's.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from copy import copy
from dataclasses import dataclass, field

from cipherward_contract.catalogue import Catalogue
from cipherward_contract.chain import Chain
from cipherward_contract.entries import (
    INSTANCE,
    INSTANCE_END,
    TRANSACTION,
    TRANSACTION_END,
    Instance,
    expiry_of,
)
from cipherward_contract.errors import NoSnapshotOffered, SnapshotRefused, StateCorrupt
from cipherward_contract.loading import Loaded, committed_rules, tree_with_root
from cipherward_contract.machine import object_of
from cipherward_contract.pair_stream import PairReader, PairsMalformed
from cipherward_contract.snapshots import DIGEST_BYTES, FORMAT, Snapshot
from cipherward_contract.state import State
from cipherward_contract.store import (
    Head,
    StoredState,
    clear_state,
    load_head,
    save_head,
)
from cipherward_kit.database import Database

CHUNKS_MAX = 2_048  # 8 GiB: forty million pairs


@dataclass(slots=True)
class _Offered:
    """What is being restored; `taken` chunks are stored."""

    snapshot: Snapshot
    app_hash: bytes
    taken: int = 0
    reader: PairReader = field(default_factory=PairReader)


class Restoring:
    """Takes the chunks of one snapshot at a time."""

    def __init__(self, chain: Chain, database: Database, genesis_digest: bytes) -> None:
        """Restore into the chain's own database."""
        self._chain = chain
        self._database = database
        self._genesis_digest = genesis_digest
        self._catalogue = Catalogue()
        self._offered: _Offered | None = None
        self._one_at_a_time = asyncio.Lock()

    async def offer(self, snapshot: Snapshot, hash_: bytes, app_hash: bytes) -> None:
        """Begin, and forget what was begun before.

        Args:
            snapshot: what a peer says that it has.
            hash_: by which name.
            app_hash: the root that the chain certifies for its height.

        Raises:
            StateNotEmpty, SnapshotRefused.
        """
        async with self._one_at_a_time:
            whole = len(snapshot.metadata) % DIGEST_BYTES == 0
            fits = snapshot.format == FORMAT and snapshot.height and len(app_hash) == DIGEST_BYTES
            if not (whole and fits and 0 < snapshot.chunks <= CHUNKS_MAX):
                raise _refused("the snapshot is of no form that this release restores")
            if hash_ != snapshot.hash:
                raise _refused("the snapshot's hash is not that of its chunks' digests")
            await self._chain.replace(clear_state)
            self._offered = _Offered(snapshot, app_hash)

    async def apply(self, index: int, chunk: bytes) -> bool:
        """Take a chunk; return whether it was the last and the state is there.

        Raises:
            NoSnapshotOffered: none is being restored.
            SnapshotRefused: it is another chunk than the one offered: nothing of it is kept, the
                right one may follow. Or the whole is not what it claimed: nothing of it is left.
        """
        async with self._one_at_a_time:
            offered = self._offered
            if offered is None:
                raise NoSnapshotOffered("no snapshot is being restored")
            await asyncio.to_thread(_check, offered, index, chunk)
            last = index == offered.snapshot.chunks - 1
            if index < offered.taken:
                return last
            reader = copy(offered.reader)  # whose caller goes away sends the chunk again
            try:
                pairs = await asyncio.to_thread(_read, reader, chunk, last)
                height = offered.snapshot.height
                stored = await self._database.write(lambda c: _store(c, pairs, height))
                if last and stored:
                    await self._chain.replace(lambda connection: self._begin(connection, offered))
            except (PairsMalformed, StateCorrupt) as error:
                self._offered = None
                await self._chain.replace(clear_state)
                malformed = isinstance(error, PairsMalformed)
                why = str(error) if malformed else "its root is not the certified one"
                raise _refused(f"the snapshot is not what it claimed: {why}") from None
            offered.reader, offered.taken = reader, index + 1
            return last

    def _begin(self, connection: sqlite3.Connection, offered: _Offered) -> Loaded:
        """Verify the root of what is stored, and make it the committed state."""
        height = offered.snapshot.height
        tree = tree_with_root(connection, offered.app_hash, height)
        rules = committed_rules(connection)
        head = Head(height, rules.genesis_ns, tree.root, self._genesis_digest, height + 1)
        save_head(connection, head)
        self._index(connection)
        return Loaded(head, rules, tree)

    def _index(self, connection: sqlite3.Connection) -> None:
        """Make again what follows from the state: expiries, and instances by their objects."""
        stored = StoredState(connection)
        connection.executemany(
            "INSERT INTO transaction_expiry VALUES (?, ?)",
            (
                (expiry_of(value), key.removeprefix(TRANSACTION))
                for key, value in stored.scan(TRANSACTION, TRANSACTION_END)
            ),
        )
        made: list[tuple[int, bytes, bytes]] = []
        state = State(stored)
        for key, value in stored.scan(INSTANCE, INSTANCE_END):
            instance = Instance.from_bytes(key.removeprefix(INSTANCE), value)
            origin = instance.origin
            compiled = self._catalogue.find(state, origin.template, origin.version)
            assert compiled is not None  # an instance is made of a template that the state holds
            about = object_of(compiled.template, origin.terms, instance.id)
            made.append((origin.height, instance.id, about))
        connection.executemany(
            "INSERT INTO instance_index (object, instance) VALUES (?, ?)",
            ((about, instance) for _, instance, about in sorted(made)),
        )


def _refused(why: str) -> SnapshotRefused:
    return SnapshotRefused(why, part="snapshot")


def _check(offered: _Offered, index: int, chunk: bytes) -> None:
    """Refuse a chunk that is not the next one, or one before it, as it was offered."""
    digest = hashlib.sha256(chunk).digest()
    if index > offered.taken or digest != offered.snapshot.digest(index):
        raise SnapshotRefused(
            f"chunk {index} is not the one that was offered", part="chunk", index=index
        )


def _read(reader: PairReader, chunk: bytes, last: bool) -> list[tuple[bytes, bytes]]:
    pairs = reader.read(chunk)
    if last:
        reader.end()
    return pairs


def _store(connection: sqlite3.Connection, pairs: list[tuple[bytes, bytes]], height: int) -> bool:
    """Write a chunk's pairs, unless the state is there already; say whether it was not."""
    head = load_head(connection)
    if head is None:
        connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", pairs)
        return True
    if head.height != height:  # InitChain came between
        raise NoSnapshotOffered("the chain has begun meanwhile")
    return False
