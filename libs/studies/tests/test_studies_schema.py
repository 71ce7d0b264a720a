"""The published schema: current, and of one opinion with the reading."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cipherward_studies.analyses.registry import ANALYSES
from cipherward_studies.errors import DraftInvalid
from cipherward_studies.schema import document_schema
from cipherward_studies.spec import Draft
from tools.study_schema import TARGET, document

VALIDATOR: Any = Draft202012Validator(document_schema())
DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "age", "low": 18, "high": 100},
        {"name": "bmi", "low": "10.50", "high": 60, "unit": "kg/m2", "outside": "clip"},
        {"name": "smoker", "kind": "flag"},
    ],
    "cohort": [{"variable": "age", "op": "between", "values": [40, 80]}],
    "analyses": [
        {"kind": "moments", "variables": ["bmi"], "statistics": ["mean"]},
        {"kind": "histogram", "variable": "bmi", "edges": [20, 25, 30]},
        {"kind": "table", "rows": "smoker", "columns": "bmi", "column_cuts": [25, 30]},
        {"kind": "linear_regression", "outcome": "bmi", "predictors": ["age", "smoker"]},
    ],
    "minimum": 20,
}


def test_the_published_schema_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == document(), "run python tools/study_schema.py"


def test_the_schema_is_one_and_knows_every_kind_of_analysis() -> None:
    Draft202012Validator.check_schema(document_schema())
    kinds = document_schema()["properties"]["analyses"]["items"]["oneOf"]
    assert [one["properties"]["kind"]["const"] for one in kinds] == list(ANALYSES)


def test_what_is_read_is_valid_and_so_is_what_is_kept() -> None:
    assert VALIDATOR.is_valid(DOCUMENT)
    kept = Draft.from_document(DOCUMENT).to_document()
    assert VALIDATOR.is_valid(json.loads(json.dumps(kept)))


Change = Callable[[dict[str, Any]], object]

CHANGES: list[Change] = [
    lambda d: d.pop("variables"),
    lambda d: d.update(more=1),
    lambda d: d.update(data_set="diabetes"),
    lambda d: d.update(minimum=9),
    lambda d: d.update(minimum="nine"),
    lambda d: d["variables"][0].update(low="1e3"),
    lambda d: d["variables"][0].update(name="Age"),
    lambda d: d["variables"][0].update(missing="zero"),
    lambda d: d["cohort"][0].update(op="~"),
    lambda d: d["cohort"][0].update(values=[]),
    lambda d: d["analyses"][0].update(kind="median"),
    lambda d: d["analyses"][0].update(statistics=["mean", "mean"]),
    lambda d: d["analyses"][1].update(bins=1001, edges=[]),
    lambda d: d["analyses"][2].update(correction="maybe"),
    lambda d: d["analyses"][3].pop("outcome"),
    lambda d: d.update(analyses={}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_schema_and_reading_refuse_the_same(change: Change) -> None:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(DraftInvalid):
        Draft.from_document(document)
