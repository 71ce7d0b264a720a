"""TenSEAL's own vectors under collective keys."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from cipherward_threshold import keys
from cipherward_threshold.errors import MalformedMessage, WrongKey
from cipherward_threshold.evaluation.rotation import combine_rotation_key, rotation_share
from cipherward_threshold.evaluation.tenseal_form import tenseal_context, vector_ciphertexts

if TYPE_CHECKING:
    from conftest import ProductAlliance

tenseal: Any = importlib.import_module("tenseal")  # the binding ships no types
PROFILE = "product-1"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context(product: ProductAlliance) -> Any:
    rotations = [
        combine_rotation_key(
            PROFILE, product.public_key, [rotation_share(one, step) for one in product.secrets]
        )
        for step in (1, 2)
    ]
    content = tenseal_context(PROFILE, product.public_key, product.relin_key, rotations)
    return tenseal.Context.load(content)


def read(product: ProductAlliance, vector: Any, count: int) -> list[int]:
    """Return the first slots of a vector with the joint secret: vectors have no check slots."""
    (ciphertext,) = vector_ciphertexts(PROFILE, product.public_key, vector.serialize())
    return product.phases.slots(ciphertext)[:count]


def test_vectors_add_multiply_and_sum_under_the_collective_key(
    product: ProductAlliance, context: Any
) -> None:
    assert context.is_public()
    first, second = (
        tenseal.bfv_vector(context, [1, -2, 3, 4]),
        tenseal.bfv_vector(context, [5, 6, 7, 8]),
    )
    assert read(product, first + second, 4) == [6, 4, 10, 12]
    assert read(product, first - second, 4) == [-4, -8, -4, -4]
    assert read(product, first * second, 4) == [5, -12, 21, 32]
    assert read(product, first * [3, 3, 0, -1], 4) == [3, -6, 0, -4]
    assert read(product, first.sum(), 1) == [6]
    assert read(product, first.dot(second), 1) == [46]


def test_a_context_without_evaluation_keys_still_adds(product: ProductAlliance) -> None:
    bare = tenseal.Context.load(tenseal_context(PROFILE, product.public_key))
    assert bare.is_public()
    assert not bare.has_galois_keys()
    total = tenseal.bfv_vector(bare, [20]) + tenseal.bfv_vector(bare, [22])
    assert read(product, total, 1) == [42]


def test_an_evaluation_key_of_another_collective_key_is_refused(product: ProductAlliance) -> None:
    alone = keys.member_secret(PROFILE, b"a" * 32, b"alone")
    public_key = keys.combine_public_key(PROFILE, b"alone", [alone.public_key_share()])
    with pytest.raises(WrongKey):
        tenseal_context(PROFILE, public_key, product.relin_key)
    rotation = combine_rotation_key(PROFILE, public_key, [rotation_share(alone, 1)])
    with pytest.raises(WrongKey):
        tenseal_context(PROFILE, product.public_key, None, [rotation])


def test_vectors_of_other_parameters_or_cut_short_are_refused(
    product: ProductAlliance, context: Any
) -> None:
    other = tenseal.context(
        tenseal.SCHEME_TYPE.BFV, 8192, plain_modulus=1032193, coeff_mod_bit_sizes=[60, 60, 30]
    )
    foreign = tenseal.bfv_vector(other, [1]).serialize()
    with pytest.raises(MalformedMessage):
        vector_ciphertexts(PROFILE, product.public_key, foreign)
    own = tenseal.bfv_vector(context, [1]).serialize()
    for wrong in (own[:-1], own[: len(own) // 2], b"\xff" + own[1:]):
        with pytest.raises(MalformedMessage):
            vector_ciphertexts(PROFILE, product.public_key, wrong)
