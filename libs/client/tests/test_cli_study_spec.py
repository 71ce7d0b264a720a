"""A study's file: what is read, and what is refused with the entry's name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from cipherward_client.cli.faults import SpecMalformed, TableMalformed
from cipherward_client.cli.study_spec import read_spec
from cipherward_client.cli.study_tables import read_table

YAML = """
data_set: cohort-1
variables:
  - {name: bmi, low: 5, high: 99.50, unit: kg/m2}
  - {name: progression, low: 0, high: 1000}
outcome: progression
statistics: [count, mean, linear_regression]
minimum: 25
"""
DOCUMENT = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "bmi", "low": 5, "high": 99.5, "unit": "kg/m2"},
        {"name": "progression", "low": 0, "high": 1000},
    ],
    "outcome": "progression",
    "statistics": ["count", "mean", "linear_regression"],
    "minimum": 25,
}


def test_numbers_stay_the_decimals_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(YAML)
    request = read_spec(path)
    assert [(v.name, v.low, v.high, v.unit) for v in request.variables] == [
        ("bmi", "5", "99.50", "kg/m2"),
        ("progression", "0", "1000", ""),
    ]
    assert (request.outcome, request.minimum) == ("progression", 25)
    assert request.plan().sum_slots == 1 + 2 + 3


def test_json_asks_for_the_same_study(tmp_path: Path) -> None:
    as_yaml, as_json = tmp_path / "study.yaml", tmp_path / "study.json"
    as_yaml.write_text(YAML.replace("99.50", "99.5"))
    as_json.write_text(json.dumps(DOCUMENT))
    assert read_spec(as_yaml) == read_spec(as_json)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"variables": "bmi"}, "variables"),
        ({"variables": ["bmi"]}, "a variable"),
        ({"variables": [{"name": "bmi", "low": 5}]}, "high"),
        ({"variables": [{"name": "bmi", "low": 5, "high": 9, "colour": "red"}]}, "colour"),
        ({"variables": [{"name": "bmi", "low": [5], "high": 9}]}, "low"),
        ({"statistics": "mean"}, "statistics"),
        ({"statistics": [["mean"]]}, "statistics"),
        ({"minimum": "many"}, "minimum"),
        ({"minimum": -1}, "minimum"),
        ({"minimum": 10**12}, "minimum"),
        ({"minium": 10}, "minium"),
        ({"data_set": ["cohort-1"]}, "data_set"),
    ],
)
def test_an_entry_out_of_form_is_named(
    change: dict[str, object], named: str, tmp_path: Path
) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({**DOCUMENT, **change}))
    with pytest.raises(SpecMalformed, match=named):
        read_spec(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("study.json", "{"),
        ("study.json", "[]"),
        ("study.json", "{}"),
        ("study.yaml", "a: [1"),
        ("study.yaml", "!!python/object/apply:os.getcwd []"),
        ("study.yaml", ""),
    ],
)
def test_what_is_no_study_is_refused(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SpecMalformed) as refused:
        read_spec(path)
    assert "\n" not in str(refused.value)


def test_an_empty_field_of_a_table_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age, bmi\n59,32.1\n48,\n")
    table = read_table(path)
    assert table.names == ["age", "bmi"]
    assert table.rows[0] == [59.0, 32.1]
    assert math.isnan(table.rows[1][1])


def test_a_first_column_of_references_names_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"reference,age\n{'0a' * 16},59\n{'0b' * 16},\n")
    table = read_table(path)
    assert (table.names, len(table.rows)) == (["age"], 2)
    assert table.references == [b"\x0a" * 16, b"\x0b" * 16]


@pytest.mark.parametrize(
    "text",
    ["", "age\n", "age,bmi\n59\n", "age\nold\n", "age\n\xff\n", "reference,age\nzz,59\n"],
)
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TableMalformed):
        read_table(path)
