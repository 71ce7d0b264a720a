"""RFC 6962's tree: against its recursive definition, and against forged paths."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward_chain.merkle import (
    EMPTY_ROOT,
    ProofRejected,
    leaf_hash,
    prove,
    root,
    root_from_proof,
    smallest_total,
)

ITEMS = st.lists(st.binary(max_size=5), min_size=1, max_size=70)


def defined_root(items: Sequence[bytes]) -> bytes:
    """The definition in RFC 6962, 2.1, word by word."""
    if not items:
        return hashlib.sha256().digest()
    if len(items) == 1:
        return hashlib.sha256(b"\x00" + items[0]).digest()
    k = 1 << (len(items) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + defined_root(items[:k]) + defined_root(items[k:])).digest()


def defined_path(items: Sequence[bytes], index: int) -> list[bytes]:
    """The definition in RFC 6962, 2.1.1, word by word."""
    if len(items) == 1:
        return []
    k = 1 << (len(items) - 1).bit_length() - 1
    if index < k:
        return [*defined_path(items[:k], index), defined_root(items[k:])]
    return [*defined_path(items[k:], index - k), defined_root(items[:k])]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root([]) == EMPTY_ROOT == hashlib.sha256().digest()


@given(ITEMS)
def test_root_and_paths_are_as_defined(items: list[bytes]) -> None:
    assert root(items) == defined_root(items)
    for index in range(len(items)):
        assert list(prove(items, index)) == defined_path(items, index)


@given(ITEMS, st.data())
def test_a_path_leads_to_the_root(items: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(items) - 1))
    leaf, path = leaf_hash(items[index]), prove(items, index)
    assert root_from_proof(leaf, index, len(items), path) == root(items)


@given(ITEMS, st.data())
def test_another_item_place_or_path_does_not_lead_to_the_root(
    items: list[bytes], data: st.DataObject
) -> None:
    total = len(items)
    index = data.draw(st.integers(0, total - 1))
    leaf, path = leaf_hash(items[index]), list(prove(items, index))
    assert root_from_proof(leaf_hash(b"no item"), index, total, path) != root(items)
    other = data.draw(st.integers(0, total).filter(lambda place: place != index))
    if not path or other == total:
        with pytest.raises(ProofRejected):
            root_from_proof(leaf, other, total, path)
    else:
        path[data.draw(st.integers(0, len(path) - 1))] = bytes(32)
        assert root_from_proof(leaf, index, total, path) != root(items)


@given(st.integers(1, 200), st.data())
def test_a_path_of_the_wrong_length_is_refused(total: int, data: st.DataObject) -> None:
    items = [bytes((n,)) for n in range(total)]
    index = data.draw(st.integers(0, total - 1))
    leaf, path = leaf_hash(items[index]), list(prove(items, index))
    with pytest.raises(ProofRejected):
        root_from_proof(leaf, index, total, [*path, bytes(32)])
    if path:
        with pytest.raises(ProofRejected):
            root_from_proof(leaf, index, total, path[:-1])


@pytest.mark.parametrize(("index", "total"), [(-1, 3), (3, 3), (0, 0), (0, (1 << 32) + 1)])
def test_a_place_outside_the_tree_is_refused(index: int, total: int) -> None:
    with pytest.raises(ProofRejected):
        root_from_proof(bytes(32), index, total, [])


def test_a_short_hash_in_a_path_is_refused() -> None:
    with pytest.raises(ProofRejected):
        root_from_proof(bytes(32), 0, 2, [bytes(31)])


def test_a_place_that_no_item_has_cannot_be_proven() -> None:
    with pytest.raises(IndexError):
        prove([b"a"], 1)


def shape(index: int, total: int) -> list[bool]:
    """Whether each hash of the path stands left, found top down as RFC 6962 splits a tree."""
    path: list[bool] = []
    low, high = 0, total
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        path.append(index >= middle)
        low, high = (middle, high) if index >= middle else (low, middle)
    return path[::-1]


def test_the_smallest_total_is_the_least_tree_with_the_same_path() -> None:
    for total in range(1, 40):
        for index in range(total):
            same = shape(index, total)
            least = next(n for n in range(index + 1, total + 1) if shape(index, n) == same)
            assert smallest_total(index, total) == least


def test_ten_thousand_leaves_take_no_recursion_and_little_time() -> None:
    items = [n.to_bytes(4, "big") for n in range(10_000)]
    started = time.process_time()
    path = prove(items, 9_999)
    assert root_from_proof(leaf_hash(items[9_999]), 9_999, 10_000, path) == root(items)
    assert time.process_time() - started < 1.0  # measured 0.02 s; a quadratic tree takes minutes
