"""The Merkle tree of RFC 6962, section 2.1, as CometBFT uses it, without recursion."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cipherward_chain.errors import ChainError

EMPTY_ROOT = hashlib.sha256(b"").digest()
LEAVES_MAX = 1 << 32  # far above what 2 MiB can hold; bounds a path at 32 hashes


class ProofRejected(ChainError):
    """A path cannot belong to a tree of the size that it claims."""

    reason = "PROOF_REJECTED"


def leaf_hash(item: bytes) -> bytes:
    """Return SHA-256(0x00 || item)."""
    return hashlib.sha256(b"\x00" + item).digest()


def inner_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """Pair neighbours; a last one without a neighbour moves up as it is."""
    parents = [inner_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        parents.append(level[-1])
    return parents


def root_of_hashes(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes (32 bytes each); of none, SHA-256 of nothing."""
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0] if level else EMPTY_ROOT


def root(items: Sequence[bytes]) -> bytes:
    """Return the root over `items`, each hashed as a leaf."""
    return root_of_hashes([leaf_hash(item) for item in items])


class Tree:
    """A whole tree, hashed once, from which every leaf's path is read."""

    __slots__ = ("_levels",)

    def __init__(self, leaves: Sequence[bytes]) -> None:
        """Hash the tree over `leaves`, which are leaf *hashes*."""
        self._levels = [list(leaves)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_parents(self._levels[-1]))

    def path(self, index: int) -> tuple[bytes, ...]:
        """Return the hashes beside the way from leaf `index` to the root, bottom up.

        Raises:
            IndexError: there is no such leaf.
        """
        if not 0 <= index < len(self._levels[0]):
            raise IndexError("no such leaf")
        beside = ((level, index >> height ^ 1) for height, level in enumerate(self._levels))
        return tuple(level[place] for level, place in beside if place < len(level))


def prove_hash(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the path of leaf hash `index`, or raise `IndexError`."""
    return Tree(leaves).path(index)


def prove(items: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the path of item `index`: the hashes beside it, bottom up."""
    return prove_hash([leaf_hash(item) for item in items], index)


def root_from_proof(leaf: bytes, index: int, total: int, aunts: Sequence[bytes]) -> bytes:
    """Return the root to which a path leads from a leaf *hash*; the caller compares it.

    Args:
        leaf: the leaf's hash, 32 bytes.
        index: the leaf's place, from 0.
        total: the number of leaves of the tree.
        aunts: exactly the hashes beside the path, 32 bytes each, bottom up.

    Raises:
        ProofRejected: the place is not in the tree, or the path has another length.

    Source: RFC 9162, 2.1.3.2, which is the same tree.
    """
    if not 0 <= index < total <= LEAVES_MAX:
        raise ProofRejected("the place is outside the tree")
    place, last, found = index, total - 1, leaf
    for aunt in aunts:
        if len(aunt) != 32:
            raise ProofRejected("a hash of the path has not 32 bytes")
        if last == 0:
            raise ProofRejected("the path is too long")
        if place & 1 or place == last:
            found = inner_hash(aunt, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = inner_hash(found, aunt)
        place, last = place >> 1, last >> 1
    if last:
        raise ProofRejected("the path is too short")
    return found


def smallest_total(index: int, total: int) -> int:
    """Return the least size of a tree in which leaf `index` has the same path as in one of `total`.

    A path does not prove how many leaves there are: leaf 0 has the same one among 5 and among 8.
    Where a proof must have one form only, this size is written.
    """
    last = total - 1
    if index == last:
        return total
    fork = (index ^ last).bit_length() - 1  # the level at which the way to the last leaf parts
    return ((index >> fork | 1) << fork) + 1
