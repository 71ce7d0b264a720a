"""The authenticated tree against the rules that verifiers use, on random histories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cipherward_chain.state_proof import verify_state_proof
from cipherward_chain.tree_hash import (
    EMPTY_STATE,
    bucket_hash_of,
    bucket_of,
    key_hash,
    tree_root,
    value_hash,
)
from cipherward_contract.tree import StateTree

# Few keys, so that histories overwrite and delete; long ones would only hash more.
KEYS = st.binary(min_size=1, max_size=1)
BLOCKS = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=20), max_size=6)


def rebuilt(pairs: dict[bytes, bytes]) -> bytes:
    """Return the root by the verifiers' own rules, from nothing."""
    buckets: dict[int, list[tuple[bytes, bytes]]] = {}
    for hashed, value in sorted((key_hash(k), value_hash(v)) for k, v in pairs.items()):
        buckets.setdefault(bucket_of(hashed), []).append((hashed, value))
    return tree_root({number: bucket_hash_of(found) for number, found in buckets.items()})


def keys_of_one_bucket(count: int) -> list[bytes]:
    """Return keys that an attacker aims at the bucket of the first of them."""
    wanted = bucket_of(key_hash(b"victim"))
    found = [b"victim"]
    number = 0
    while len(found) < count:
        key = number.to_bytes(4, "big")
        if bucket_of(key_hash(key)) == wanted:
            found.append(key)
        number += 1
    return found


def test_an_empty_tree_has_the_root_of_the_empty_state() -> None:
    assert StateTree().root == EMPTY_STATE


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(BLOCKS)
def test_the_root_after_any_history_is_that_of_the_pairs_alone(
    blocks: list[dict[bytes, bytes | None]],
) -> None:
    tree, pairs = StateTree(), dict[bytes, bytes]()
    for writes in blocks:
        before = tree.root
        change = tree.apply(writes.items())
        assert tree.root == before  # until it is adopted
        tree.adopt(change)
        for key, value in writes.items():
            if value is None:
                pairs.pop(key, None)
            else:
                pairs[key] = value
        assert change.root == tree.root == rebuilt(pairs)
    for key in (bytes([number]) for number in range(0, 256, 17)):
        proof = tree.prove(key, pairs.get(key))
        assert verify_state_proof(proof, tree.root, key) == pairs.get(key)


def test_a_change_is_proven_before_it_is_adopted() -> None:
    tree = StateTree([(b"a", b"1"), (b"b", b"2")])
    change = tree.apply([(b"a", None), (b"c", b"3")])
    for key, value in ((b"a", None), (b"b", b"2"), (b"c", b"3")):
        proof = tree.prove(key, value, change)
        assert verify_state_proof(proof, change.root, key) == value
    assert verify_state_proof(tree.prove(b"a", b"1"), tree.root, b"a") == b"1"


@pytest.mark.slow
def test_a_bucket_that_somebody_filled_still_proves_its_pairs() -> None:
    keys = keys_of_one_bucket(6)
    tree = StateTree((key, b"value") for key in keys[:-1])
    for key in keys[:-1]:
        proof = tree.prove(key, b"value")
        assert proof.pair_count == 5
        assert verify_state_proof(proof, tree.root, key) == b"value"
    absent = tree.prove(keys[-1], None)
    assert verify_state_proof(absent, tree.root, keys[-1]) is None


def test_deleting_everything_leads_back_to_the_empty_state() -> None:
    keys = keys_of_one_bucket(3)
    tree = StateTree((key, b"value") for key in keys)
    tree.adopt(tree.apply((key, None) for key in keys))
    assert tree.root == EMPTY_STATE
