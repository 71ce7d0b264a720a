"""Cox regression with Breslow's ties, by Newton's method over released sums (see `cox_sums`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from cipherward_studies.analyses.buckets import BUCKETS_MAX, Buckets
from cipherward_studies.analyses.cox_plan import CoxPlan
from cipherward_studies.analyses.survival import check_time_and_event
from cipherward_studies.errors import AnalysisRefused
from cipherward_studies.forms import Form, variable_name, variable_names
from cipherward_studies.number_forms import Number, Numbers
from cipherward_studies.second_moments import SecondMoments, all_pairs
from cipherward_studies.variables import Variable

PREDICTORS_MAX = 16  # with 60 buckets 1,232 sums a round


@dataclass(frozen=True, slots=True)
class Cox:
    """How covariates go with the hazard of an event.

    Attributes:
        time, event, ends: as for `Survival`.
        predictors: numbers or flags.
        confidence: of intervals.
    """

    kind: ClassVar[str] = "cox"
    forms: ClassVar[tuple[Form, ...]] = (
        variable_name("time"),
        variable_name("event"),
        variable_names("predictors", 1, PREDICTORS_MAX),
        Numbers("ends", 2, BUCKETS_MAX),
        Number("confidence", 0.5, 0.999, 0.95),
    )

    time: str
    event: str
    predictors: tuple[str, ...]
    ends: tuple[float, ...]
    confidence: float = 0.95

    def __post_init__(self) -> None:
        Buckets(self.ends)
        if len(set(self.variables)) < len(self.variables):
            raise AnalysisRefused("time, event and predictors are different variables")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return `cox`."""
        return ("cox",)

    @property
    def variables(self) -> tuple[str, ...]:
        """Return time, event and predictors."""
        return (self.time, self.event, *self.predictors)

    def plan(self, variables: Mapping[str, Variable]) -> CoxPlan:
        """Return the plan.

        Raises:
            AnalysisRefused: the event is no flag, or the time may be negative.
        """
        time, event = variables[self.time], variables[self.event]
        check_time_and_event(time, event)
        covariates = tuple(variables[name] for name in self.predictors)
        products = SecondMoments((event, *covariates), all_pairs(1 + len(covariates)))
        return CoxPlan(time, event, products, Buckets(self.ends), self.confidence)
