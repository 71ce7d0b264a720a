"""Every form of the evaluator against integers, through the shares of an alliance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import keys
from cipherward_threshold.encryption import encrypt, sum_contributions
from cipherward_threshold.errors import (
    BadForm,
    MalformedMessage,
    TransparentCiphertext,
    ValueOutOfRange,
    WrongKey,
    WrongProfile,
)
from cipherward_threshold.evaluation.evaluator import Evaluator
from cipherward_threshold.evaluation.messages import RelinKey
from cipherward_threshold.messages import Ciphertext
from cipherward_threshold.proofs.contributions import encrypt_contribution

if TYPE_CHECKING:
    from conftest import ProductAlliance

PROFILE = "product-1"
SIZE = 12
pytestmark = pytest.mark.slow


def column(seed: int, most: int = 50_000) -> list[int]:
    drawn = np.random.default_rng(seed).integers(-most, most, SIZE, endpoint=True)
    return [int(x) for x in drawn]


@pytest.fixture(scope="module")
def columns(product: ProductAlliance) -> list[tuple[list[int], bytes]]:
    return [(column(seed), product.encrypt(column(seed))) for seed in range(4)]


Columns = list[tuple[list[int], bytes]]


def test_products_are_exact_slot_by_slot(product: ProductAlliance, columns: Columns) -> None:
    (x, cx), (y, cy), (z, cz), _ = columns
    made = product.evaluator.multiply(cx, cy)
    expected = [a * b for a, b in zip(x, y, strict=True)]
    assert product.decrypt(made, "masked-linear", SIZE) == expected
    made = product.evaluator.product_sum([(cx, cy), (cz, cz)])
    expected = [a * b + c * c for a, b, c in zip(x, y, z, strict=True)]
    assert product.decrypt(made, "masked-linear", SIZE) == expected
    assert product.decrypt(made, "product-sum", 1) == [sum(expected)]


def test_linear_forms_are_exact_with_weights_of_either_sign(
    product: ProductAlliance, columns: Columns
) -> None:
    weights = [(1 << 20) - 1, -(1 << 20) + 1, 0, 3]
    made = product.evaluator.linear([one for _, one in columns], weights)
    expected = [
        sum(w * x for w, x in zip(weights, row, strict=True))
        for row in zip(*(values for values, _ in columns), strict=True)
    ]
    assert product.decrypt(made, "linear", SIZE) == expected


def test_slot_weights_are_exact_and_zero_elsewhere(
    product: ProductAlliance, columns: Columns
) -> None:
    (x, cx), (y, cy), *_ = columns
    made = product.evaluator.slot_weighted([cx, cy], [[1, -2, 0, 4], [0, 5]])
    expected = [x[0], -2 * x[1] + 5 * y[1], 0, 4 * x[3], 0, 0]
    assert product.decrypt(made, "linear", 6) == expected


def test_a_masked_linear_form_shows_the_masks_slots_only(
    product: ProductAlliance, columns: Columns
) -> None:
    (x, cx), (y, cy), *_ = columns
    mask = [i % 3 == 0 for i in range(SIZE)]
    made = product.evaluator.masked_linear(product.encrypt(mask), [cx, cy], [30, -7])
    expected = [m * (30 * a - 7 * b) for m, a, b in zip(mask, x, y, strict=True)]
    assert product.decrypt(made, "masked-linear", SIZE) == expected


def test_a_flag_check_is_zero_for_flags_and_for_nothing_else(product: ProductAlliance) -> None:
    good = [product.encrypt([i % 2 for i in range(SIZE)]), product.encrypt([1] * SIZE)]
    weights = [(1 << 32) - 1, 1]
    slots = product.ring.profile.slots
    made = product.evaluator.flag_check(good, weights)
    assert not any(product.decrypt(made, "flags", slots))
    bad = product.encrypt([0, 1, 2, -1, 1])
    made = product.evaluator.flag_check([good[0], bad], [5, 7])
    assert product.decrypt(made, "flags", 6) == [0, 0, 7 * 2, 7 * 2, 0, 0]


def test_a_mask_check_is_zero_for_a_mask_within_the_flags(product: ProductAlliance) -> None:
    flags = product.encrypt([1, 1, 0, 0])
    within, outside, wild = (
        product.encrypt(slots) for slots in ([0, 1, 0, 0], [0, 1, 1, 0], [3, 1, 0, 0])
    )
    check = product.evaluator.mask_check
    assert not any(product.decrypt(check(within, flags, (5, 9)), "flags", 16380))
    assert product.decrypt(check(outside, flags, (5, 9)), "flags", 4) == [0, 0, 9, 0]
    assert product.decrypt(check(wild, flags, (5, 9)), "flags", 4) == [30, 0, 0, 0]


def test_sums_and_differences_are_exact(product: ProductAlliance, columns: Columns) -> None:
    (x, cx), (y, cy), *_ = columns
    total, rest = product.evaluator.add(cx, cy), product.evaluator.subtract(cx, cy)
    both = list(zip(x, y, strict=True))
    assert product.decrypt(total, "column-sum", SIZE) == [a + b for a, b in both]
    assert product.decrypt(rest, "column-sum", SIZE) == [a - b for a, b in both]


def test_results_are_the_same_bytes_at_every_guardian(
    product: ProductAlliance, columns: Columns
) -> None:
    other = Evaluator(PROFILE, product.relin_key)
    (_, cx), (_, cy), *_ = columns
    for form in ("multiply", "add", "subtract"):
        assert getattr(other, form)(cx, cy) == getattr(product.evaluator, form)(cx, cy)
    assert other.masked_linear(cx, [cy], [3]) == product.evaluator.masked_linear(cx, [cy], [3])


def test_products_of_proven_inputs_of_two_members_are_exact(product: ProductAlliance) -> None:
    given = [([3, 4], [1, 1]), ([5, -6], [1, 0])]
    inputs = [
        encrypt_contribution(PROFILE, product.public_key, batches, context=b"proven")
        for batches in given
    ]
    values, flags = (
        sum_contributions(PROFILE, [one.ciphertexts[batch] for one in inputs]) for batch in (0, 1)
    )
    made = product.evaluator.multiply(values, flags)
    assert product.decrypt(made, "product-sum", 1) == [8 * 2 + -2 * 1]
    with pytest.raises(MalformedMessage):  # a contribution is half a ciphertext
        product.evaluator.multiply(inputs[0].ciphertexts[0], flags)


def test_operands_that_no_circuit_covers_are_refused(
    product: ProductAlliance, columns: Columns
) -> None:
    evaluator = product.evaluator
    cx = columns[0][1]
    bad_forms = [
        lambda: evaluator.product_sum([]),
        lambda: evaluator.product_sum([(cx, cx)] * 65),
        lambda: evaluator.linear([], []),
        lambda: evaluator.linear([cx] * 65, [1] * 65),
        lambda: evaluator.linear([cx], [1 << 20]),
        lambda: evaluator.linear([cx], [-(1 << 20)]),
        lambda: evaluator.linear([cx], [1, 2]),
        lambda: evaluator.linear([cx], [0]),
        lambda: evaluator.masked_linear(cx, [cx], [1 << 20]),
        lambda: evaluator.flag_check([cx], [1 << 32]),
        lambda: evaluator.flag_check([cx, cx], [1]),
        lambda: evaluator.mask_check(cx, cx, (3, 3)),
        lambda: evaluator.slot_weighted([cx], [[0, 0]]),
        lambda: evaluator.slot_weighted([cx], []),
    ]
    for form in bad_forms:
        with pytest.raises(BadForm):
            form()
    with pytest.raises(ValueOutOfRange):
        evaluator.slot_weighted([cx], [[product.ring.profile.message_bound + 1]])


def test_ciphertexts_of_another_key_or_profile_are_refused(product: ProductAlliance) -> None:
    stranger = keys.member_secret(PROFILE, b"x" * 32, b"other")
    key = keys.combine_public_key(PROFILE, b"other", [stranger.public_key_share()])
    foreign = encrypt(PROFILE, key, [1])
    own = product.encrypt([1])
    for pair in ((foreign, own), (own, foreign)):
        with pytest.raises(WrongKey):
            product.evaluator.multiply(*pair)
    with pytest.raises(WrongProfile):
        product.evaluator.multiply(own[:5] + b"\1" + own[6:], own)
    profile = product.ring.profile
    bare = Ciphertext.parse(profile, own)
    bare.polynomials[1] = 0
    with pytest.raises(TransparentCiphertext):
        product.evaluator.add(bare.to_bytes(profile), own)
    with pytest.raises(TransparentCiphertext):
        product.evaluator.subtract(own, own)
    with pytest.raises(TransparentCiphertext):
        product.evaluator.masked_linear(own, [own, own], [1, -1])
    with pytest.raises(MalformedMessage):
        Evaluator(PROFILE, own)
    assert RelinKey.parse(profile, product.relin_key).key_id == product.evaluator.key_id
