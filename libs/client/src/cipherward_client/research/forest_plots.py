"""Forest plots: each coefficient of a model with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cipherward_client.research.extras import require
from cipherward_client.research.palette import WIDTH_INCHES, colour
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analyses.linear_regression import INTERCEPT, LinearRegressionResult
from cipherward_studies.analyses.logistic_result import LogisticResult

ROW_INCHES, FRAME_INCHES = 0.38, 1.3
NARROW = 8.0  # ratios within this factor of each other: evenly spaced ticks say more than 1, 2, 5

Model = LinearRegressionResult | LogisticResult | CoxResult


@dataclass(frozen=True, slots=True)
class Mark:
    """One line of a forest: a point with its interval."""

    label: str
    value: float
    lower: float
    upper: float


def draw_coefficients(result: Model, figure: Any) -> None:
    """Draw the predictors of a model: slopes, or ratios of odds or hazards on a log scale."""
    found = marks(result)
    figure.set_size_inches(WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * len(found))
    axes = figure.subplots()
    ratios = not isinstance(result, LinearRegressionResult)
    if ratios:
        axes.set_xscale("log")
        _plain_numbers(axes, found)
    axes.axvline(1.0 if ratios else 0.0, color="0.6", linewidth=1.0, zorder=0)
    for place, mark in enumerate(found):
        axes.plot([mark.lower, mark.upper], [place, place], color=colour(0), linewidth=2.0)
        axes.plot([mark.value], [place], marker="s", markersize=7, color=colour(0))
        text = f"{mark.value:.3g} ({mark.lower:.3g} to {mark.upper:.3g})"
        axes.annotate(
            text,
            xy=(1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            annotation_clip=False,
        )
    axes.set_yticks(range(len(found)), [mark.label for mark in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"{_measure(result)}, {result.confidence:.0%} intervals")


def marks(result: Model) -> list[Mark]:
    """Return what is drawn of a model: all but the intercept, and what is no finite ratio."""
    if isinstance(result, LinearRegressionResult):
        return [
            Mark(_label(one.variable, one.unit), one.estimate, one.lower, one.upper)
            for one in result.coefficients
            if one.variable != INTERCEPT
        ]
    return [
        Mark(_label(one.variable, one.unit), one.ratio, one.ratio_lower, one.ratio_upper)
        for one in result.coefficients
        if one.variable != INTERCEPT
        and one.ratio is not None
        and one.ratio_lower is not None
        and one.ratio_upper is not None
    ]


def _label(variable: str, unit: str) -> str:
    return f"{variable}, per {unit}" if unit else variable


def _measure(result: Model) -> str:
    if isinstance(result, LinearRegressionResult):
        return f"effect on {result.variable}"
    if isinstance(result, LogisticResult):
        return f"odds ratio of {result.variable}"
    return f"hazard ratio of {result.event}"


def _plain_numbers(axes: Any, found: Sequence[Mark]) -> None:
    """Write ratios as 0.5 and 2, not as powers of ten, at a few round places."""
    low = min((mark.lower for mark in found), default=1.0)
    high = max((mark.upper for mark in found), default=1.0)
    if high < NARROW * low:
        ticks = [
            float(tick)
            for tick in require("matplotlib.ticker").MaxNLocator(5).tick_values(low, high)
        ]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        ticks = [step * 10.0**decade for decade in decades for step in (1, 2, 5)]
    inside = [tick for tick in ticks if low / 1.2 <= tick <= high * 1.2] or [1.0]
    step = max(1, len(inside) // 6)
    axes.set_xticks(inside[::step], [f"{tick:g}" for tick in inside[::step]])
    axes.set_xticks([], minor=True)
