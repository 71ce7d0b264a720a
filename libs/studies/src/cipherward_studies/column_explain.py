"""What a study of stored columns will do, before anything runs."""

from __future__ import annotations

from cipherward_studies.analyses.product_sum import Operand, ProductSum
from cipherward_studies.column_plan import ColumnPlan, ColumnStage
from cipherward_studies.explain import Explanation, Upload

EXACT = "exact, of values in steps of 2^-fraction_bits"


def explain_columns(plan: ColumnPlan) -> Explanation:
    """Return what the study of a plan will do. Nobody uploads: columns are stored already."""
    minimum = plan.spec.minimum
    return Explanation(
        computes=(
            "takes the columns that all members stored encrypted under the data key, and that it "
            "has verified",
            *(_product(one) for one in plan.products),
            "computes the same ciphertexts as every other; no hospital computes in the clear",
        ),
        counts=_upload(plan, "counts"),
        values=_upload(plan, "values"),
        rounds=plan.rounds,
        releases=plan.rounds,
        cells=tuple(f"patients of whom {_pair(one)} are known" for one in plan.products),
        error_bounds={
            "count": "exact",
            **{
                f"{place + 1} {one.kind}: {figure}": EXACT
                for place, one in enumerate(plan.products)
                for figure in one.outputs
            },
        },
        disclosed=(
            "to the hospitals of the study: how many patients have both values; who, nobody learns",
            "to the researcher: how many, both sums over these patients, and the sum of products",
            f"the study ends without an answer when fewer than {minimum} patients have both values",
            "the same two columns are released once in the life of their data key",
            "to everybody: the study's terms, members, steps and ends, as the chain has them; "
            "neither its text nor any figure",
        ),
        privacy=None,
    )


def _upload(plan: ColumnPlan, stage: ColumnStage) -> Upload:
    numbers = len(plan.terms(stage))
    return Upload(numbers, numbers, 0)


def _product(one: ProductSum) -> str:
    return f"{one.kind}: sums over the patients of whom {_pair(one)} are known"


def _pair(one: ProductSum) -> str:
    return f"{_name(one.x)} and {_name(one.y)}"


def _name(operand: Operand) -> str:
    return f"{operand.variable} at {operand.at}"
