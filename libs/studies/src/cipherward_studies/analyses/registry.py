"""Every analysis that a study may ask for, by the word that its text uses."""

from __future__ import annotations

from cipherward_studies.analyses.anova import Anova
from cipherward_studies.analyses.cox import Cox
from cipherward_studies.analyses.histogram import Histogram
from cipherward_studies.analyses.linear_regression import LinearRegression
from cipherward_studies.analyses.logistic_regression import LogisticRegression
from cipherward_studies.analyses.moments import Moments
from cipherward_studies.analyses.product_sum import ProductSum
from cipherward_studies.analyses.survival import Survival
from cipherward_studies.analyses.t_test import TTest
from cipherward_studies.analyses.table import Table
from cipherward_studies.analysis import Analysis

ANALYSES: dict[str, type[Analysis]] = {
    cls.kind: cls
    for cls in (
        Moments,
        Histogram,
        Table,
        LinearRegression,
        TTest,
        Anova,
        LogisticRegression,
        Survival,
        Cox,
        ProductSum,
    )
}
