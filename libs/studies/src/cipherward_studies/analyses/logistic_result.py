"""What a logistic regression finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cipherward_studies.analyses.estimates import Coefficient, Test, coefficient_rows
from cipherward_studies.analyses.plain import plain


@dataclass(frozen=True, slots=True)
class LogisticResult:
    """What is found; outcomes as in `estimates`.

    Attributes:
        coefficients: the intercept, then the covariates; empty without estimates.
        events: patients with the outcome; None where nothing was released.
        log_likelihood, null_log_likelihood: at the estimates, and with an intercept alone.
        likelihood_ratio, wald: that no covariate has an effect.
        pseudo_r_squared: McFadden's.
    """

    kind: ClassVar[str] = "logistic_regression"

    variable: str
    confidence: float
    outcome: str
    patients: int
    rounds: int
    events: float | None = None
    coefficients: tuple[Coefficient, ...] = ()
    log_likelihood: float | None = None
    null_log_likelihood: float | None = None
    likelihood_ratio: Test | None = None
    wald: Test | None = None
    pseudo_r_squared: float | None = None

    @classmethod
    def nothing(
        cls, variable: str, confidence: float, patients: int, rounds: int
    ) -> LogisticResult:
        """Return the result of a study that released nothing of the model."""
        return cls(variable, confidence, "left_out", patients, rounds)

    def ended(self, outcome: str, events: float | None = None) -> LogisticResult:
        """Return it with an outcome that has no estimates."""
        return replace(self, outcome=outcome, events=events)

    def estimated(
        self,
        outcome: str,
        events: float,
        coefficients: Sequence[Coefficient],
        likelihood: float,
        null: float | None,
        likelihood_ratio: Test | None,
        wald: Test,
    ) -> LogisticResult:
        """Return it with estimates."""
        return replace(
            self,
            outcome=outcome,
            events=events,
            coefficients=tuple(coefficients),
            log_likelihood=likelihood,
            null_log_likelihood=null,
            likelihood_ratio=likelihood_ratio,
            wald=wald,
            pseudo_r_squared=None if null is None else 1 - likelihood / null,
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return plain(self)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the coefficients."""
        return coefficient_rows(self.coefficients)
