"""The hashing rules of the authenticated state, shared by who keeps the tree and who verifies it.

2^16 buckets by the first 16 bits of the key's hash. A bucket's pairs, sorted by key hash, are the
leaves of a Merkle tree of RFC 6962; the bucket's hash binds their number; the buckets are the
leaves of a complete binary tree whose root is the app hash. A bucket that an attacker fills costs a
logarithm.
Each kind of node has a prefix of its own: pair 0x00, inner 0x01, bucket 0x02, empty bucket 0x03.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from cipherward_chain.merkle import inner_hash, leaf_hash, root_of_hashes

DEPTH: Final = 16  # about 15 pairs a bucket at a million keys; 4 MiB of hashes in memory
BUCKETS: Final = 1 << DEPTH
EMPTY_BUCKET: Final = hashlib.sha256(b"\x03").digest()


def key_hash(key: bytes) -> bytes:
    """Return the SHA-256 of a state key."""
    return hashlib.sha256(key).digest()


def value_hash(value: bytes) -> bytes:
    """Return the SHA-256 of a state value."""
    return hashlib.sha256(value).digest()


def bucket_of(hashed_key: bytes) -> int:
    """Return the bucket, 0 to 65,535, of a key's hash."""
    return int.from_bytes(hashed_key[:2], "big")


def pair_leaf(hashed_key: bytes, hashed_value: bytes) -> bytes:
    """Return SHA-256(0x00 || key hash || value hash)."""
    return leaf_hash(hashed_key + hashed_value)


def bucket_hash(pair_count: int, pairs_root: bytes) -> bytes:
    """Return SHA-256(0x02 || pair count as 4 bytes || root of the pairs), for at least one pair."""
    return hashlib.sha256(b"\x02" + pair_count.to_bytes(4, "big") + pairs_root).digest()


def bucket_hash_of(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the hash of a bucket.

    Args:
        pairs: (key hash, value hash), by ascending key hash; none is the empty bucket.
    """
    if not pairs:
        return EMPTY_BUCKET
    return bucket_hash(len(pairs), root_of_hashes([pair_leaf(k, v) for k, v in pairs]))


def _empty_levels() -> tuple[bytes, ...]:
    levels = [EMPTY_BUCKET]
    for _ in range(DEPTH):
        levels.append(inner_hash(levels[-1], levels[-1]))
    return tuple(levels)


EMPTY_LEVELS: Final = _empty_levels()  # the hash of a subtree of empty buckets, by its height
EMPTY_STATE: Final = EMPTY_LEVELS[DEPTH]


def tree_root(bucket_hashes: Mapping[int, bytes]) -> bytes:
    """Return the app hash over the given non-empty buckets; the others are empty.

    For a whole state in one go; a service that keeps a large state updates a flat array instead.
    """
    level = dict(bucket_hashes)
    for height in range(DEPTH):
        empty = EMPTY_LEVELS[height]
        level = {
            parent: inner_hash(level.get(2 * parent, empty), level.get(2 * parent + 1, empty))
            for parent in {place >> 1 for place in level}
        }
    return level.get(0, EMPTY_STATE)
