"""Kaplan-Meier curves with their bands, and the numbers at risk below."""

from __future__ import annotations

import itertools
from typing import Any

from cipherward_client.research.palette import BAND_ALPHA, WIDTH_INCHES, colour
from cipherward_studies.analyses.survival import GroupSurvival, SurvivalResult
from cipherward_studies.analyses.survival_curves import Curve

CURVE_INCHES, ROW_INCHES = 4.2, 0.28
TICKS = 6  # columns of the table: more would touch each other


def draw_survival(result: SurvivalResult, figure: Any) -> None:
    """Draw a result on an empty figure."""
    shown = [(one, one.curve) for one in result.groups if one.curve is not None]
    table_inches = ROW_INCHES * (len(shown) + 1.5)
    figure.set_size_inches(WIDTH_INCHES, CURVE_INCHES + table_inches)
    curves, table = figure.subplots(2, 1, sharex=True, height_ratios=(CURVE_INCHES, table_inches))
    for place, (group, curve) in enumerate(shown):
        _draw_curve(curves, curve, colour(place), _label(result, group))
    curves.set_ylim(0.0, 1.02)
    curves.set_xlim(left=0.0)
    curves.set_ylabel(f"survival, with {result.confidence:.0%} bands")
    curves.spines[["top", "right"]].set_visible(False)
    if result.group:
        curves.legend(frameon=False, loc="lower left")
    if result.log_rank is not None:
        text = f"log-rank p = {result.log_rank.p_value:.3g}"
        curves.text(0.98, 0.96, text, transform=curves.transAxes, ha="right", va="top")
    _draw_table(table, result, shown)


def _draw_curve(axes: Any, curve: Curve, shade: str, label: str) -> None:
    times = [0.0, *(point.time for point in curve.points)]
    survival = [1.0, *(point.survival for point in curve.points)]
    # Where the band does not exist (at 1 before an event, at 0) it is the curve itself.
    lower = [1.0, *(_or(point.lower, point.survival) for point in curve.points)]
    upper = [1.0, *(_or(point.upper, point.survival) for point in curve.points)]
    axes.step(times, survival, where="post", color=shade, label=label)
    axes.fill_between(times, lower, upper, step="post", color=shade, alpha=BAND_ALPHA, linewidth=0)
    left = [point for point in curve.points if point.censored > 0]
    axes.plot(
        [point.time for point in left],
        [point.survival for point in left],
        linestyle="none",
        marker="|",
        markersize=6,
        color=shade,
    )


def _draw_table(
    axes: Any, result: SurvivalResult, shown: list[tuple[GroupSurvival, Curve]]
) -> None:
    last = max(curve.points[-1].time for _, curve in shown if curve.points)
    ticks = [last * place / (TICKS - 1) for place in range(TICKS)]
    axes.set_ylim(len(shown) - 0.3, -1.0)
    axes.set_yticks(range(len(shown)), [_label(result, group) for group, _ in shown])
    axes.set_xticks(ticks, [f"{tick:g}" for tick in _rounded(ticks)])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.text(0.0, -0.8, "at risk", ha="left", va="center", fontsize="small")
    for place, (_, curve) in enumerate(shown):
        for tick in ticks:
            number = f"{round(at_risk(curve, tick)):,}"
            edge = "left" if tick == 0.0 else "right" if tick == last else "center"
            axes.text(tick, place, number, ha=edge, va="center", color=colour(place))
    axes.set_xlabel(result.time)


def at_risk(curve: Curve, time: float) -> float:
    """Return how many patients had not left before a time."""
    before = [point.events + point.censored for point in curve.points if point.time < time]
    return curve.patients - sum(before)


def _rounded(ticks: list[float]) -> list[float]:
    step = min((b - a for a, b in itertools.pairwise(ticks)), default=1.0)
    digits = 0 if step >= 10 else 2
    return [round(tick, digits) for tick in ticks]


def _label(result: SurvivalResult, group: GroupSurvival) -> str:
    return "all" if group.group is None else f"{result.group} = {group.group:g}"


def _or(value: float | None, other: float) -> float:
    return other if value is None else value
