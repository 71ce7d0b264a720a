"""What a researcher asks of the members, and its one text, whose digest the chain names.

| field of the text | value |
|---|---|
| version | 1 |
| data_set | `cohort-<1..99>`: a name that can name no disease |
| variables | 1 to 64 of {name, low, high, unit}; low and high are decimal texts |
| outcome | one of the variables' names; "" without a regression |
| statistics | "count" and others of `STATISTICS`, in that order |
| minimum | patients in every published cell |
| fraction_bits | 0..52: sums are in steps of 2^-fraction_bits |
| profile | name of the parameters of the encryption |
| requester_public_key | who alone can read the result |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.fields import Fields
from cipherward_client.sdk.errors import CheckFailed
from cipherward_threshold.study import STATISTICS, StudyPlan, Variable

VERSION = 1
PROFILE = "additive-1"  # the reviewed parameters of additive statistics
FRACTION_BITS = 24  # sums of up to 2^33 in steps of 6e-8: any table of measurements
MINIMUM = 10  # the least that the contract allows
STEP_SECONDS = 300  # what each step of a study may take before it fails
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?")


class StudyRequestInvalid(CheckFailed):
    """The request asks for something that no study can be."""

    reason = "STUDY_REQUEST_INVALID"


@dataclass(frozen=True, slots=True)
class StudyVariable:
    """A column of the data set, with its plausible range as decimal texts, and its unit.

    Patients with a value outside the range are left out.
    """

    name: str
    low: str
    high: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """A study over the members' data sets; `members` empty means all of the alliance.

    `approvals` is how many members must vote yes; 0 means as many as must take part to decrypt.
    """

    data_set: str
    variables: tuple[StudyVariable, ...]
    statistics: tuple[str, ...]
    outcome: str = ""
    minimum: int = MINIMUM
    members: tuple[str, ...] = ()
    approvals: int = 0
    step_seconds: int = STEP_SECONDS
    fraction_bits: int = FRACTION_BITS

    def plan(self) -> StudyPlan:
        """Return which sums the study needs.

        Raises:
            StudyRequestInvalid: a bound is not a decimal number.
            PlanRefused, ValueOutOfRange: no such study can be computed.
        """
        for variable in self.variables:
            if not all(DECIMAL.fullmatch(bound) for bound in (variable.low, variable.high)):
                raise StudyRequestInvalid(f"the bounds of {variable.name} are not decimal numbers")
        return StudyPlan(
            tuple(Variable(v.name, float(v.low), float(v.high)) for v in self.variables),
            self.outcome,
            tuple(name for name in STATISTICS if name in self.statistics),
            self.fraction_bits,
        )

    def text(self, requester_public_key: bytes) -> bytes:
        """Return the study's text for a requester's key.

        Raises:
            as `plan`.
        """
        plan = self.plan()
        if set(self.statistics) != set(plan.statistics):
            raise StudyRequestInvalid(f"statistics are of {', '.join(STATISTICS)}")
        return encode(
            {
                "version": VERSION,
                "data_set": self.data_set,
                "variables": [_variable_value(v) for v in self.variables],
                "outcome": self.outcome,
                "statistics": plan.statistics,
                "minimum": self.minimum,
                "fraction_bits": self.fraction_bits,
                "profile": PROFILE,
                "requester_public_key": requester_public_key,
            }
        )

    def terms(
        self,
        members: tuple[str, ...],
        permit: tuple[bytes, int],
        spec_digest: bytes,
        requester_key_digest: bytes,
    ) -> bytes:
        """Return the canonical terms of the study's contract, over these members.

        Args:
            permit: its id, and how many releases it allows.
        """
        threshold = threshold_of(len(members))
        permit_id, releases_max = permit
        return encode(
            {
                "permit": permit_id,
                "releases_max": releases_max,
                "data_set": self.data_set,
                "outputs": sorted(self.statistics),
                "spec_digest": spec_digest,
                "members": sorted(members),
                "threshold": threshold,
                "approvals": self.approvals or threshold,
                "minimum": self.minimum,
                "requester_key_digest": requester_key_digest,
                "step_seconds": self.step_seconds,
            }
        )

    def to_bytes(self) -> bytes:
        """Return the request as the wallet keeps it."""
        return encode(
            {
                "data_set": self.data_set,
                "variables": [_variable_value(v) for v in self.variables],
                "statistics": self.statistics,
                "outcome": self.outcome,
                "minimum": self.minimum,
                "members": self.members,
                "approvals": self.approvals,
                "step_seconds": self.step_seconds,
                "fraction_bits": self.fraction_bits,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> StudyRequest:
        """Return a kept request, or raise NotCanonical."""
        fields = Fields(decode_map(raw))
        found = cls(
            data_set=fields.text("data_set"),
            variables=tuple(_variable(item) for item in fields.items("variables")),
            statistics=fields.texts("statistics"),
            outcome=fields.text("outcome"),
            minimum=fields.integer("minimum"),
            members=fields.texts("members"),
            approvals=fields.integer("approvals"),
            step_seconds=fields.integer("step_seconds"),
            fraction_bits=fields.integer("fraction_bits"),
        )
        fields.end()
        return found


def threshold_of(members: int) -> int:
    """Return how many of so many members decrypt: 2f + 1 of 3f + 1."""
    return members - (members - 1) // 3


def _variable_value(variable: StudyVariable) -> Mapping[str, Value]:
    return {
        "name": variable.name,
        "low": variable.low,
        "high": variable.high,
        "unit": variable.unit,
    }


def _variable(value: Value) -> StudyVariable:
    fields = Fields(value)
    found = StudyVariable(
        fields.text("name"), fields.text("low"), fields.text("high"), fields.text("unit")
    )
    fields.end()
    return found
