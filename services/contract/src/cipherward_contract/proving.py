"""What the committed state holds, with proofs against its root: one helper for every answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_contract.loading import Loaded
from cipherward_contract.store import StoredState


@dataclass(frozen=True, slots=True)
class Prover:
    """The committed state in the executing thread: what is read here is what is proven here."""

    connection: sqlite3.Connection
    loaded: Loaded

    def prove(self, keys: Sequence[bytes]) -> pb.ProvenState:
        """Return what the state holds under `keys`, each with its proof, in their order."""
        stored = StoredState(self.connection)
        return pb.ProvenState(
            height=self.loaded.head.height,
            app_hash=self.loaded.head.app_hash,
            proofs=[self.loaded.tree.prove(key, stored.get(key)) for key in keys],
        )


@dataclass(slots=True)
class WatchedState:
    """Committed pairs that remember which keys were asked for: a third adapter of `Committed`."""

    stored: StoredState
    asked: set[bytes] = field(default_factory=set[bytes])

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        self.asked.add(key)
        return self.stored.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs from `start` up to, not including, `end`, by ascending key."""
        return self.stored.scan(start, end)
