"""Our encryption with known randomness: what SEAL makes of it, its noise, and its sums."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import encryption, keys
from cipherward_threshold.batching import plaintext_coefficients
from cipherward_threshold.errors import (
    MalformedMessage,
    TooFewShares,
    TooManyShares,
    TransparentCiphertext,
    WrongKey,
)
from cipherward_threshold.messages import Ciphertext
from cipherward_threshold.parameters import CBD_BOUND
from cipherward_threshold.proofs.ciphertexts import (
    BatchForm,
    Content,
    fresh_witness,
    half_message,
    scaled_modulo,
)
from cipherward_threshold.proofs.contributions import encrypt_contribution
from cipherward_threshold.proofs.messages import Contribution, HalfCiphertext
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues
from cipherward_threshold.sealapi import seal

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"


def decrypted_by_seal(alliance: Alliance, ciphertext: bytes) -> list[int]:
    """Let SEAL's own decryptor work, with the joint secret key in SEAL's form."""
    ring = alliance.ring
    primes = len(ring.profile.key_primes)
    values = np.array([alliance.joint_secret], dtype=np.int64)
    secret = ring.ntt(ring.from_signed(values, primes))[0]
    polynomials = Ciphertext.parse(ring.profile, ciphertext).polynomials
    plain = seal.Plaintext()
    with ring.lock:
        key = ring.key_form.secret_key(secret, ring.parms_id(primes))
        level = ring.parms_id(len(ring.profile.data_primes))
        seal.Decryptor(ring.context, key).decrypt(
            ring.key_form.ciphertext(polynomials, level, ntt=False), plain
        )
        return seal.BatchEncoder(ring.context).decode_int64(plain)


def doubled(ring: Ring, contribution: bytes) -> Residues:
    half = HalfCiphertext.parse(ring.profile, contribution).polynomials
    return ring.add(half, half)


def test_seal_decrypts_twice_our_ciphertext_in_every_slot(alliance: Alliance) -> None:
    profile = alliance.ring.profile
    most = profile.message_bound
    slots = ([most, -most, 0, 1, -1] * 1638)[: profile.slots]
    (ciphertext,) = alliance.contribute(slots).ciphertexts
    total = encryption.sum_contributions(PROFILE, [ciphertext])
    assert decrypted_by_seal(alliance, total) == slots + [0] * profile.check_slots


def test_our_sum_and_a_ciphertext_of_seal_add_up(alliance: Alliance) -> None:
    ours = encryption.sum_contributions(PROFILE, alliance.contribute([1, 2], [30]).ciphertexts)
    total = encryption.add_ciphertexts(PROFILE, [ours, alliance.encrypt([-500, 7])])
    assert decrypted_by_seal(alliance, total)[:3] == [-469, 9, 0]


def test_the_plaintext_term_is_seals_own_rounding(ring: Ring) -> None:
    """-2r / t mod Q is round(Q m / t), or that and a multiple of Q / t, on all coefficients."""
    profile = ring.profile
    modulus, t = profile.data_modulus, profile.plain_modulus
    slots = [3, -1, 2**50, -(2**56)]
    r = half_message(ring, slots).tolist()
    m = plaintext_coefficients(ring, slots).tolist()
    assert all(-(t // 2) <= value <= t // 2 for value in r)
    inverse = pow(t, -1, modulus)
    for half, coefficient in zip(r, m, strict=True):
        exact = (modulus * coefficient + t // 2) // t
        difference = (-2 * half * inverse - exact) % modulus
        difference = min(difference, modulus - difference)
        # 2r may be a t away from the centred residue: then the term is one unit of noise away.
        assert difference <= 1


def test_products_modulo_t_are_exact_at_every_edge(ring: Ring) -> None:
    numbers = np.random.default_rng(3)
    for modulus in (ring.profile.plain_modulus, 2**63 - 25, 3):
        edges = [0, 1, modulus - 1, modulus // 2, 2**64 - 1, 2**32, 2**32 - 1, 2**63]
        drawn = numbers.integers(0, 2**64, 500, dtype=np.uint64)
        values = np.concatenate([np.array(edges, dtype=np.uint64), drawn])
        for scale in (0, 1, modulus - 1, modulus // 2, 2**32 % modulus):
            expected = [int(value) * scale % modulus for value in values]
            assert scaled_modulo(values, scale, modulus).tolist() == expected


@pytest.mark.slow
def test_noise_is_that_of_honest_randomness_and_far_below_what_is_permitted(
    ring: Ring, big: BigIntegers, alliance: Alliance
) -> None:
    profile = ring.profile
    modulus, t = profile.data_modulus, profile.plain_modulus
    (ciphertext,) = alliance.contribute([1, -1, 2**56]).ciphertexts
    phase = big.lift(alliance.phase(doubled(ring, ciphertext))[0])
    nearest = [(2 * t * x + modulus) // (2 * modulus) for x in phase]
    exact = [(2 * modulus * m + t) // (2 * t) for m in nearest]
    noise = max(abs(x - y) for x, y in zip(phase, exact, strict=True))
    dealers, n = 4, profile.degree
    assert noise <= 2 * (2 * dealers * n * CBD_BOUND + CBD_BOUND + 1)
    assert 2**8 < noise < 2**15  # typical is 2^13: the bound above is the worst case


def test_two_encryptions_of_the_same_have_nothing_in_common(ring: Ring, alliance: Alliance) -> None:
    made = alliance.contribute([5], [5]).ciphertexts
    other = alliance.contribute([5], [5]).ciphertexts
    polynomials = [HalfCiphertext.parse(ring.profile, x).polynomials for x in (*made, *other)]
    for first, second in permutations(polynomials, 2):
        assert (first != second).mean() > 0.99


def test_a_repeated_seed_gives_no_two_messages_the_same_randomness(
    ring: Ring, alliance: Alliance
) -> None:
    """A copied or restored machine may draw the same octets again; the message is mixed in."""
    form = BatchForm.of(ring, alliance.public_key, Content.MESSAGES, 2)
    messages = np.stack([half_message(ring, [value]) for value in (1, 1)])
    first = fresh_witness(form, messages, bytes(32))
    messages[0, 3] += 1
    second = fresh_witness(form, messages, bytes(32))
    assert (first.secret[0] != second.secret[0]).mean() > 0.5
    assert (first.secret[0] != first.secret[1]).mean() > 0.5
    assert (first.secret[1] == second.secret[1]).all()


def test_a_sum_is_the_same_in_any_order_and_exact(alliance: Alliance) -> None:
    values = ([1, 10], [2, -20], [-4, 30])
    inputs = [alliance.contribute(slots).ciphertexts[0] for slots in values]
    total = encryption.sum_contributions(PROFILE, inputs)
    assert all(
        encryption.sum_contributions(PROFILE, order) == total for order in permutations(inputs)
    )
    assert decrypted_by_seal(alliance, total)[:3] == [-1, 20, 0]


def test_a_contribution_is_decrypted_by_nothing(
    alliance: Alliance, contribution: Contribution, ciphertext: bytes
) -> None:
    """Undoubled it shows parities of the key: another kind of message, refused everywhere."""
    half, _ = contribution.ciphertexts
    with pytest.raises(MalformedMessage):
        alliance.share(1, half, (1, 2, 3))
    with pytest.raises(MalformedMessage):
        encryption.add_ciphertexts(PROFILE, [ciphertext, half])
    with pytest.raises(MalformedMessage):
        encryption.c1_digest(PROFILE, half)
    with pytest.raises(MalformedMessage):
        encryption.parsed_ciphertext(alliance.ring.profile, half)


def test_what_is_decrypted_is_no_contribution(ciphertext: bytes) -> None:
    """Otherwise a sum that was doubled already would be doubled again."""
    with pytest.raises(MalformedMessage):
        encryption.sum_contributions(PROFILE, [ciphertext])


def test_a_sum_has_a_bounded_number_of_terms_under_one_key(
    ring: Ring, alliance: Alliance, contribution: Contribution
) -> None:
    half, _ = contribution.ciphertexts
    most = ring.profile.contributors_max
    with pytest.raises(TooFewShares):
        encryption.sum_contributions(PROFILE, [])
    with pytest.raises(TooManyShares) as refusal:
        encryption.sum_contributions(PROFILE, [half] * (most + 1))
    assert refusal.value.metadata == {"have": str(most + 1), "most": str(most)}
    secret = keys.member_secret(PROFILE, bytes(32), b"else")
    other = keys.combine_public_key(PROFILE, b"else", [secret.public_key_share()])
    foreign = encrypt_contribution(PROFILE, other, [[1]], context=b"")
    with pytest.raises(WrongKey):
        encryption.sum_contributions(PROFILE, [half, *foreign.ciphertexts])
    assert encryption.sum_contributions(PROFILE, [half, half])  # under one key it is a sum
    assert alliance.public_key != other


def test_contributions_whose_c1_cancel_are_refused(ring: Ring, contribution: Contribution) -> None:
    """The sum would be its own plaintext."""
    half = HalfCiphertext.parse(ring.profile, contribution.ciphertexts[0])
    opposite = HalfCiphertext(half.key_id, ring.negate(half.polynomials))
    with pytest.raises(TransparentCiphertext):
        encryption.sum_contributions(
            PROFILE, [half.to_bytes(ring.profile), opposite.to_bytes(ring.profile)]
        )
