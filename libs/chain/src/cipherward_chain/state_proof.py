"""Proofs that a state key has a value, or none, under an app hash."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.errors import ChainError
from cipherward_chain.merkle import ProofRejected, inner_hash, prove_hash, root_from_proof
from cipherward_chain.tree_hash import (
    DEPTH,
    EMPTY_BUCKET,
    bucket_hash,
    bucket_of,
    key_hash,
    pair_leaf,
    value_hash,
)


class StateProofRejected(ChainError):
    """A proof does not show what the state holds under that key."""

    reason = "STATE_PROOF_REJECTED"


def build_state_proof(
    key: bytes,
    value: bytes | None,
    pairs: Sequence[tuple[bytes, bytes]],
    siblings: Sequence[bytes],
) -> pb.StateProof:
    """Return the proof of presence (`value`) or absence (None) of `key`.

    Args:
        pairs: every pair (key hash, value hash) of the key's bucket, by ascending key hash.
        siblings: the 16 hashes beside the path from the bucket to the root, bottom up.

    Raises:
        ValueError: the value is not what the bucket holds.
    """
    hashed = key_hash(key)
    place = bisect_left(pairs, hashed, key=lambda pair: pair[0])
    held = pairs[place][1] if place < len(pairs) and pairs[place][0] == hashed else None
    if held != (None if value is None else value_hash(value)):
        raise ValueError("the bucket holds another value under the key")
    if held is not None:
        shown = [place]
    else:
        shown = [near for near in (place - 1, place) if 0 <= near < len(pairs)]
    leaves = [pair_leaf(*pair) for pair in pairs]
    return pb.StateProof(
        key=key,
        pair_count=len(pairs),
        pairs=[
            pb.PairProof(
                position=at,
                key_hash=pairs[at][0],
                value_hash=pairs[at][1],
                aunts=prove_hash(leaves, at),
            )
            for at in shown
        ],
        value=value,
        siblings=siblings,
    )


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise StateProofRejected(why)


def _check_presence(proof: pb.StateProof, hashed: bytes) -> None:
    _need(len(proof.pairs) == 1, "presence is shown by one pair")
    pair = proof.pairs[0]
    _need(pair.key_hash == hashed, "the pair is of another key")
    _need(pair.value_hash == value_hash(proof.value), "the pair is of another value")


def _check_absence(proof: pb.StateProof, hashed: bytes) -> None:
    """The key would stand between two neighbours, or before the first or after the last pair."""
    places = [pair.position for pair in proof.pairs]
    if len(places) == 2:
        low, high = proof.pairs
        _need(places[1] == places[0] + 1, "the pairs are no neighbours")
        _need(low.key_hash < hashed < high.key_hash, "the key is not between the pairs")
        return
    _need(len(places) == 1, "absence is shown by the neighbours")
    pair = proof.pairs[0]
    before_first = places[0] == 0 and hashed < pair.key_hash
    after_last = places[0] == proof.pair_count - 1 and hashed > pair.key_hash
    _need(before_first or after_last, "a neighbour is missing")


def _bucket(proof: pb.StateProof) -> bytes:
    """Return the bucket's hash to which every pair of the proof leads."""
    roots: set[bytes] = set()
    for pair in proof.pairs:
        _need(len(pair.key_hash) == 32 and len(pair.value_hash) == 32, "a hash has not 32 bytes")
        try:
            leaf = pair_leaf(pair.key_hash, pair.value_hash)
            roots.add(root_from_proof(leaf, pair.position, proof.pair_count, pair.aunts))
        except ProofRejected as error:
            raise StateProofRejected(f"a pair's path: {error}") from error
    _need(len(roots) == 1, "the pairs lead to different buckets")
    return bucket_hash(proof.pair_count, roots.pop())


def verify_state_proof(proof: pb.StateProof, app_hash: bytes, key: bytes) -> bytes | None:
    """Return the value that the state with root `app_hash` holds under `key`, or None if it has
    none.

    Raises:
        StateProofRejected: the proof shows neither, or is of another key or state.
    """
    _need(proof.key == key, "the proof is of another key")
    _need(
        len(proof.siblings) == DEPTH and all(len(s) == 32 for s in proof.siblings),
        f"a path has {DEPTH} hashes of 32 bytes",
    )
    hashed = key_hash(key)
    present = proof.HasField("value")
    if proof.pair_count == 0:
        _need(not present and not proof.pairs, "an empty bucket holds nothing")
        found = EMPTY_BUCKET
    else:
        (_check_presence if present else _check_absence)(proof, hashed)
        found = _bucket(proof)
    place = bucket_of(hashed)
    for sibling in proof.siblings:
        found = inner_hash(sibling, found) if place & 1 else inner_hash(found, sibling)
        place >>= 1
    _need(found == app_hash, "the path leads to another state")
    return proof.value if present else None
