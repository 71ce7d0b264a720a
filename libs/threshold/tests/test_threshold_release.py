"""From encryption to the released sum: exact, flooded, deterministic, for three of four members."""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption, domains, encryption, keys, shamir
from cipherward_threshold.batching import rounded_slots
from cipherward_threshold.circuits import circuit
from cipherward_threshold.errors import TooManyShares, TooManySlots, ValueOutOfRange
from cipherward_threshold.messages import (
    Ciphertext,
    DecryptionShare,
    KeyShare,
    Switched,
    SwitchShare,
)
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Stream, ternary
from cipherward_threshold.switching import (
    RequesterKey,
    combine_switched,
    requester_fingerprint,
)

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"
SETS = tuple(combinations((1, 2, 3, 4), 3))
REQUESTER = RequesterKey.generate(PROFILE, b"r" * 32)


def sums(contributions: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*contributions, strict=True)]


@pytest.mark.usefixtures("either_transport")
@pytest.mark.parametrize("online", SETS)
def test_every_three_of_four_decrypt_the_exact_sum(
    alliance: Alliance, contributions: list[list[int]], online: tuple[int, ...]
) -> None:
    inputs = [alliance.encrypt(slots) for slots in contributions]  # other ciphertexts every time
    total = encryption.add_ciphertexts(PROFILE, inputs)
    shares = [alliance.share(point, total, online) for point in online]
    assert decryption.combine(PROFILE, total, shares[::-1], 35, circuit="sum") == sums(
        contributions
    )


@pytest.mark.usefixtures("either_transport")
@pytest.mark.parametrize("online", SETS)
def test_every_three_of_four_switch_the_exact_sum_to_the_requester(
    alliance: Alliance, contributions: list[list[int]], online: tuple[int, ...]
) -> None:
    inputs = [alliance.encrypt(slots) for slots in contributions]
    total = encryption.add_ciphertexts(PROFILE, inputs)
    public_key = REQUESTER.public_key()
    shares = [alliance.switch(point, total, online, public_key) for point in online]
    switched = combine_switched(PROFILE, total, shares[::-1], circuit="sum")
    assert REQUESTER.decrypt(switched, 35) == sums(contributions)


def test_all_four_may_answer_together(alliance: Alliance) -> None:
    total = encryption.add_ciphertexts(PROFILE, [alliance.encrypt([5, -6])] * 2)
    shares = [alliance.share(point, total, [4, 2, 1, 3]) for point in (1, 2, 3, 4)]
    assert decryption.combine(PROFILE, total, shares, 2, circuit="sum") == [10, -12]


def test_the_ends_of_the_message_range_are_exact_in_every_slot(alliance: Alliance) -> None:
    profile = alliance.ring.profile
    most = profile.message_bound
    quarter = most // 4
    vectors = [[quarter, -quarter, most * (not i), -most * (not i), i] * 1638 for i in range(4)]
    vectors = [vector[: profile.slots] for vector in vectors]
    total = encryption.add_ciphertexts(PROFILE, [alliance.encrypt(vector) for vector in vectors])
    shares = [alliance.share(point, total, (1, 2, 4)) for point in (1, 2, 4)]
    result = decryption.combine(PROFILE, total, shares, profile.slots, circuit="sum")
    assert result == sums(vectors)
    assert {max(result), min(result)} == {most, -most}


@pytest.mark.slow
@pytest.mark.usefixtures("either_transport")
def test_a_decryption_share_is_the_weighted_product_and_the_flooding_only(
    ring: Ring, big: BigIntegers, alliance: Alliance
) -> None:
    """Also: the weight comes before the flooding, or the flooding would be as large as Q."""
    ciphertext = alliance.encrypt([1, 2, 3])
    c1 = big.lift(Ciphertext.parse(ring.profile, ciphertext).polynomials[1])
    modulus, bits = ring.profile.data_modulus, circuit("sum", ring.profile).flooding_bits
    for point in (1, 3):
        share = DecryptionShare.parse(ring.profile, alliance.share(point, ciphertext, (1, 3, 4)))
        held = KeyShare.parse(ring.profile, alliance.key_shares[point])
        weight = shamir.lagrange(ring.profile.data_primes, (1, 3, 4), point)
        weighted = ring.intt(ring.multiply(held.value, ring.constant(weight)))
        product = big.product(c1, big.lift(weighted[0]))
        flooding = [
            big.centred(x - y, modulus)
            for x, y in zip(big.lift(share.value[0]), product, strict=True)
        ]
        assert all(-(1 << bits) <= x < 1 << bits for x in flooding)
        scaled = [x / 2**bits for x in flooding]
        assert abs(sum(scaled) / len(scaled)) < 8 * math.sqrt(1 / 3 / len(scaled))
        assert abs(sum(x * x for x in scaled) / len(scaled) - 1 / 3) < 0.03


@pytest.mark.slow
def test_noise_of_four_encryptions_is_below_its_bound_and_flooding_leaves_two_bits(
    ring: Ring, big: BigIntegers, alliance: Alliance, contributions: list[list[int]]
) -> None:
    profile = ring.profile
    total = encryption.add_ciphertexts(PROFILE, [alliance.encrypt(x) for x in contributions])
    c0, c1 = Ciphertext.parse(profile, total).polynomials
    modulus, t = profile.data_modulus, profile.plain_modulus
    masked = big.product(big.lift(c1), alliance.joint_secret)
    phase = [x + y for x, y in zip(big.lift(c0), masked, strict=True)]

    def noise_of(values: list[int]) -> int:
        nearest = [(2 * t * x + modulus) // (2 * modulus) for x in values]  # round(t x / Q)
        exact = [(2 * modulus * m + t) // (2 * t) for m in nearest]  # round(Q m / t)
        return max(abs(x - y) for x, y in zip(values, exact, strict=True))

    fresh = noise_of(phase)
    assert fresh < 4 * profile.fresh_noise_bound(members=4)
    assert fresh < 2**12  # typical is 2^9: the bound above is the worst case
    shares = [
        DecryptionShare.parse(profile, alliance.share(point, total, (1, 2, 3)))
        for point in (1, 2, 3)
    ]
    together = ring.sum([c0[None], *(share.value for share in shares)])
    flooded = noise_of(big.lift(together[0]))
    row = circuit("sum", profile)
    assert flooded > 2**row.flooding_bits  # three uniform ones, 8192 draws: far above one
    assert math.log2(profile.noise_capacity() / flooded) >= 2
    assert row.flooded_security_bits(math.log2(fresh)) > 90


@pytest.mark.slow
def test_ten_guardians_still_decrypt_exactly(ring: Ring) -> None:
    points = tuple(range(1, ring.profile.guardians_max + 2))
    online = points[1:]
    secret = keys.member_secret(PROFILE, b"t" * 32, b"ten")
    public_key = keys.combine_public_key(PROFILE, b"ten", [secret.public_key_share()])
    held = {
        point: shamir.aggregate_shares(PROFILE, [deal])
        for point, deal in secret.deal(points, len(online)).items()
    }
    ciphertext = encryption.encrypt(PROFILE, public_key, [ring.profile.message_bound, -7])

    def share(point: int, chosen: tuple[int, ...]) -> bytes:
        return decryption.partial_decryption(
            PROFILE,
            held[point],
            ciphertext,
            point=point,
            online=chosen,
            seed=bytes([point]) * 32,
            context=b"",
            circuit="sum",
        )

    shares = [share(point, online) for point in online]
    assert decryption.combine(PROFILE, ciphertext, shares, 2, circuit="sum") == [
        ring.profile.message_bound,
        -7,
    ]
    with pytest.raises(TooManyShares) as refusal:
        share(1, points)
    assert refusal.value.metadata == {"have": "11", "most": "10"}


@pytest.mark.slow
@pytest.mark.usefixtures("either_transport")
def test_the_requesters_phase_is_the_message_plus_small_noise(
    ring: Ring, big: BigIntegers, alliance: Alliance
) -> None:
    """Read the switched result with integers, from the requester's secret alone."""
    ciphertext = alliance.encrypt([11, -12])
    public_key = REQUESTER.public_key()
    shares = [alliance.switch(point, ciphertext, (2, 3, 4), public_key) for point in (2, 3, 4)]
    switched = Switched.parse(
        ring.profile, combine_switched(PROFILE, ciphertext, shares, circuit="sum")
    )
    stream = Stream(domains.REQUESTER_SECRET, b"r" * 32, PROFILE.encode())
    secret = [int(x) for x in ternary(stream, ring.profile.degree)[0]]
    c0, c1 = (big.lift(row) for row in switched.polynomials)
    modulus = ring.profile.data_modulus
    phase = [big.centred(x + y, modulus) for x, y in zip(c0, big.product(c1, secret), strict=True)]
    moduli = ring.profile.data_primes
    residues = [[x % prime for x in phase] for prime in moduli]
    assert rounded_slots(ring, np.array([residues], dtype=np.uint64))[:3] == [11, -12, 0]
    assert switched.requester == requester_fingerprint(public_key) == REQUESTER.fingerprint()


def test_a_share_is_decided_by_key_ciphertext_set_context_and_seed(alliance: Alliance) -> None:
    profile = alliance.ring.profile
    ciphertext = alliance.encrypt([1])
    first = alliance.share(1, ciphertext, (1, 2, 3))
    assert first == alliance.share(1, ciphertext, (3, 2, 1))

    def flooding(online: tuple[int, ...], seed: bytes, context: bytes) -> bytes:
        share = decryption.partial_decryption(
            PROFILE,
            alliance.key_shares[1],
            ciphertext,
            point=1,
            online=online,
            seed=seed,
            context=context,
            circuit="sum",
        )
        return DecryptionShare.parse(profile, share).value.tobytes()

    given = [
        flooding((1, 2, 3), alliance.seed(1), b"order"),
        flooding((1, 2, 3), alliance.seed(1), b"other"),
        flooding((1, 2, 3), b"s" * 32, b"order"),
        flooding((1, 2, 4), alliance.seed(1), b"order"),
        flooding((1, 2, 3, 4), alliance.seed(1), b"order"),
    ]
    assert given[0] == DecryptionShare.parse(profile, first).value.tobytes()
    assert len(set(given)) == len(given)


def test_a_switch_share_is_the_same_again_and_another_for_another_requester(
    alliance: Alliance,
) -> None:
    ciphertext = alliance.encrypt([1])
    again = RequesterKey.generate(PROFILE, b"r" * 32).public_key()
    other = RequesterKey.generate(PROFILE, b"o" * 32).public_key()
    first = alliance.switch(2, ciphertext, (1, 2, 3), REQUESTER.public_key())
    assert first == alliance.switch(2, ciphertext, (1, 2, 3), again)
    second = alliance.switch(2, ciphertext, (1, 2, 3), other)
    values = [SwitchShare.parse(alliance.ring.profile, one).value for one in (first, second)]
    assert (values[0] != values[1]).mean() > 0.99


def test_encrypting_twice_gives_two_ciphertexts_and_a_sum_has_one_form(alliance: Alliance) -> None:
    first, second = alliance.encrypt([3]), alliance.encrypt([3])
    assert first != second
    assert encryption.c1_digest(PROFILE, first) != encryption.c1_digest(PROFILE, second)
    total = encryption.add_ciphertexts(PROFILE, [first, second])
    assert total == encryption.add_ciphertexts(PROFILE, [second, first])
    assert encryption.add_ciphertexts(PROFILE, [first]) == first


@pytest.mark.parametrize("slots", [[], [0] * 8189])
def test_no_slot_or_one_too_many_is_refused(alliance: Alliance, slots: list[int]) -> None:
    with pytest.raises(TooManySlots):
        alliance.encrypt(slots)


@pytest.mark.parametrize("excess", [1, -1])
def test_a_slot_that_would_wrap_is_refused(alliance: Alliance, excess: int) -> None:
    most = alliance.ring.profile.message_bound
    with pytest.raises(ValueOutOfRange):
        alliance.encrypt([0, excess * (most + 1)])


def test_threads_may_share_a_ring(alliance: Alliance) -> None:
    ciphertext = alliance.encrypt([1, 2])
    expected = [alliance.share(point, ciphertext, (1, 2, 3)) for point in (1, 2, 3)]
    with ThreadPoolExecutor(3) as pool:
        rounds = [
            pool.submit(alliance.share, point, ciphertext, (1, 2, 3))
            for _ in range(4)
            for point in (1, 2, 3)
        ]
        assert [task.result(timeout=60) for task in rounds] == expected * 4


@pytest.mark.slow
def test_another_process_recomputes_the_same_share(alliance: Alliance) -> None:
    ciphertext = alliance.encrypt([1, 2])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        task = pool.submit(
            decryption.partial_decryption,
            PROFILE,
            alliance.key_shares[1],
            ciphertext,
            point=1,
            online=(1, 2, 3),
            seed=alliance.seed(1),
            context=b"order",
            circuit="sum",
        )
        assert task.result(timeout=60) == alliance.share(1, ciphertext, (1, 2, 3))
