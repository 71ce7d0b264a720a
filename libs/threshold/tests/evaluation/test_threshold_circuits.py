"""The table of circuits: every row derived again, measured, and the only one its shares fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption, noise
from cipherward_threshold.circuits import circuit, circuit_names, circuit_of
from cipherward_threshold.errors import (
    MalformedMessage,
    ResultIsNoise,
    UnknownCircuit,
    WrongCircuit,
)
from cipherward_threshold.messages import DecryptionShare
from cipherward_threshold.parameters import Profile, profile
from cipherward_threshold.proofs.bounds import (
    BATCH_MAX,
    encryption_shape,
    key_share_shape,
    permitted_noise_bits,
)
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Signed
from cipherward_threshold.switching import RequesterKey, combine_switched, switch_share

if TYPE_CHECKING:
    from conftest import ChosenKey, ProductAlliance

PROFILE = "product-1"
PRODUCT, ADDITIVE = profile("product-1"), profile("additive-1")
MakeKey = Callable[[Signed, Signed], "ChosenKey"]


def home(name: str) -> Profile:
    """Return the profile that has this circuit."""
    for candidate in (ADDITIVE, PRODUCT):
        try:
            circuit(name, candidate)
        except UnknownCircuit:
            continue
        return candidate
    raise AssertionError(name)


@pytest.mark.parametrize("name", circuit_names())
def test_every_circuit_keeps_what_its_row_promises(name: str) -> None:
    parameters = home(name)
    row = circuit(name, parameters)
    assert row.security_bits <= row.flooded_security_bits(row.noise_bits)
    assert circuit_of(row.number, parameters) is row
    floods = parameters.guardians_max << row.flooding_bits
    assert floods + 2**row.noise_bits < parameters.noise_capacity()
    if name != "test":  # what that one may leak is counted differently: docs/noise.md
        assert row.security_bits - math.log2(row.releases_max) >= 40


@pytest.mark.parametrize("name", [name for name in circuit_names() if name != "sum"])
def test_ten_bits_are_left_below_wrap_around_whatever_the_malicious_add(name: str) -> None:
    row = circuit(name, PRODUCT)
    inputs = 1 if name == "flags" else PRODUCT.contributors_max
    growth = noise.CHECK_WEIGHT_BITS if name == "flags" else noise.WEIGHT_BITS
    whole = noise.product_whole_bits(PRODUCT, inputs) + growth + math.log2(noise.COLUMNS_MAX)
    floods = row.flooding_bits + math.log2(PRODUCT.guardians_max)
    together = noise.together_bits(
        floods, whole, noise.relinearisation_bits(PRODUCT, circuit("test", PRODUCT).flooding_bits)
    )
    assert math.log2(PRODUCT.noise_capacity()) - together >= 10


def test_ten_floods_of_an_additive_sum_leave_what_its_whole_noise_needs() -> None:
    """With one bit to spare and no chance of failing: the bound is one of the worst case."""
    row = circuit("sum", ADDITIVE)
    permitted = permitted_noise_bits(
        ADDITIVE,
        BATCH_MAX,
        guardians=ADDITIVE.members_max,
        contributors=ADDITIVE.contributors_max,
    )
    floods = ADDITIVE.guardians_max << row.flooding_bits
    assert floods + 2**permitted.whole_bits < ADDITIVE.noise_capacity()


def test_numbers_of_circuits_are_distinct() -> None:
    rows = [circuit(name, home(name)) for name in circuit_names()]
    assert len({row.number for row in rows}) == len(rows)


@pytest.mark.parametrize("name", ["", "sums", "column-sum", "SUM"])
def test_an_unknown_circuit_or_one_of_another_profile_is_refused(name: str) -> None:
    with pytest.raises(UnknownCircuit):
        circuit(name, ADDITIVE)
    with pytest.raises(UnknownCircuit):
        decryption.combine("additive-1", b"", [], 1, circuit=name)
    with pytest.raises(UnknownCircuit):
        combine_switched("additive-1", b"", [], circuit=name)


@pytest.mark.slow
def test_a_share_under_an_unknown_circuit_is_never_made(product: ProductAlliance) -> None:
    ciphertext = product.encrypt([1])
    with pytest.raises(UnknownCircuit):
        product.share(1, ciphertext, "sum")
    with pytest.raises(UnknownCircuit):
        switch_share(
            PROFILE,
            product.key_shares[1],
            ciphertext,
            requester_public_key=RequesterKey.generate(PROFILE, b"r" * 32).public_key(),
            point=1,
            online=(1, 3),
            seed=bytes(32),
            context=b"",
            circuit="sum",
        )


@pytest.mark.slow
def test_shares_of_one_circuit_do_not_combine_with_anothers(product: ProductAlliance) -> None:
    ciphertext = product.encrypt([1])
    first = product.share(1, ciphertext, "linear")
    second = product.share(3, ciphertext, "column-sum")
    for name in ("linear", "column-sum", "flags"):
        with pytest.raises(WrongCircuit):
            decryption.combine(PROFILE, ciphertext, [first, second], 1, circuit=name)


@pytest.mark.slow
def test_the_circuit_decides_the_flooding_and_is_in_the_header(product: ProductAlliance) -> None:
    ciphertext = product.encrypt([1])
    read = {
        name: DecryptionShare.parse(PRODUCT, product.share(1, ciphertext, name))
        for name in circuit_names()
        if name != "sum"
    }
    assert all(share.circuit.name == name for name, share in read.items())
    values = [share.value for share in read.values()]
    for place, value in enumerate(values):
        for other in values[place + 1 :]:
            assert (value != other).mean() > 0.99
    forged = bytearray(product.share(1, ciphertext, "linear"))
    forged[6] = circuit("sum", ADDITIVE).number
    with pytest.raises(MalformedMessage):
        DecryptionShare.parse(PRODUCT, bytes(forged))


@pytest.mark.slow
def test_a_share_relabelled_for_another_circuit_is_noise(product: ProductAlliance) -> None:
    ciphertext = product.encrypt([1])
    forged = bytearray(product.share(1, ciphertext, "product-sum"))
    forged[6] = circuit("flags", PRODUCT).number
    with pytest.raises(ResultIsNoise):
        decryption.combine(
            PROFILE,
            ciphertext,
            [bytes(forged), product.share(3, ciphertext, "flags")],
            1,
            circuit="flags",
        )


def permitted_sizes() -> tuple[int, int, int]:
    """Return |u'|, |e1'| of twice an accepted input and |s'| of an accepted key share."""
    encryption, dealer = encryption_shape(PRODUCT, BATCH_MAX), key_share_shape(PRODUCT)
    return (
        encryption.permitted(encryption.secret),
        encryption.permitted(encryption.widths[2]),
        dealer.permitted(dealer.secret),
    )


@pytest.fixture(scope="module")
def honest_key(product_ring: Ring, chosen_key: MakeKey) -> ChosenKey:
    """Sixteen ternary secrets; the relinearisation error is that of an honest ceremony."""
    numbers = np.random.default_rng(3)
    degree = product_ring.profile.degree
    secret = numbers.integers(-1, 2, (16, degree)).sum(axis=0, keepdims=True)
    return chosen_key(secret, numbers.integers(-(2**28), 2**28, (1, degree)))


@pytest.mark.slow
def test_every_circuits_noise_is_below_its_bound_with_inputs_as_large_as_proofs_permit(
    honest_key: ChosenKey,
) -> None:
    u, e, _ = permitted_sizes()
    key, evaluator = honest_key, honest_key.evaluator
    columns = [key.encrypt([1, 0, 1, 7], u=u, e=e) for _ in range(4)]
    most = (1 << noise.WEIGHT_BITS) - 1
    check = (1 << noise.CHECK_WEIGHT_BITS) - 1
    made = {
        "column-sum": evaluator.add(columns[0], columns[1]),
        "linear": evaluator.slot_weighted(columns, [[PRODUCT.message_bound, -3]] * 4),
        "product-sum": evaluator.product_sum([(columns[0], columns[1]), (columns[2], columns[3])]),
        "masked-linear": evaluator.masked_linear(columns[0], columns[1:], [most, -most, most]),
        "flags": evaluator.flag_check(columns, [check] * 4),
        "test": evaluator.multiply(columns[0], columns[1]),
    }
    for name, ciphertext in made.items():
        measured = key.phases.noise_bits(ciphertext)
        assert measured < circuit(name, PRODUCT).noise_bits, name
        assert measured > 40, name  # the inputs really are far from honest ones


@pytest.mark.slow
def test_a_key_share_as_large_as_its_proof_permits_stays_within_the_bounds(
    product_ring: Ring, chosen_key: MakeKey
) -> None:
    """Honest inputs: all of the noise is secret. Malicious ones: the whole must not wrap."""
    u, e, s = permitted_sizes()
    numbers = np.random.default_rng(4)
    degree = product_ring.profile.degree
    secret = numbers.integers(-s // 2, s // 2, (1, degree))
    key = chosen_key(secret, np.zeros((1, degree), dtype=np.int64))
    honest = [key.encrypt([3, 4], u=1, e=21) for _ in range(2)]
    product = key.evaluator.multiply(*honest)
    assert key.phases.slots(product)[:3] == [9, 16, 0]
    assert key.phases.noise_bits(product) < noise.product_secret_bits(PRODUCT, 1)
    wild = [key.encrypt([3, 4], u=u, e=e) for _ in range(2)]
    product = key.evaluator.multiply(*wild)
    assert key.phases.slots(product)[:3] == [9, 16, 0]
    assert key.phases.noise_bits(product) < noise.product_whole_bits(PRODUCT, 1)


@pytest.mark.slow
def test_honest_noise_of_products_is_far_below_what_is_flooded(product: ProductAlliance) -> None:
    first, second = product.encrypt([5, 6]), product.encrypt([-7, 8])
    made = product.evaluator.multiply(first, second)
    measured = product.phases.noise_bits(made)
    assert 70 < measured < 95  # docs/noise.md has 2^79
    assert product.phases.noise_bits(first) < 16
