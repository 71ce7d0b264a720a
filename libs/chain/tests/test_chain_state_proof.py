"""Proofs over the authenticated state: presence, absence, and no third thing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.merkle import root_from_proof
from cipherward_chain.state_proof import StateProofRejected, build_state_proof, verify_state_proof
from cipherward_chain.testing_state import MemoryState
from cipherward_chain.tree_hash import (
    BUCKETS,
    DEPTH,
    EMPTY_BUCKET,
    EMPTY_LEVELS,
    EMPTY_STATE,
    bucket_hash_of,
    bucket_of,
    key_hash,
    pair_leaf,
    tree_root,
)
from cipherward_chain.wire import exact_bytes


def sha(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def state_of(values: dict[bytes, bytes]) -> MemoryState:
    state = MemoryState()
    state.write(values)
    return state


def test_the_empty_state_is_sixteen_levels_of_empty_buckets() -> None:
    node = sha(b"\x03")
    for _ in range(DEPTH):
        node = sha(b"\x01" + node + node)
    assert tree_root({}) == EMPTY_STATE == node
    assert MemoryState().root() == EMPTY_STATE


def test_the_hash_of_a_state_is_as_documented() -> None:
    pair = sha(b"\x00" + sha(b"key") + sha(b"value"))
    bucket = sha(b"\x02" + (1).to_bytes(4, "big") + pair)
    assert bucket_hash_of([(sha(b"key"), sha(b"value"))]) == bucket
    place, node = int.from_bytes(sha(b"key")[:2], "big"), bucket
    for height in range(DEPTH):
        beside = EMPTY_LEVELS[height]
        node = sha(b"\x01" + (beside + node if place >> height & 1 else node + beside))
    assert state_of({b"key": b"value"}).root() == node


def test_a_bucket_of_two_is_a_merkle_tree_over_its_sorted_pairs() -> None:
    low, high = (bytes(32), sha(b"a")), (bytes(31) + b"\1", sha(b"b"))
    tree = sha(b"\x01" + sha(b"\x00" + low[0] + low[1]) + sha(b"\x00" + high[0] + high[1]))
    assert bucket_hash_of([low, high]) == sha(b"\x02\0\0\0\2" + tree)
    assert bucket_hash_of([]) == EMPTY_BUCKET


VALUES = st.dictionaries(st.binary(max_size=4), st.binary(max_size=4), max_size=30)


@settings(deadline=None)  # each example builds a state: its time varies with its size
@given(VALUES, st.binary(max_size=4))
def test_every_key_is_proven_present_or_absent(values: dict[bytes, bytes], other: bytes) -> None:
    state = state_of(values)
    root = state.root()
    for key in [*values, other]:
        assert verify_state_proof(state.prove(key), root, key) == values.get(key)


def bucket_state(
    pairs: list[tuple[bytes, bytes]],
) -> tuple[bytes, list[bytes]]:
    """Return root and siblings of a state whose only bucket holds `pairs`."""
    node, place = bucket_hash_of(pairs), bucket_of(pairs[0][0]) if pairs else 0
    siblings: list[bytes] = []
    for height in range(DEPTH):
        beside = EMPTY_LEVELS[height]
        node = sha(b"\x01" + (beside + node if place >> height & 1 else node + beside))
        siblings.append(beside)
    return node, siblings


@pytest.fixture(scope="module")
def one_bucket() -> list[bytes]:
    """Nine keys of one bucket, by ascending hash: found by trying, as 16 bits allow."""
    by_bucket: dict[int, list[bytes]] = {}
    number = 0
    while True:
        key = number.to_bytes(4, "big")
        held = by_bucket.setdefault(bucket_of(sha(key)), [])
        held.append(key)
        if len(held) == 9:
            return sorted(held, key=sha)
        number += 1


@pytest.mark.parametrize("size", range(1, 9))
def test_each_place_between_the_pairs_of_a_bucket_is_proven_absent(
    one_bucket: list[bytes], size: int
) -> None:
    for left_out in range(size + 1):
        held = [key for at, key in enumerate(one_bucket[: size + 1]) if at != left_out]
        pairs = [(sha(key), sha(b"v")) for key in held]
        root, siblings = bucket_state(pairs)
        proof = build_state_proof(one_bucket[left_out], None, pairs, siblings)
        assert verify_state_proof(proof, root, one_bucket[left_out]) is None
        assert len(proof.pairs) == (2 if 0 < left_out < size else 1)
        for key in held:
            proof = build_state_proof(key, b"v", pairs, siblings)
            assert verify_state_proof(proof, root, key) == b"v"


def test_a_filled_bucket_costs_a_logarithm() -> None:
    pairs = sorted((bytes(2) + sha(bytes((n,)))[2:], sha(b"v")) for n in range(200))
    assert bucket_hash_of(pairs) != EMPTY_BUCKET
    proof = build_state_proof(b"any", None, pairs, [])
    assert max(len(pair.aunts) for pair in proof.pairs) <= 8  # the logarithm of 200


def test_a_proof_of_what_the_bucket_does_not_hold_is_not_built(one_bucket: list[bytes]) -> None:
    pairs = [(sha(one_bucket[0]), sha(b"v"))]
    _, siblings = bucket_state(pairs)
    for key, value in ((one_bucket[0], b"w"), (one_bucket[0], None), (one_bucket[1], b"v")):
        with pytest.raises(ValueError, match="another value"):
            build_state_proof(key, value, pairs, siblings)


Case = tuple[pb.StateProof, bytes, bytes]


@pytest.fixture
def present(one_bucket: list[bytes]) -> Case:
    pairs = [(sha(key), sha(b"v")) for key in one_bucket]
    root, siblings = bucket_state(pairs)
    return build_state_proof(one_bucket[4], b"v", pairs, siblings), root, one_bucket[4]


@pytest.fixture
def absent(one_bucket: list[bytes]) -> Case:
    pairs = [(sha(key), sha(b"v")) for key in one_bucket if key != one_bucket[4]]
    root, siblings = bucket_state(pairs)
    return build_state_proof(one_bucket[4], None, pairs, siblings), root, one_bucket[4]


def _value(proof: pb.StateProof) -> None:
    proof.value = b"w"


def _no_value(proof: pb.StateProof) -> None:
    proof.ClearField("value")


def _count(proof: pb.StateProof) -> None:
    proof.pair_count += 1


def _no_count(proof: pb.StateProof) -> None:
    proof.pair_count = 0


def _position(proof: pb.StateProof) -> None:
    proof.pairs[0].position += 1


def _aunt(proof: pb.StateProof) -> None:
    proof.pairs[0].aunts[0] = bytes(32)


def _no_pairs(proof: pb.StateProof) -> None:
    del proof.pairs[:]


def _pair_twice(proof: pb.StateProof) -> None:
    proof.pairs.add().CopyFrom(proof.pairs[0])


def _pair_of_another_key(proof: pb.StateProof) -> None:
    proof.pairs[0].key_hash = bytes(32)


def _short_hash(proof: pb.StateProof) -> None:
    proof.pairs[0].value_hash = b""


def _sibling(proof: pb.StateProof) -> None:
    proof.siblings[15] = bytes(32)


def _short_path(proof: pb.StateProof) -> None:
    proof.siblings.pop()


def _one_neighbour(proof: pb.StateProof) -> None:
    del proof.pairs[1:]


CHANGES = [
    _no_count,
    _count,
    _position,
    _aunt,
    _no_pairs,
    _pair_twice,
    _pair_of_another_key,
    _short_hash,
    _sibling,
    _short_path,
]


@pytest.mark.parametrize("change", [*CHANGES, _value, _no_value])
def test_a_changed_proof_of_presence_is_rejected(
    present: Case, change: Callable[[pb.StateProof], None]
) -> None:
    proof, root, key = present
    assert verify_state_proof(proof, root, key) == b"v"
    change(proof)
    with pytest.raises(StateProofRejected):
        verify_state_proof(proof, root, key)


@pytest.mark.parametrize("change", [*CHANGES, _value, _one_neighbour])
def test_a_changed_proof_of_absence_is_rejected(
    absent: Case, change: Callable[[pb.StateProof], None]
) -> None:
    proof, root, key = absent
    assert verify_state_proof(proof, root, key) is None
    change(proof)
    with pytest.raises(StateProofRejected):
        verify_state_proof(proof, root, key)


def test_a_proof_is_of_its_own_key_and_state_only(present: Case) -> None:
    proof, root, key = present
    with pytest.raises(StateProofRejected, match="another key"):
        verify_state_proof(proof, root, b"other")
    with pytest.raises(StateProofRejected, match="another state"):
        verify_state_proof(proof, bytes(32), key)


def test_a_held_key_is_not_absent_behind_its_far_neighbours(one_bucket: list[bytes]) -> None:
    """Two pairs that frame the key, but with the key's own pair between them."""
    pairs = [(sha(key), sha(b"v")) for key in one_bucket]
    root, siblings = bucket_state(pairs)
    low = build_state_proof(one_bucket[3], b"v", pairs, siblings)
    high = build_state_proof(one_bucket[5], b"v", pairs, siblings)
    forged = pb.StateProof(
        key=one_bucket[4],
        pair_count=9,
        pairs=[low.pairs[0], high.pairs[0]],
        siblings=siblings,
    )
    with pytest.raises(StateProofRejected, match="no neighbours"):
        verify_state_proof(forged, root, one_bucket[4])


def test_a_held_key_is_not_absent_before_the_first_or_after_the_last(
    one_bucket: list[bytes],
) -> None:
    pairs = [(sha(key), sha(b"v")) for key in one_bucket]
    root, siblings = bucket_state(pairs)
    for shown, hidden in ((1, 0), (7, 8)):
        pair = build_state_proof(one_bucket[shown], b"v", pairs, siblings).pairs[0]
        key = one_bucket[hidden]
        forged = pb.StateProof(key=key, pair_count=9, pairs=[pair], siblings=siblings)
        with pytest.raises(StateProofRejected, match="neighbour is missing"):
            verify_state_proof(forged, root, key)


def test_a_neighbours_value_is_not_the_keys(one_bucket: list[bytes]) -> None:
    """The key is absent, its neighbour in the bucket has the value that is claimed."""
    pairs = [(sha(key), sha(b"v")) for key in one_bucket if key != one_bucket[4]]
    root, siblings = bucket_state(pairs)
    forged = build_state_proof(one_bucket[3], b"v", pairs, siblings)
    forged.key = one_bucket[4]
    with pytest.raises(StateProofRejected, match="pair is of another key"):
        verify_state_proof(forged, root, one_bucket[4])


def test_a_held_key_is_not_absent_beside_two_true_neighbours(one_bucket: list[bytes]) -> None:
    pairs = [(sha(key), sha(b"v")) for key in one_bucket]
    root, siblings = bucket_state(pairs)
    shown = [build_state_proof(one_bucket[at], b"v", pairs, siblings).pairs[0] for at in (5, 6)]
    forged = pb.StateProof(key=one_bucket[4], pair_count=9, pairs=shown, siblings=siblings)
    with pytest.raises(StateProofRejected, match="not between"):
        verify_state_proof(forged, root, one_bucket[4])


def test_a_pair_is_cut_into_two_hashes_in_one_way(absent: Case) -> None:
    proof, root, key = absent
    pair = proof.pairs[0]
    octets = pair.key_hash + pair.value_hash
    pair.key_hash, pair.value_hash = octets[:33], octets[33:]
    with pytest.raises(StateProofRejected, match="32 bytes"):
        verify_state_proof(proof, root, key)


def test_a_node_below_the_root_is_no_state(present: Case) -> None:
    proof, _, key = present
    place = bucket_of(sha(key))
    pairs_root = root_from_proof(
        pair_leaf(sha(key), sha(b"v")), proof.pairs[0].position, 9, proof.pairs[0].aunts
    )
    node = sha(b"\x02" + (9).to_bytes(4, "big") + pairs_root)
    for height in range(DEPTH - 1):
        beside = proof.siblings[height]
        node = sha(b"\x01" + (beside + node if place >> height & 1 else node + beside))
    proof.siblings.pop()
    with pytest.raises(StateProofRejected, match="16 hashes"):
        verify_state_proof(proof, node, key)


def test_an_empty_bucket_proves_absence_and_holds_nothing() -> None:
    state = state_of({b"key": b"value"})
    proof = state.prove(b"elsewhere")
    assert proof.pair_count == 0
    assert verify_state_proof(proof, state.root(), b"elsewhere") is None
    proof.value = b"something"
    with pytest.raises(StateProofRejected):
        verify_state_proof(proof, state.root(), b"elsewhere")


def test_every_flipped_bit_of_a_proof_is_rejected(present: Case, absent: Case) -> None:
    for proof, root, key in (present, absent):
        raw = exact_bytes(proof)
        for bit in range(0, 8 * len(raw), 5):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                forged = pb.StateProof.FromString(bytes(flipped))
                forged.DiscardUnknownFields()
            except Exception:
                continue
            with pytest.raises(StateProofRejected):
                verify_state_proof(forged, root, key)


def test_keys_spread_over_all_buckets() -> None:
    places = {bucket_of(key_hash(number.to_bytes(4, "big"))) for number in range(2_000)}
    assert max(places) < BUCKETS
    assert len(places) > 1_900  # 2,000 throws into 65,536 places meet about 30 times
