"""Made-up patients for benchmarks: as many as are asked for, the same ones every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns

Entries = Mapping[str, object]  # of a study's document

SEED = 20_260_101  # any
VARIABLES = 20
MONTHS = tuple(range(2, 122, 2))  # ten years in buckets of two months
AGE = {"name": "age", "low": 18, "high": 100}
DOSE = {"name": "dose", "low": 0, "high": 10}
TREATED = {"name": "treated", "kind": "flag"}


def measured(patients: int, members: Sequence[str]) -> dict[str, Columns]:
    """Return each member's part of patients with VARIABLES numbers of 0..100 each."""
    rng = np.random.default_rng(SEED)
    part = patients // len(members)
    return {
        member: {f"x{place}": rng.uniform(0, 100, part).round(1) for place in range(VARIABLES)}
        for member in members
    }


def sums() -> Draft:
    """Return means of all VARIABLES numbers."""
    names = [f"x{place}" for place in range(VARIABLES)]
    return Draft.from_document(
        {
            "data_set": "cohort-1",
            "variables": [{"name": name, "low": 0, "high": 100} for name in names],
            "analyses": [{"kind": "moments", "variables": names, "statistics": ["mean"]}],
        }
    )


def followed(patients: int, members: Sequence[str]) -> dict[str, Columns]:
    """Return each member's part of patients with three covariates, a time and two outcomes.

    Hazard and odds rise with age and dose and are lower for the treated; a third is censored.
    """
    rng = np.random.default_rng(SEED)
    part = patients // len(members)
    return {member: _followed(rng, part) for member in members}


def _followed(rng: np.random.Generator, patients: int) -> Columns:
    age = np.clip(rng.normal(60, 12, patients), 18, 100).round(1)
    dose = rng.uniform(0, 10, patients).round(2)
    treated = (rng.random(patients) < 0.5).astype(np.float64)
    score = 0.03 * (age - 60) + 0.1 * (dose - 5) - 0.5 * treated
    event, leaving = rng.exponential(60 / np.exp(score)), rng.uniform(12, 120, patients)
    return {
        "age": age,
        "dose": dose,
        "treated": treated,
        "months": np.minimum(event, leaving),
        "died": (event <= leaving).astype(np.float64),
        "responded": (rng.random(patients) < 1 / (1 + np.exp(score))).astype(np.float64),
    }


def survival() -> Draft:
    """Return the curves of the treated and the others, with the log-rank test."""
    curves = {"kind": "survival", "group": "treated", "groups": [0, 1]} | _TIMES
    return _of_followed([TREATED, *_OBSERVED], curves)


def logistic() -> Draft:
    """Return a logistic regression of the response on three covariates."""
    model = {"kind": "logistic_regression", "outcome": "responded", "predictors": _COVARIATES}
    return _of_followed([AGE, DOSE, TREATED, {"name": "responded", "kind": "flag"}], model)


def cox() -> Draft:
    """Return a Cox regression on three covariates."""
    model = {"kind": "cox", "predictors": _COVARIATES} | _TIMES
    return _of_followed([AGE, DOSE, TREATED, *_OBSERVED], model)


_COVARIATES = ["age", "dose", "treated"]
_OBSERVED = [{"name": "months", "low": 0, "high": 120}, {"name": "died", "kind": "flag"}]
_TIMES = {"time": "months", "event": "died", "ends": list(MONTHS)}


def _of_followed(variables: Sequence[Entries], analysis: Entries) -> Draft:
    return Draft.from_document(
        {"data_set": "cohort-2", "variables": list(variables), "analyses": [analysis]}
    )
