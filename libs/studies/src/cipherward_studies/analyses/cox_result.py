"""What a Cox regression finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from cipherward_studies.analyses.estimates import Coefficient, Test, coefficient_rows
from cipherward_studies.analyses.plain import plain


@dataclass(frozen=True, slots=True)
class CoxResult:
    """What is found; outcomes as in `estimates`.

    Attributes:
        events: patients with the event in the buckets; None where nothing was released.
        ends: of the buckets that are published: times count as rounded up to these.
        coefficients: of the covariates; empty without estimates. Their ratios are of hazards.
        null_log_likelihood, log_likelihood: of the partial likelihood, without and with effects.
        likelihood_ratio, wald: that no covariate has an effect.
    """

    kind: ClassVar[str] = "cox"

    time: str
    event: str
    confidence: float
    outcome: str
    patients: int
    rounds: int
    events: float | None = None
    ends: tuple[float, ...] = ()
    coefficients: tuple[Coefficient, ...] = ()
    null_log_likelihood: float | None = None
    log_likelihood: float | None = None
    likelihood_ratio: Test | None = None
    wald: Test | None = None

    def ended(self, outcome: str) -> CoxResult:
        """Return it with an outcome."""
        return replace(self, outcome=outcome)

    def estimated(
        self,
        coefficients: Sequence[Coefficient],
        likelihoods: tuple[float, float],
        likelihood_ratio: Test,
        wald: Test,
    ) -> CoxResult:
        """Return it with estimates; `likelihoods` without and with effects."""
        return replace(
            self,
            coefficients=tuple(coefficients),
            null_log_likelihood=likelihoods[0],
            log_likelihood=likelihoods[1],
            likelihood_ratio=likelihood_ratio,
            wald=wald,
        )

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return plain(self)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the coefficients."""
        return coefficient_rows(self.coefficients)
