"""What the demonstration's researcher asks, of two data sets."""

from __future__ import annotations

from cipherward_client.fhir import VARIABLES
from cipherward_studies.spec import Draft

# The alliance's names for data sets name no disease.
DIABETES, TRIAL = "cohort-1", "cohort-2"
OUTCOME = "progression"
# Age, sex, body mass, blood pressure, HDL and triglycerides.
PREDICTORS = ("age", "sex", "bmi", "bp", "s3", "s5")
ASKED = (*PREDICTORS, OUTCOME)
TIME, EVENT, GROUP = "days", "event", "treated"
WATCHED = (TIME, EVENT, GROUP)
# Quarters of a year, to the end of the trial's fourth.
ENDS = tuple(range(91, 1275, 91))
MINIMUM = 10


def regression_study() -> Draft:
    """Return moments of seven variables, and the regression of the outcome on six of them."""
    known = {variable.name: variable for variable in VARIABLES}
    variables = [
        {
            "name": name,
            "low": known[name].low,
            "high": known[name].high,
            "unit": known[name].unit,
            "kind": "flag" if name == "sex" else "number",
        }
        for name in ASKED
    ]
    moments = {
        "kind": "moments",
        "variables": list(ASKED),
        "statistics": ["sum", "mean", "variance"],
    }
    model = {"kind": "linear_regression", "outcome": OUTCOME, "predictors": list(PREDICTORS)}
    return Draft.from_document(
        {
            "data_set": DIABETES,
            "variables": variables,
            "analyses": [moments, model],
            "minimum": MINIMUM,
        }
    )


def survival_study() -> Draft:
    """Return the survival of two groups of the trial, with the log-rank test."""
    curves = {
        "kind": "survival",
        "time": TIME,
        "event": EVENT,
        "ends": list(ENDS),
        "group": GROUP,
        "groups": [0, 1],
    }
    return Draft.from_document(
        {
            "data_set": TRIAL,
            "variables": [
                {"name": TIME, "low": 0, "high": 1500, "unit": "d"},
                {"name": EVENT, "kind": "flag"},
                {"name": GROUP, "kind": "flag"},
            ],
            "analyses": [curves],
            "minimum": MINIMUM,
        }
    )
