"""Studies of stored columns as their contract is told of them, and as their result is read."""

from __future__ import annotations

from cipherward_chain.canonical import encode
from cipherward_studies.column_plan import ColumnPlan
from cipherward_studies.columns import BLOCKS_MAX
from cipherward_studies.data_keys import NamedDataKey
from cipherward_studies.plan import Plan
from cipherward_studies.spec import Draft, StudySpec
from cipherward_threshold.parameters import profile

COLUMN_STUDY, STUDY = "column-study", "study"  # the templates
PRODUCTS, SUMS = "product-sum", "sum"  # what the values are, in the reviewed table of circuits


def template_of(draft: Draft) -> str:
    """Return the template of the contract that a study runs by."""
    return STUDY if draft.data_key is None else COLUMN_STUDY


def circuit_of(plan: Plan | ColumnPlan) -> str:
    """Return what the values of a study are, in the reviewed table of circuits."""
    return PRODUCTS if isinstance(plan, ColumnPlan) else SUMS


def widths_of(plan: Plan | ColumnPlan) -> list[int]:
    """Return how many integers each ciphertext of the values opens to."""
    if isinstance(plan, ColumnPlan):
        return [1] * len(plan.terms("values"))
    return [len(batch) for batch in plan.batches([0] * plan.value_slots)]


def bound_of(plan: Plan | ColumnPlan) -> int | None:
    """Return the most that an opened integer can be, of either sign; None if nothing says."""
    if isinstance(plan, ColumnPlan):
        return plan.bound(BLOCKS_MAX * profile(plan.spec.profile).slots)
    return None


def threshold_of(members: int) -> int:
    """Return how many of so many members decrypt: 2f + 1 of 3f + 1."""
    return members - (members - 1) // 3


def column_terms(
    draft: Draft, spec: StudySpec, members: tuple[str, ...], permit: tuple[bytes, int]
) -> bytes:
    """Return the canonical terms of the contract of a study of stored columns.

    Args:
        draft: it names a data key. spec: its text for the researcher's key.
        members: all who hold the data key.
        permit: its id, and how many releases it allows.
    """
    key = draft.data_key
    assert isinstance(key, NamedDataKey)  # the reason why its terms are these
    threshold = threshold_of(len(members))
    permit_id, releases_max = permit
    return encode(
        {
            "permit": permit_id,
            "source": key.id,
            "data_set": spec.data_set,
            "outputs": list(spec.outputs),
            "releases_max": releases_max,
            "key_releases_max": key.releases_max,
            "key_digest": key.key_digest,
            "spec_digest": spec.digest,
            "members": sorted(members),
            "threshold": threshold,
            "approvals": draft.approvals or threshold,
            "minimum": spec.minimum,
            "requester_key_digest": spec.requester_key_digest,
            "step_seconds": draft.step_seconds,
        }
    )
