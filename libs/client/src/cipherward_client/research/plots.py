"""Pictures of results: survival curves, forests of coefficients, histograms.

They are drawn without a window system (Agg) and without matplotlib's global state, so that they
come out the same in a service, a notebook and a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cipherward_client.research.extras import require
from cipherward_client.research.forest_plots import draw_coefficients
from cipherward_client.research.histogram_plots import draw_histogram
from cipherward_client.research.survival_plots import draw_survival
from cipherward_client.sdk.errors import CheckFailed
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analyses.histogram import HistogramResult
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.analyses.survival import SurvivalResult
from cipherward_studies.analysis import Result

DOTS_INCH = 144  # a figure of 8 inches is 1,152 dots wide: sharp in a page and on a screen

_DRAWN: Mapping[type[Any], Callable[[Any, Any], None]] = {
    SurvivalResult: draw_survival,
    LinearRegressionResult: draw_coefficients,
    LogisticResult: draw_coefficients,
    CoxResult: draw_coefficients,
    HistogramResult: draw_histogram,
}


class NotDrawn(CheckFailed):
    """There is no picture of such a result, or nothing to be seen on it."""

    reason = "NOT_DRAWN"


def can_draw(result: Result) -> bool:
    """Say whether there are pictures of results of this kind."""
    return type(result) in _DRAWN


def plot(result: Result) -> Any:
    """Return a result's picture, a `matplotlib.figure.Figure`; `savefig` writes it.

    Raises:
        NotDrawn: results of this kind have no picture, or nothing was published.
        ExtraMissing: matplotlib is not installed.
    """
    draw = _DRAWN.get(type(result))
    if draw is None:
        kinds = ", ".join(sorted({one.kind for one in _DRAWN}))
        raise NotDrawn(f"there is no picture of {result.kind}; there are of {kinds}")
    if not result.to_rows():
        raise NotDrawn(f"nothing of {result.kind} was published: {_why(result)}")
    figure = require("matplotlib.figure").Figure(dpi=DOTS_INCH, layout="constrained")
    require("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    draw(result, figure)
    return figure


def _why(result: Result) -> str:
    return str(result.to_document().get("outcome", "its cells were too small"))
