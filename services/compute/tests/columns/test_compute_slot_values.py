"""Which row's value is in which slot."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from cipherward_compute.column_keys import BLOCK_SLOTS, Slots
from cipherward_compute.datasets_form import NAME_BYTES
from cipherward_compute.enrolments import slot_values
from cipherward_compute.rows import PatientRows


def name(row: int) -> bytes:
    return hashlib.sha256(b"row %d" % row).digest()[:NAME_BYTES]


def chunk(rows: Sequence[int]) -> PatientRows:
    names = b"".join(map(name, rows))
    fingerprints = np.frombuffer(names, dtype=np.uint64)[::2]
    values = np.array([float(row) for row in rows])
    return PatientRows({"x": values, "y": -values}, fingerprints)


def test_each_enrolled_row_is_in_its_slot_and_strangers_in_none() -> None:
    places = {name(7): 2, name(3): 0, name(99): 3}
    found = slot_values(places, 4, ("x", "y"), [chunk(range(5)), chunk(range(5, 10))])
    np.testing.assert_array_equal(found["x"], [3.0, np.nan, 7.0, np.nan])
    np.testing.assert_array_equal(found["y"], [-3.0, np.nan, -7.0, np.nan])


def test_a_slot_with_two_rows_has_no_value() -> None:
    places = {name(1): 0, name(2): 0, name(3): 1}
    apart = slot_values(places, 2, ("x",), [chunk([1, 5]), chunk([2, 3])])
    together = slot_values(places, 2, ("x",), [chunk([1, 2, 3])])
    for found in (apart, together):
        np.testing.assert_array_equal(found["x"], [np.nan, 3.0])


def test_a_hospital_without_enrolled_patients_fills_its_slots_with_nothing() -> None:
    found = slot_values({}, 3, ("x",), [chunk(range(5))])
    assert np.isnan(found["x"]).all()


def test_slots_fill_blocks_one_after_the_other() -> None:
    pseudonyms = tuple(number.to_bytes(48, "big") for number in range(2 * BLOCK_SLOTS + 5))
    slots = Slots.of(b"k" * 16, pseudonyms)
    assert (slots.blocks, slots.widths) == (3, (BLOCK_SLOTS, BLOCK_SLOTS, 5))
    assert slots.digest != Slots.of(b"k" * 16, pseudonyms[1:]).digest
