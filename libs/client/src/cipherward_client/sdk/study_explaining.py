"""What a study will do, before anything runs: the plan's own figures, and the rules it is under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cipherward_client.sdk.permits import Permit
from cipherward_client.sdk.study_costs import Estimate, estimate
from cipherward_client.sdk.study_requests import NO_KEY, threshold_of
from cipherward_client.sdk.study_rules import Rule
from cipherward_studies.column_explain import explain_columns
from cipherward_studies.column_plan import ColumnPlan, plan_for
from cipherward_studies.explain import Explanation, explain
from cipherward_studies.spec import Draft

COUNTS = 1  # releases that the counts take
COUNTED_TWICE = (
    "a patient of two hospitals has rows at both and is counted at both: let hospitals contribute "
    "patients that they treat first, or ask with `product_sum` about who enrolled at both"
)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a study takes, at most, of what is limited.

    Attributes:
        permit: releases of the permit for the data set: the counts, and each round.
        data_set: releases of the data set over all permits: a round with noise takes none.
        rho_micro: privacy budget of the data set (micro-zCDP); 0 for an exact study.
    """

    permit: int
    data_set: int
    rho_micro: int


@dataclass(frozen=True, slots=True)
class Explained:
    """A study explained.

    Attributes:
        estimate: seconds, from the last vote; None when it is not known how many members.
        rules: of the contracts; empty when no chain was asked.
        refusals: why the permit that was named does not allow it; None when none was named.
    """

    draft: Draft
    members: tuple[str, ...]
    plan: Explanation
    quota: Quota
    estimate: Estimate | None
    rules: tuple[Rule, ...]
    refusals: tuple[str, ...] | None

    @property
    def cautions(self) -> tuple[str, ...]:
        """What the answer does not say by itself, and what may be done about it."""
        return (COUNTED_TWICE,) if self.draft.data_key is None else ()

    @property
    def threshold(self) -> int:
        """How many members decrypt together; 0 when it is not known how many there are."""
        return threshold_of(len(self.members)) if self.members else 0

    def to_document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "data_set": self.draft.data_set,
            "outputs": list(self.draft.outputs),
            "minimum": self.draft.minimum,
            "members": list(self.members),
            "threshold": self.threshold,
            **self.plan.to_document(),
            "quota": {
                "permit_releases": self.quota.permit,
                "data_set_releases": self.quota.data_set,
                "data_set_rho_micro": self.quota.rho_micro,
            },
            "estimated_seconds": None if self.estimate is None else self.estimate.to_document(),
            "rules": [rule.to_document() for rule in self.rules],
            "cautions": list(self.cautions),
            "refusals": None if self.refusals is None else list(self.refusals),
        }


def explain_study(
    draft: Draft,
    members: tuple[str, ...] = (),
    rules: tuple[Rule, ...] = (),
    permit: Permit | None = None,
) -> Explained:
    """Return what a study will do.

    Args:
        members: of the alliance; the draft's own are taken before them.

    Raises:
        TooManySlots, UnknownProfile: it cannot be computed.
    """
    asked = tuple(sorted(draft.members or members))
    plan = plan_for(draft.spec(NO_KEY))
    found = explain_columns(plan) if isinstance(plan, ColumnPlan) else explain(plan)
    noisy = bool(draft.rho_micro)
    quota = Quota(
        permit=COUNTS + found.rounds,
        data_set=COUNTS + (0 if noisy else found.rounds),
        rho_micro=draft.rho_micro * found.rounds,
    )
    return Explained(
        draft=draft,
        members=asked,
        plan=found,
        quota=quota,
        estimate=estimate(found, len(asked), stored=draft.data_key is not None) if asked else None,
        rules=rules,
        refusals=None if permit is None else refusals(draft, asked, quota, permit),
    )


def refusals(
    draft: Draft, members: tuple[str, ...], quota: Quota, permit: Permit
) -> tuple[str, ...]:
    """Return why a study could not run under a permit, or not to its last round; else nothing.

    How much of the permit is spent already is known to the chain alone.
    """
    found: list[str] = []
    if permit.state != "granted":
        found.append(f"the permit is {permit.state}")
    if draft.data_set not in permit.data_sets:
        found.append(f"it is not for {draft.data_set}")
    lacking = sorted(set(draft.outputs) - set(permit.outputs))
    if lacking:
        found.append(f"it does not allow {', '.join(lacking)}")
    foreign = sorted(set(members) - set(permit.holders))
    if foreign:
        found.append(f"{', '.join(foreign)} are no holders of it")
    if draft.minimum < permit.minimum:
        found.append(f"it asks for at least {permit.minimum} patients in a cell")
    if quota.permit > permit.releases_max:
        found.append(f"it has {permit.releases_max} releases, and up to {quota.permit} are needed")
    return tuple(found)
