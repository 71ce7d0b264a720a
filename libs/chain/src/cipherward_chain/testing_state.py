"""The authenticated state of a chain in memory, for the tests of every part."""

from __future__ import annotations

from collections.abc import Mapping

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.merkle import inner_hash
from cipherward_chain.state_proof import build_state_proof
from cipherward_chain.tree_hash import (
    DEPTH,
    EMPTY_LEVELS,
    bucket_hash_of,
    bucket_of,
    key_hash,
    tree_root,
    value_hash,
)


class MemoryState:
    """Every pair in memory, and the root and the proofs made from all of them at each call."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def write(self, writes: Mapping[bytes, bytes]) -> None:
        """Put values under their keys."""
        self._values.update(writes)

    def _buckets(self) -> dict[int, list[tuple[bytes, bytes]]]:
        found: dict[int, list[tuple[bytes, bytes]]] = {}
        pairs = sorted((key_hash(k), value_hash(v)) for k, v in self._values.items())
        for hashed, value in pairs:
            found.setdefault(bucket_of(hashed), []).append((hashed, value))
        return found

    def root(self) -> bytes:
        """Return the app hash."""
        return tree_root({place: bucket_hash_of(p) for place, p in self._buckets().items()})

    def prove(self, key: bytes) -> pb.StateProof:
        """Return the proof of presence or absence of `key`."""
        buckets = self._buckets()
        level = {place: bucket_hash_of(pairs) for place, pairs in buckets.items()}
        place = bucket_of(key_hash(key))
        siblings: list[bytes] = []
        for height in range(DEPTH):
            siblings.append(level.get((place >> height) ^ 1, EMPTY_LEVELS[height]))
            level = _parents(level, height)
        pairs = buckets.get(place, [])
        return build_state_proof(key, self._values.get(key), pairs, siblings)


def _parents(level: Mapping[int, bytes], height: int) -> dict[int, bytes]:
    empty = EMPTY_LEVELS[height]
    return {
        parent: inner_hash(level.get(2 * parent, empty), level.get(2 * parent + 1, empty))
        for parent in {place >> 1 for place in level}
    }
