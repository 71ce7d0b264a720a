"""Results as frames and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cipherward_client.research.forest_plots import marks
from cipherward_client.research.frames import to_frame, to_pandas, to_polars
from cipherward_client.research.plots import NotDrawn, can_draw, plot
from cipherward_client.research.survival_plots import at_risk
from cipherward_client.sdk.errors import explained
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.analyses.survival import SurvivalResult
from cipherward_studies.answer import Answer
from cipherward_studies.plan import Plan, Released
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns

DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "variables": [
        {"name": "bmi", "low": 10, "high": 60, "unit": "kg/m2"},
        {"name": "sex", "kind": "flag"},
        {"name": "time", "low": 0, "high": 4000, "unit": "d"},
        {"name": "event", "kind": "flag"},
        {"name": "progression", "low": 0, "high": 400},
    ],
    "analyses": [
        {"kind": "moments", "variables": ["bmi", "progression"]},
        {"kind": "linear_regression", "outcome": "progression", "predictors": ["bmi", "sex"]},
        {"kind": "logistic_regression", "outcome": "event", "predictors": ["bmi", "sex"]},
        {
            "kind": "survival",
            "time": "time",
            "event": "event",
            "ends": [250, 500, 1000, 2000, 4000],
            "group": "sex",
            "groups": [0, 1],
        },
        {"kind": "histogram", "variable": "bmi", "bins": 5, "quantiles": [0.5]},
        {"kind": "table", "rows": "sex", "columns": "event"},
        {
            "kind": "cox",
            "time": "time",
            "event": "event",
            "ends": [250, 500, 1000, 2000, 4000],
            "predictors": ["bmi", "sex"],
        },
    ],
}
KEY = b"k"
LEFT_OUT = (0,)  # nobody was excluded, which is not told
PNG = b"\x89PNG\r\n\x1a\n"


def patients(seed: int, number: int = 300) -> Columns:
    rng = np.random.default_rng(seed)
    bmi, sex = rng.uniform(15, 50, number), rng.integers(0, 2, number).astype(float)
    time = np.minimum(np.ceil(rng.exponential(900 * (1 + sex), number)), 4000)
    chance = 1 / (1 + np.exp((30 - bmi) / 10))
    return {
        "bmi": bmi,
        "sex": sex,
        "time": time,
        "event": (rng.random(number) < chance).astype(float),
        "progression": np.clip(3 * bmi + rng.normal(0, 20, number) + 50, 0, 400),
    }


def answered(document: dict[str, Any], left_out: tuple[int, ...] = LEFT_OUT) -> Answer:
    plan = Plan.of(Draft.from_document(document).spec(KEY))
    tables = [patients(seed) for seed in range(4)]
    rounds: list[Released] = []
    iterate: bytes | None = b""
    while iterate is not None:
        parts = [plan.local([rows], left_out, iterate) for rows in tables]
        rounds.append(Released(iterate, tuple(map(sum, zip(*parts, strict=True)))))
        iterate = plan.advance(rounds, left_out)
    return plan.finish(rounds, left_out)


@pytest.fixture(scope="module")
def answer() -> Answer:
    """The answer of one study with an analysis of each kind that is drawn, and others."""
    return answered(DOCUMENT)


def of(answer: Answer, kind: str) -> Any:
    return next(one for one in answer.results if one.kind == kind)


@pytest.mark.parametrize("make", [to_pandas, to_polars])
def test_every_result_is_a_frame_of_its_rows(answer: Answer, make: Callable[[Any], Any]) -> None:
    for one in answer.results:
        rows, frame = one.to_rows(), make(one)
        assert frame.shape == (len(rows), len(rows[0]))
        assert list(frame.columns) == list(rows[0])


def test_figures_are_the_same_in_both_frames(answer: Answer) -> None:
    found = of(answer, "linear_regression")
    ours = [one.estimate for one in found.coefficients]
    assert to_pandas(found)["estimate"].tolist() == ours
    assert to_polars(found)["estimate"].to_list() == ours


def test_another_engine_is_refused_by_name(answer: Answer) -> None:
    with pytest.raises(ValueError, match="pandas or polars"):
        to_frame(answer.results[0], "excel")  # type: ignore[arg-type]


@pytest.mark.parametrize(("package", "extra"), [("pandas", "frames"), ("polars", "frames")])
def test_a_missing_package_is_named_with_its_extra(
    package: str, extra: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"cipherward-client\[{extra}\]") as told:
        to_frame(answer.results[0], package)  # type: ignore[arg-type]
    assert explained(told.value).reason == "EXTRA_MISSING"


def test_pictures_without_matplotlib_name_the_extra(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == "matplotlib":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"cipherward-client\[plots\]"):
        plot(of(answer, "histogram"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["survival", "linear_regression", "logistic_regression", "cox", "histogram"]
)
def test_a_result_is_drawn_into_a_file(kind: str, answer: Answer, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    plot(of(answer, kind)).savefig(path)
    assert path.read_bytes().startswith(PNG)


@pytest.mark.slow
def test_a_survival_picture_has_each_group_s_curve_and_numbers_at_risk(answer: Answer) -> None:
    found = of(answer, "survival")
    assert isinstance(found, SurvivalResult)
    curves, table = plot(found).axes
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["sex = 0", "sex = 1"]
    assert any("log-rank p" in text.get_text() for text in curves.texts)
    shown = [text.get_text() for text in table.texts]
    for group in found.groups:
        assert group.curve is not None
        assert f"{round(group.curve.patients):,}" in shown
        steps = [line for line in curves.lines if line.get_drawstyle() == "steps-post"]
        assert any(
            list(line.get_ydata())[1:] == [point.survival for point in group.curve.points]
            for line in steps
        )


def test_who_is_at_risk_has_not_left_before(answer: Answer) -> None:
    found = of(answer, "survival")
    curve = found.groups[0].curve
    assert at_risk(curve, 0.0) == curve.patients
    for point in curve.points:
        assert at_risk(curve, point.time) == pytest.approx(point.at_risk)


def test_forests_show_predictors_and_never_the_intercept(answer: Answer) -> None:
    for kind, model in (
        ("linear_regression", LinearRegressionResult),
        ("logistic_regression", LogisticResult),
        ("cox", CoxResult),
    ):
        found = of(answer, kind)
        assert isinstance(found, model)
        drawn = marks(found)
        assert [mark.label for mark in drawn] == ["bmi, per kg/m2", "sex"]
        assert all(mark.lower < mark.value < mark.upper for mark in drawn)
    assert all(mark.value > 0 for mark in marks(of(answer, "cox")))  # ratios


@pytest.mark.slow
def test_bins_that_were_left_out_are_marked_and_not_drawn_as_empty() -> None:
    document = {
        **DOCUMENT,
        "variables": DOCUMENT["variables"][:1],
        "analyses": [DOCUMENT["analyses"][4]],
    }
    plan = Plan.of(Draft.from_document(document).spec(KEY))
    place = next(i for i, cell in enumerate(plan.cells) if cell.label.startswith("bmi 40"))
    found = of(answered(document, (0, place)), "histogram")
    [axes] = plot(found).axes
    [told] = axes.get_legend().get_texts()
    assert told.get_text() == f"left out: {found.hidden} patients together"
    assert found.hidden > 0


def test_what_has_no_picture_is_refused_by_name(answer: Answer) -> None:
    table = of(answer, "table")
    assert not can_draw(table)
    with pytest.raises(NotDrawn, match="survival"):
        plot(table)


def test_a_model_without_estimates_is_not_drawn_as_if_it_had() -> None:
    empty = LogisticResult("event", 0.95, "separated", 100, 3)
    with pytest.raises(NotDrawn, match="separated"):
        plot(empty)
