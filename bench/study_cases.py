"""Every statistic on real patients: the studies of the table in docs/studies.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.study_oracles import (
    COX_ENDS,
    Figure,
    anova_figures,
    cox_figures,
    histogram_figures,
    linear_figures,
    logistic_figures,
    moments_figures,
    pairs_figures,
    survival_figures,
    t_test_figures,
    table_figures,
)
from cipherward_studies.answer import Answer
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns

# The alliance's names for data sets name no disease.
DATA_SETS = {
    "diabetes": "cohort-1",
    "breast_cancer": "cohort-2",
    "actg175": "cohort-3",
    "gbsg2": "cohort-4",
    "lung": "cohort-5",
}

Oracle = Callable[[Answer, Columns], list[Figure]]


@dataclass(frozen=True, slots=True)
class Case:
    """One study of the table.

    Attributes:
        table: bundled table; `variables` of it that are used.
        oracle: gets the answer and the pooled patients that take part; its first figure is shown,
            the error is of all.
        remark: against what, if it is not simply the pooled patients.
    """

    name: str
    table: str
    variables: tuple[dict[str, Any], ...]
    analysis: dict[str, Any]
    oracle: Oracle
    remark: str = ""

    @property
    def title(self) -> str:
        """What the study is called, and against what it is held if that must be said."""
        return f"{self.name} ({self.remark})" if self.remark else self.name

    @property
    def names(self) -> tuple[str, ...]:
        """The variables' names."""
        return tuple(str(variable["name"]) for variable in self.variables)

    @property
    def draft(self) -> Draft:
        """The study, over its table's data set."""
        return Draft.from_document(
            {
                "data_set": DATA_SETS[self.table],
                "variables": list(self.variables),
                "analyses": [self.analysis],
            }
        )

    def patients(self, tables: Mapping[str, Columns]) -> Columns:
        """Return the pooled patients without a missing value, who are all that take part."""
        pooled = {
            name: np.concatenate([table[name] for table in tables.values()]) for name in self.names
        }
        whole = ~np.isnan(np.column_stack(list(pooled.values()))).any(axis=1)
        return {name: column[whole] for name, column in pooled.items()}


def number(name: str, low: float, high: float) -> dict[str, Any]:
    """Return the declaration of a number."""
    return {"name": name, "low": low, "high": high}


def flag(name: str, low: float = 0, high: float = 1) -> dict[str, Any]:
    """Return the declaration of a flag."""
    return {"name": name, "kind": "flag", "low": low, "high": high}


_ROUNDED = "times rounded up to the published ends"
_DIABETES = (
    number("bmi", 5, 100),
    number("bp", 20, 250),
    number("s5", 0, 20),
    number("progression", 0, 1000),
)
_TUMOUR = (
    flag("malignant"),
    number("radius", 0, 30),
    number("texture", 0, 40),
    number("symmetry", 0, 0.4),
)
_GBSG2 = (
    number("time", 0, 2700),
    flag("event"),
    flag("hormone"),
    number("age", 18, 100),
    number("nodes", 0, 60),
)

CASES: tuple[Case, ...] = (
    Case(
        "count, sum, mean, variance, standard error",
        "diabetes",
        _DIABETES,
        {
            "kind": "moments",
            "variables": ["bmi", "bp", "s5", "progression"],
            "statistics": ["sum", "mean", "variance", "standard_error"],
        },
        moments_figures,
    ),
    Case(
        "covariance, correlation",
        "diabetes",
        _DIABETES,
        {
            "kind": "moments",
            "variables": ["bmi", "bp", "s5", "progression"],
            "statistics": ["covariance", "correlation"],
        },
        pairs_figures,
    ),
    Case(
        "histogram, quantiles",
        "diabetes",
        (number("bmi", 15, 45),),
        {"kind": "histogram", "variable": "bmi", "bins": 10, "quantiles": [0.25, 0.5, 0.75]},
        histogram_figures,
        "bins exact; every quantile inside its bin",
    ),
    Case(
        "contingency table, chi square, odds ratio",
        "gbsg2",
        (flag("hormone"), flag("post_menopausal")),
        {"kind": "table", "rows": "hormone", "columns": "post_menopausal"},
        table_figures,
    ),
    Case(
        "linear regression",
        "diabetes",
        _DIABETES,
        {
            "kind": "linear_regression",
            "outcome": "progression",
            "predictors": ["bmi", "bp", "s5"],
        },
        linear_figures,
    ),
    Case(
        "logistic regression",
        "breast_cancer",
        _TUMOUR,
        {
            "kind": "logistic_regression",
            "outcome": "malignant",
            "predictors": ["radius", "texture", "symmetry"],
        },
        logistic_figures,
    ),
    Case(
        "t-test",
        "breast_cancer",
        _TUMOUR[:2],
        {"kind": "t_test", "variable": "radius", "group": "malignant", "groups": [0, 1]},
        t_test_figures,
    ),
    Case(
        "analysis of variance",
        "gbsg2",
        (number("tumour_size", 0, 130), number("grade", 1, 3)),
        {"kind": "anova", "variable": "tumour_size", "group": "grade", "groups": [1, 2, 3]},
        anova_figures,
    ),
    Case(
        "Kaplan-Meier, log-rank",
        "actg175",
        (number("days", 0, 1500), flag("event"), flag("treated")),
        {
            "kind": "survival",
            "time": "days",
            "event": "event",
            "ends": list(range(91, 1275, 91)),
            "group": "treated",
            "groups": [0, 1],
        },
        survival_figures,
        _ROUNDED,
    ),
    Case(
        "linear regression, with missing values",
        "lung",
        (
            number("karnofsky_self", 0, 100),
            number("karnofsky", 0, 100),
            number("age", 18, 100),
            number("weight_loss", -50, 100),
        ),
        {
            "kind": "linear_regression",
            "outcome": "karnofsky_self",
            "predictors": ["karnofsky", "age", "weight_loss"],
        },
        linear_figures,
        "complete cases",
    ),
    Case(
        "Cox regression (Breslow)",
        "gbsg2",
        _GBSG2,
        {
            "kind": "cox",
            "time": "time",
            "event": "event",
            "predictors": ["hormone", "age", "nodes"],
            "ends": list(COX_ENDS),
        },
        cox_figures,
        _ROUNDED,
    ),
)
