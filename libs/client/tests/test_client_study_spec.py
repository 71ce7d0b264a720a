"""A study's file: what is read, and what is refused with the entry's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cipherward_client.cli.faults import SpecMalformed
from cipherward_client.cli.study_spec import read_spec
from cipherward_client.sdk.permits import PermitRequest
from cipherward_client.sdk.study_requests import kept_bytes, kept_draft, rounds_of

YAML = """
data_set: cohort-1
variables:
  - {name: bmi, low: 5, high: 99.50, unit: kg/m2}
  - {name: progression, low: 0, high: 1000}
analyses:
  - {kind: moments, variables: [bmi, progression], statistics: [mean]}
  - {kind: linear_regression, outcome: progression, predictors: [bmi]}
minimum: 25
"""
DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "bmi", "low": 5, "high": 99.5, "unit": "kg/m2"},
        {"name": "progression", "low": 0, "high": 1000},
    ],
    "analyses": [
        {"kind": "moments", "variables": ["bmi", "progression"], "statistics": ["mean"]},
        {"kind": "linear_regression", "outcome": "progression", "predictors": ["bmi"]},
    ],
    "minimum": 25,
}


def test_yaml_and_json_ask_for_the_same_study(tmp_path: Path) -> None:
    as_yaml, as_json = tmp_path / "study.yaml", tmp_path / "study.json"
    as_yaml.write_text(YAML)
    as_json.write_text(json.dumps(DOCUMENT))
    found = read_spec(as_yaml)
    assert found == read_spec(as_json)
    assert [(v.name, v.low, v.high, v.unit) for v in found.variables] == [
        ("bmi", 5.0, 99.5, "kg/m2"),
        ("progression", 0.0, 1000.0, ""),
    ]
    assert found.minimum == 25
    assert found.outputs == ("count", "linear_regression", "mean")


def test_a_study_comes_back_from_the_wallet_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(YAML)
    draft = read_spec(path)
    assert kept_draft(kept_bytes(draft)) == draft


def test_the_least_permit_allows_the_counts_and_every_round(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    variables = [DOCUMENT["variables"][0], {"name": "ill", "kind": "flag"}]
    analysis = {"kind": "logistic_regression", "outcome": "ill", "predictors": ["bmi"]}
    asked = {**DOCUMENT, "variables": variables, "analyses": [analysis], "rounds_max": 7}
    path.write_text(json.dumps(asked))
    draft = read_spec(path)
    permit = PermitRequest.for_study(draft)
    assert rounds_of(draft) == 7
    assert permit.releases_max == 8
    assert permit.outputs == ("count", "logistic_regression")
    assert permit.minimum == 25


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"variables": "bmi"}, "/variables"),
        ({"variables": ["bmi"]}, "/variables/0"),
        ({"variables": [{"name": "bmi", "low": 5}]}, "high"),
        ({"variables": [{"name": "bmi", "low": 5, "high": 9, "colour": "red"}]}, "colour"),
        ({"variables": [{"name": "bmi", "low": [5], "high": 9}]}, "/variables/0/low"),
        ({"analyses": "mean"}, "/analyses"),
        ({"analyses": [{"kind": "median", "variables": ["bmi"]}]}, "/analyses/0/kind"),
        ({"minimum": "many"}, "/minimum"),
        ({"minimum": 9}, "/minimum"),
        ({"minium": 10}, "minium"),
        ({"data_set": ["cohort-1"]}, "/data_set"),
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
        ("study.yaml", "\udcff"),
    ],
)
def test_what_is_no_study_is_refused(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(SpecMalformed) as refused:
        read_spec(path)
    assert "\n" not in str(refused.value)
