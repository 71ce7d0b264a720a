"""The arithmetic of studies of stored columns, beside the event loop: octets in, octets out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_compute.arithmetic.columns import evaluator
from cipherward_compute.arithmetic.inputs import named
from cipherward_threshold.encryption import sum_contributions

PRODUCT_CIRCUIT = "product-sum"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What products are computed of.

    relin_key: tested. columns: each in its blocks of slots, verified contributions.
    """

    profile: str
    relin_key: bytes = field(repr=False)
    columns: Sequence[Sequence[bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProductTerm:
    """`times` times the product of two columns, named by their places."""

    first: int
    second: int
    times: int


def products_of(evaluation: Evaluation, terms: Sequence[ProductTerm]) -> tuple[bytes, bytes]:
    """Return the packed products, and the digest of their keys and c1; about 0.1 s a block each.

    Every member computes the same octets.

    Raises:
        ThresholdError: a column is not of this key, or encrypts nothing.
    """
    profile = evaluation.profile
    with_key = evaluator(profile, evaluation.relin_key)
    single = [
        [sum_contributions(profile, [block]) for block in column] for column in evaluation.columns
    ]
    products: list[bytes] = []
    for term in terms:
        pairs = list(zip(single[term.first], single[term.second], strict=True))
        # Added before the one relinearisation: the noise stays that of so many products.
        products.append(with_key.product_sum(pairs * term.times))
    return named(profile, products)
