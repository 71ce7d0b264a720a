"""The app hash, from nothing but the pairs: every bucket and every inner node hashed anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

BITS = 16  # of a key's hash: they choose the bucket


def app_hash(pairs: Mapping[bytes, bytes]) -> bytes:
    """Return the root over all pairs of a state."""
    buckets: dict[int, list[bytes]] = {}
    for key, value in pairs.items():
        hashed = _sha(key)
        buckets.setdefault(int.from_bytes(hashed[:2], "big"), []).append(hashed + _sha(value))
    level = {number: _bucket(sorted(found)) for number, found in buckets.items()}
    empty = _sha(b"\x03")
    for _ in range(BITS):
        parents: dict[int, bytes] = {}
        for number in {number // 2 for number in level}:
            left, right = level.get(2 * number, empty), level.get(2 * number + 1, empty)
            parents[number] = _inner(left, right)
        level, empty = parents, _inner(empty, empty)
    return level.get(0, empty)


def _bucket(leaves: Sequence[bytes]) -> bytes:
    return _sha(b"\x02" + len(leaves).to_bytes(4, "big") + merkle_root(leaves))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return _sha(b"")
    if len(leaves) == 1:
        return _sha(b"\x00" + leaves[0])
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return _inner(merkle_root(leaves[:left]), merkle_root(leaves[left:]))


@lru_cache(1 << 16)  # the same two have the same hash, and a block changes few
def _inner(left: bytes, right: bytes) -> bytes:
    return _sha(b"\x01" + left + right)


def _sha(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
