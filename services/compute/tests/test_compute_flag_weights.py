"""Nobody knows the weights of a check of flags before everybody has committed to its columns."""

from __future__ import annotations

import hashlib

from cipherward_compute.column_keys import DataKey, Slots
from cipherward_compute.columns import Layout
from cipherward_studies.columns import ColumnText

STUDY, SEED = bytes(16), bytes(32)
COMMITTED = {name: hashlib.sha256(name.encode()).digest() for name in ("hospital-a", "hospital-b")}


def layout() -> Layout:
    variables = [{"name": name, "low": 0, "high": 9} for name in ("age", "bmi", "pulse")]
    text = ColumnText.from_document({"data_set": "cohort-1", "variables": variables})
    key = DataKey(STUDY, text.data_set, 10, text.digest, text, 1)
    return Layout(key, Slots.of(STUDY, (bytes(48),)))


def test_a_weight_of_every_flag_is_within_32_bits_and_not_zero() -> None:
    weights = layout().weights(SEED, COMMITTED, "hospital-a")
    assert len(set(weights)) == len(layout().flags) == 3
    assert all(1 <= weight < 1 << 32 for weight in weights)


def test_the_weights_are_others_for_every_commitment_seed_and_member() -> None:
    first = layout().weights(SEED, COMMITTED, "hospital-a")
    for name in COMMITTED:  # another member's commitment counts as much as the own
        changed = {**COMMITTED, name: hashlib.sha256(b"others").digest()}
        assert not set(first) & set(layout().weights(SEED, changed, "hospital-a"))
    assert not set(first) & set(layout().weights(bytes([1]) * 32, COMMITTED, "hospital-a"))
    assert not set(first) & set(layout().weights(SEED, COMMITTED, "hospital-b"))


def test_everybody_computes_the_same_weights_whatever_the_order_of_the_commitments() -> None:
    turned = dict(reversed(COMMITTED.items()))
    assert layout().weights(SEED, turned, "hospital-a") == layout().weights(
        SEED, COMMITTED, "hospital-a"
    )
