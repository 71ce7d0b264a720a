"""A patient's measurements as FHIR R4 Observations, and back.

One Bundle (type `collection`) of numeric Observations, each with a LOINC code where one exists and
a UCUM unit. Source: HL7 FHIR R4 (4.0.1), Observation and Bundle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
LOCAL = "urn:cipherward:variable"  # for the two columns that LOINC has no code for


class NotAnObservationBundle(ValueError):
    """The bytes are not a Bundle of numeric Observations."""

    reason = "NOT_AN_OBSERVATION_BUNDLE"


@dataclass(frozen=True, slots=True)
class Variable:
    """One measured quantity: its short name, coding and plausible range in its unit."""

    name: str
    system: str
    code: str
    display: str
    unit: str
    low: int
    high: int


# Ranges are wide enough for any living adult: clipping never touches a true value.
VARIABLES: tuple[Variable, ...] = (
    Variable("age", LOINC, "30525-0", "Age", "a", 0, 120),
    Variable("sex", LOCAL, "sex", "Sex as coded in the source (1 or 2)", "1", 1, 2),
    Variable("bmi", LOINC, "39156-5", "Body mass index", "kg/m2", 5, 100),
    Variable("bp", LOINC, "8478-0", "Mean blood pressure", "mm[Hg]", 20, 250),
    Variable("s1", LOINC, "2093-3", "Cholesterol, total", "mg/dL", 20, 1000),
    Variable("s2", LOINC, "2089-1", "Cholesterol in LDL", "mg/dL", 5, 800),
    Variable("s3", LOINC, "2085-9", "Cholesterol in HDL", "mg/dL", 5, 300),
    Variable("s4", LOINC, "9830-1", "Cholesterol, total / HDL", "{ratio}", 0, 50),
    Variable("s5", LOCAL, "s5", "Logarithm of serum triglycerides", "1", 0, 20),
    Variable("s6", LOINC, "2345-7", "Glucose", "mg/dL", 10, 1000),
    Variable("progression", LOCAL, "progression", "Progression in a year", "{score}", 0, 1000),
)
_BY_CODE = {(variable.system, variable.code): variable for variable in VARIABLES}


def observation(variable: Variable, value: float) -> dict[str, Any]:
    """Return one final Observation without a subject: the record's owner is its subject."""
    number: float | int = int(value) if float(value).is_integer() else value
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {
            "coding": [
                {"system": variable.system, "code": variable.code, "display": variable.display}
            ]
        },
        "valueQuantity": {
            "value": number,
            "unit": variable.unit,
            "system": UCUM,
            "code": variable.unit,
        },
    }


def bundle(values: Mapping[str, float]) -> bytes:
    """Return the FHIR JSON of a patient's measurements, by variable name."""
    known = [variable for variable in VARIABLES if variable.name in values]
    document = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": observation(v, values[v.name])} for v in known],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _quantity(resource: dict[str, Any]) -> tuple[str, float] | None:
    codings = cast("list[dict[str, Any]]", resource["code"]["coding"])
    for coding in codings:
        variable = _BY_CODE.get((coding.get("system"), coding.get("code")))  # type: ignore[arg-type]
        if variable is not None:
            return variable.name, float(resource["valueQuantity"]["value"])
    return None


def values_of(document: bytes) -> dict[str, float]:
    """Return the known measurements in a Bundle, by variable name.

    Raises:
        NotAnObservationBundle: not JSON, not a Bundle, or an entry without code or numeric value.
    """
    try:
        parsed = json.loads(document)
        if parsed["resourceType"] != "Bundle":
            raise NotAnObservationBundle("not a FHIR Bundle")
        found = [_quantity(entry["resource"]) for entry in parsed["entry"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAnObservationBundle(f"not a Bundle of Observations: {error}") from error
    return dict(pair for pair in found if pair is not None)
