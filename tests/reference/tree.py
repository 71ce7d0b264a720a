"""The app hash, from nothing but the pairs: every bucket and every inner node hashed anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

BITS = 16  # of a key's hash: they choose the bucket


def app_hash(pairs: Mapping[bytes, bytes]) -> bytes:
    """Return the root over all pairs of a state."""
    hashed = sorted((_sha(key), _sha(value)) for key, value in pairs.items())
    return _node(hashed, 0)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return _sha(b"")
    if len(leaves) == 1:
        return _sha(b"\x00" + leaves[0])
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return _sha(b"\x01" + merkle_root(leaves[:left]) + merkle_root(leaves[left:]))


def _node(pairs: Sequence[tuple[bytes, bytes]], depth: int) -> bytes:
    """Return the hash of the node that has these pairs below it, `depth` bits under the root."""
    if not pairs:
        return _EMPTY[depth]
    if depth == BITS:
        below = merkle_root([key + value for key, value in pairs])
        return _sha(b"\x02" + len(pairs).to_bytes(4, "big") + below)
    right = [pair for pair in pairs if int.from_bytes(pair[0][:2], "big") >> (15 - depth) & 1]
    left = pairs[: len(pairs) - len(right)]
    return _sha(b"\x01" + _node(left, depth + 1) + _node(right, depth + 1))


def _sha(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def _empty() -> list[bytes]:
    """Return the hash of a node with nothing below it, by its depth."""
    found = [_sha(b"\x03")]
    for _ in range(BITS):
        found.append(_sha(b"\x01" + found[-1] + found[-1]))
    return found[::-1]


_EMPTY = _empty()
