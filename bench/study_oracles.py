"""What trusted libraries say of pooled patients, held against the answers of studies.

| statistic | held against |
|---|---|
| moments, covariance, correlation | numpy, scipy |
| histogram, quantiles, table | numpy, scipy, statsmodels |
| t-test, ANOVA | scipy |
| linear, logistic, Cox regression | statsmodels |
| survival, log-rank | lifelines |
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import lifelines
import numpy as np
import scipy.stats
import statsmodels.api

from cipherward_client.demo.oracle import rounded_up
from cipherward_studies.analyses.anova import AnovaResult
from cipherward_studies.analyses.buckets import Buckets
from cipherward_studies.analyses.cox_result import CoxResult
from cipherward_studies.analyses.histogram import HistogramResult
from cipherward_studies.analyses.linear_regression import LinearRegressionResult
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.analyses.moments import MomentsResult
from cipherward_studies.analyses.survival import SurvivalResult
from cipherward_studies.analyses.t_test import TTestResult
from cipherward_studies.analyses.table import TableResult
from cipherward_studies.answer import Answer
from cipherward_studies.variables import Columns, Floats

stats: Any = scipy.stats
models: Any = statsmodels.api
theirs: Any = lifelines
tests: Any = importlib.import_module("lifelines.statistics")  # untyped

R = TypeVar("R")

COX_ENDS = tuple(180.0 * half for half in range(1, 16))  # half years of 180 days


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of an answer, and the same by a library over the pooled patients."""

    name: str
    found: float
    expected: float

    @property
    def error(self) -> float:
        """The difference, relative to the library's number unless that is 0."""
        difference = abs(self.found - self.expected)
        return difference / abs(self.expected) if self.expected else difference


def _only(answer: Answer, kind: type[R]) -> R:
    """Return the one result of an answer."""
    (result,) = answer.results
    if not isinstance(result, kind):
        raise TypeError(f"{result.kind} is no {kind.__name__}")
    return result


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def moments_figures(answer: Answer, patients: Columns) -> list[Figure]:
    found: list[Figure] = []
    for one in _only(answer, MomentsResult).variables:
        x = patients[one.variable]
        found += [
            Figure(f"mean of {one.variable}", _number(one.mean), float(x.mean())),
            Figure("sum", _number(one.sum), float(x.sum())),
            Figure("variance", _number(one.variance), float(x.var(ddof=1))),
            Figure("standard error", _number(one.standard_error), float(stats.sem(x))),
        ]
    return found


def pairs_figures(answer: Answer, patients: Columns) -> list[Figure]:
    found: list[Figure] = []
    for one in _only(answer, MomentsResult).pairs:
        x, y = patients[one.first], patients[one.second]
        correlation = float(stats.pearsonr(x, y).statistic) if one.first != one.second else 1.0
        found += [
            Figure(f"r of {one.first}, {one.second}", _number(one.correlation), correlation),
            Figure("covariance", _number(one.covariance), float(np.cov(x, y)[0, 1])),
        ]
    return found[2:]  # the first pair is a variable with itself


def histogram_figures(answer: Answer, patients: Columns) -> list[Figure]:
    """Compare the bins that are published, and the bin that a quantile is in."""
    one = _only(answer, HistogramResult)
    x = patients[one.variable]
    edges = [*(bin_.low for bin_ in one.bins), one.bins[-1].high]
    expected = np.histogram(x, edges)[0]
    found = [
        Figure(f"patients of {bin_.low:g} to {bin_.high:g}", bin_.patients, int(count))
        for bin_, count in zip(one.bins, expected, strict=True)
        if bin_.patients is not None
    ]
    for quantile in one.quantiles:
        pooled = float(np.quantile(x, quantile.probability, method="inverted_cdf"))
        inside = quantile.low <= pooled <= quantile.high
        found.append(Figure("a quantile in its bin", float(inside), 1.0))
    return found


def table_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, TableResult)
    x, y = patients[one.rows], patients[one.columns]
    counts = np.array(
        [[((x == a) & (y == b)).sum() for b in np.unique(y)] for a in np.unique(x)], dtype=float
    )
    test = stats.chi2_contingency(counts)
    odds = models.stats.Table2x2(counts)
    if one.chi_square is None or one.odds_ratio is None:
        raise ValueError("the table has no test")
    lower, upper = odds.oddsratio_confint(0.05)
    return [
        Figure("chi square", one.chi_square.statistic, float(test.statistic)),
        Figure("odds ratio", one.odds_ratio.estimate, float(odds.oddsratio)),
        Figure("odds ratio, from", one.odds_ratio.lower, float(lower)),
        Figure("odds ratio, to", one.odds_ratio.upper, float(upper)),
    ]


def linear_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, LinearRegressionResult)
    names = [coefficient.variable for coefficient in one.coefficients[1:]]
    design = models.add_constant(np.column_stack([patients[name] for name in names]))
    pooled = models.OLS(patients[one.variable], design).fit()
    if one.fit is None:
        raise ValueError(f"the regression is {one.outcome}")
    return [
        Figure("R squared", one.fit.r_squared, float(pooled.rsquared)),
        *_coefficients(one.coefficients, pooled),
    ]


def _coefficients(found: Sequence[Any], pooled: Any) -> list[Figure]:
    """Compare estimates and standard errors, in the model's order."""
    figures: list[Figure] = []
    for one, estimate, error in zip(found, pooled.params, pooled.bse, strict=True):
        figures.append(Figure(f"effect of {one.variable}", one.estimate, float(estimate)))
        figures.append(Figure("standard error", one.standard_error, float(error)))
    return figures


def logistic_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, LogisticResult)
    names = [coefficient.variable for coefficient in one.coefficients[1:]]
    design = models.add_constant(np.column_stack([patients[name] for name in names]))
    pooled = models.Logit(patients[one.variable], design).fit(disp=0, tol=1e-12)
    likelihood = Figure("log likelihood", _number(one.log_likelihood), float(pooled.llf))
    return [*_coefficients(one.coefficients, pooled)[2:], likelihood]


def t_test_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, TTestResult)
    if one.welch is None or one.pooled is None:
        raise ValueError(f"the test is {one.outcome}")
    x, groups = patients[one.variable], patients[one.group]
    parts = [x[groups == mean.group] for mean in one.groups]
    return [
        Figure(
            "Welch's t",
            one.welch.statistic,
            float(stats.ttest_ind(*parts, equal_var=False).statistic),
        ),
        Figure("pooled t", one.pooled.statistic, float(stats.ttest_ind(*parts).statistic)),
    ]


def anova_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, AnovaResult)
    x, groups = patients[one.variable], patients[one.group]
    parts = [x[groups == mean.group] for mean in one.groups]
    expected = float(stats.f_oneway(*parts).statistic)
    return [Figure("F", _number(one.f_statistic), expected)]


def survival_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, SurvivalResult)
    curves = {group.group: group.curve for group in one.groups if group.curve is not None}
    steps = [point for curve in curves.values() for point in curve.points]
    happened = patients[one.event] == 1
    times = np.where(
        happened,
        rounded_up(patients[one.time], [step.time for step in steps if step.events > 0]),
        rounded_up(patients[one.time], [step.time for step in steps if step.censored > 0]),
    )
    found: list[Figure] = []
    for group, curve in curves.items():
        mine = patients[one.group] == group
        pooled = theirs.KaplanMeierFitter().fit(times[mine], happened[mine])
        at = [point.time for point in curve.points]
        expected: Floats = np.asarray(pooled.predict(at), dtype=np.float64)
        for point, survival in zip(curve.points, expected, strict=True):
            name = f"survival at {point.time:g}, {one.group} = {group:g}"
            found.append(Figure(name, point.survival, float(survival)))
    if one.log_rank is None:
        raise ValueError("there is no log-rank test")
    test = tests.multivariate_logrank_test(times, patients[one.group], happened)
    return [Figure("log-rank", one.log_rank.statistic, float(test.test_statistic)), *found]


def cox_figures(answer: Answer, patients: Columns) -> list[Figure]:
    one = _only(answer, CoxResult)
    design = np.column_stack([patients[each.variable] for each in one.coefficients])
    happened = patients[one.event] == 1
    censored = rounded_up(patients[one.time], _censored_ends(answer))
    times = rounded_up(np.where(happened, patients[one.time], censored), one.ends)
    pooled = models.PHReg(times, design, status=happened, ties="breslow").fit(disp=0, tol=1e-12)
    return _coefficients(one.coefficients, pooled)


def _censored_ends(answer: Answer) -> list[float]:
    """Return the ends to which times without an event are rounded up first.

    The names of the cells that were left out say which runs of buckets were joined.
    """
    buckets = Buckets(COX_ENDS)
    failed = {name.rpartition(", ")[2] for name in answer.left_out if name.startswith("censored")}
    runs = [cell.label.rpartition(", ")[2] for cell in buckets.cells("censored", ())]
    lasts = buckets.published(np.array([run not in failed for run in runs]))
    if lasts is None:
        raise ValueError("no run of buckets is published")
    return [COX_ENDS[place] for place in np.unique(lasts)]
