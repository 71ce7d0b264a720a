"""The text of a data key's columns, and what a column holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cipherward_chain.canonical import encode
from cipherward_studies.columns import (
    BLOCKS_MAX,
    VALUE_BITS,
    VARIABLES_MAX,
    Column,
    ColumnText,
    ColumnTextMalformed,
    StoredVariable,
    block_values,
    blocks_of,
    parse_column_text,
)
from cipherward_studies.errors import DraftInvalid

AGE: dict[str, Any] = {"name": "age", "low": 0, "high": 120, "unit": "a"}
BMI: dict[str, Any] = {"name": "bmi", "low": 10, "high": 80, "fraction_bits": 8}


def document(*variables: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"data_set": "cohort-1", "variables": list(variables or (AGE, BMI)), **changed}


def test_a_text_reads_as_what_was_written() -> None:
    text = ColumnText.from_document(document())
    assert parse_column_text(text.octets) == text
    assert text.names == ("age", "bmi")
    assert text.variable("bmi") == StoredVariable("bmi", 10.0, 80.0, "", 8)


def test_each_variable_has_a_flag_and_a_value_column_in_every_block() -> None:
    columns = ColumnText.from_document(document()).columns(2)
    assert columns[:3] == (
        Column("age", 0, "flag"),
        Column("age", 0, "value"),
        Column("bmi", 0, "flag"),
    )
    assert len(columns) == len(set(columns)) == 8


def test_all_flags_of_the_largest_text_fit_one_check() -> None:
    assert VARIABLES_MAX * BLOCKS_MAX == 64


@pytest.mark.parametrize(
    ("changed", "at"),
    [
        (document({**AGE, "high": 0}), "/variables/0/high"),
        (document({**AGE, "fraction_bits": 14}), "/variables/0/fraction_bits"),
        (document({**AGE, "low": -(1 << VALUE_BITS)}), "/variables/0/fraction_bits"),
        (document(AGE, AGE), "/variables"),
        (document(data_set="cohort-0"), "/data_set"),
        (document(*[{**AGE, "name": f"v{n}"} for n in range(VARIABLES_MAX + 1)]), "/variables"),
        (document(members=["hospital-a"]), "/members"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(changed: dict[str, Any], at: str) -> None:
    with pytest.raises(DraftInvalid) as refused:
        ColumnText.from_document(changed)
    assert at in {fault.pointer for fault in refused.value.faults}


def test_a_text_has_one_form_only() -> None:
    loose = {"version": 1, **document({**AGE, "low": "0.0", "fraction_bits": 0})}
    for octets in (encode(loose), b"", b"\xa0", encode({**loose, "version": 2})):
        with pytest.raises(ColumnTextMalformed):
            parse_column_text(octets)


def test_missing_and_implausible_values_are_not_there() -> None:
    values = np.array([10.0, 80.0, 80.5, math.nan, math.inf, 24.30078125])
    steps, there = StoredVariable("bmi", 10, 80, "", 8).steps(values)
    assert there.tolist() == [True, True, False, False, False, True]
    assert steps.tolist() == [2560, 20480, 0, 0, 0, 6221]


def test_blocks_cover_every_slot_once() -> None:
    values = np.arange(10, dtype=np.int64)
    blocks = [block_values(values, block, 4) for block in range(blocks_of(10, 4))]
    assert [*blocks[0], *blocks[1], *blocks[2]] == list(range(10))
    assert blocks_of(8, 4) == 2
