"""Histograms: patients by bins; what was left out is marked, not drawn as nothing."""

from __future__ import annotations

from typing import Any

from cipherward_client.research.palette import WIDTH_INCHES, colour
from cipherward_studies.analyses.histogram import HistogramResult

HEIGHT_INCHES = 4.2
HATCHED_SHARE = 0.04  # height of the mark of a bin that was left out, of the highest bar


def draw_histogram(result: HistogramResult, figure: Any) -> None:
    """Draw a result on an empty figure."""
    figure.set_size_inches(WIDTH_INCHES, HEIGHT_INCHES)
    axes = figure.subplots()
    told = [one for one in result.bins if one.patients is not None]
    hidden = [one for one in result.bins if one.patients is None]
    axes.bar(
        [one.low for one in told],
        [one.patients for one in told],
        width=[one.high - one.low for one in told],
        align="edge",
        color=colour(0),
        edgecolor="white",
    )
    if hidden:
        highest = max((one.patients or 0 for one in told), default=0) or 1
        axes.bar(
            [one.low for one in hidden],
            [HATCHED_SHARE * highest] * len(hidden),
            width=[one.high - one.low for one in hidden],
            align="edge",
            color="none",
            edgecolor="0.5",
            hatch="////",
            label=f"left out: {result.hidden} patients together",
        )
    for one in result.quantiles:
        if one.value is not None:
            axes.axvline(one.value, color=colour(1), linewidth=1.2)
            axes.annotate(
                f"{one.probability:.0%}",
                xy=(one.value, 1.01),
                xycoords=("data", "axes fraction"),
                ha="center",
                color=colour(1),
            )
    if hidden:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(f"{result.variable} ({result.unit})" if result.unit else result.variable)
    axes.set_ylabel(f"patients, of {result.patients:,}")
