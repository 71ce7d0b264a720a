"""The bundled tables are the published ones, number by number."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path
from typing import Any, cast

import lifelines
import numpy as np
import pytest
from lifelines import datasets as survival
from sklearn import datasets as learn

from cipherward_client.demo.tables import (
    DIGESTS,
    PACKAGE,
    TableDamaged,
    dealt,
    load_table,
    read_table,
    rows_of,
)

# Each source's column by ours; a word of the source is a number here.
LUNG = {
    "time": "time",
    "event": "status",
    "age": "age",
    "sex": "sex",
    "ecog": "ph.ecog",
    "karnofsky": "ph.karno",
    "karnofsky_self": "pat.karno",
    "meal_calories": "meal.cal",
    "weight_loss": "wt.loss",
}
GBSG2 = {
    "hormone": "horTh",
    "age": "age",
    "post_menopausal": "menostat",
    "tumour_size": "tsize",
    "grade": "tgrade",
    "nodes": "pnodes",
    "progesterone": "progrec",
    "estrogen": "estrec",
    "time": "time",
    "event": "cens",
}
ACTG175 = {
    "days": "days",
    "event": "cens",
    "treated": "treat",
    "arm": "arms",
    "age": "age",
    "weight": "wtkg",
    "male": "gender",
    "karnofsky": "karnof",
    "earlier_days": "preanti",
    "symptoms": "symptom",
    "cd4": "cd40",
    "cd8": "cd80",
}
WORDS = {"yes": 1, "no": 0, "Post": 1, "Pre": 0, "I": 1, "II": 2, "III": 3}


def same(name: str, source: dict[str, Any]) -> None:
    """Hold a table against its source: the same columns in order, the same numbers."""
    table = load_table(name)
    assert list(table) == list(source)
    for column, values in table.items():
        np.testing.assert_array_equal(values, np.asarray(source[column], dtype=np.float64))


@pytest.mark.slow
def test_diabetes_is_scikit_learns() -> None:
    source = cast(Any, learn).load_diabetes(scaled=False)
    columns = dict(zip(source.feature_names, source.data.T, strict=True))
    same("diabetes", columns | {"progression": source.target})


@pytest.mark.slow
def test_breast_cancer_is_scikit_learns() -> None:
    source = cast(Any, learn).load_breast_cancer()
    assert list(source.target_names) == ["malignant", "benign"]
    names = [name.removeprefix("mean ").replace(" ", "_") for name in source.feature_names[:10]]
    columns = dict(zip(names, source.data[:, :10].T, strict=True))
    same("breast_cancer", {"malignant": source.target == 0} | columns)


@pytest.mark.slow
def test_lung_is_lifelines() -> None:
    source = cast(Any, survival).load_lung()
    same("lung", {ours: source[theirs] for ours, theirs in LUNG.items()})


@pytest.mark.slow
def test_gbsg2_is_lifelines() -> None:
    source = cast(Any, survival).load_gbsg2()
    columns = {ours: source[theirs] for ours, theirs in GBSG2.items()}
    numbers = {
        name: [WORDS.get(value, value) for value in column] for name, column in columns.items()
    }
    same("gbsg2", numbers)


@pytest.mark.slow
def test_actg175_is_lifelines() -> None:
    file = Path(cast(Any, lifelines).__file__).parent / "datasets" / "ACTG175.csv"
    with file.open(encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    same(
        "actg175",
        {ours: [float(row[theirs]) for row in rows] for ours, theirs in ACTG175.items()},
    )


@pytest.mark.parametrize("name", DIGESTS)
def test_a_table_with_one_changed_byte_is_refused(name: str) -> None:
    octets = bytearray(resources.files(PACKAGE).joinpath(f"{name}.csv").read_bytes())
    octets[-2] ^= 1
    with pytest.raises(TableDamaged):
        read_table(name, bytes(octets))


def test_every_patient_is_dealt_to_exactly_one_hospital() -> None:
    table = load_table("gbsg2")
    parts = dealt(table, ("time", "nodes"), ["a", "b", "c", "d"])
    rows = sorted(row for part in parts.values() for row in rows_of(part).tolist())
    assert rows == sorted(rows_of({name: table[name] for name in ("time", "nodes")}).tolist())
    assert {len(part["time"]) for part in parts.values()} == {171, 172}
