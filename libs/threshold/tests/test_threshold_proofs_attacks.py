"""Contributors who do all they can: what the proof refuses, and what it accepts but is harmless."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption, encryption
from cipherward_threshold.errors import MalformedMessage, ProofRejected
from cipherward_threshold.proofs.bounds import encryption_shape
from cipherward_threshold.proofs.ciphertexts import (
    BatchForm,
    Content,
    fresh_witness,
    half_message,
)
from cipherward_threshold.proofs.contributions import verify_contribution
from cipherward_threshold.proofs.integers import (
    Limbs,
    add_rotated,
    inside,
    mask,
    rotatable,
    rotation,
)
from cipherward_threshold.proofs.messages import HalfCiphertext, proof_message
from cipherward_threshold.proofs.packing import packed
from cipherward_threshold.proofs.proving import prove, verify
from cipherward_threshold.proofs.relation import Statement, Witness, exponents
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Residues, Signed, Stream
from cipherward_threshold.wire import Kind

if TYPE_CHECKING:
    from conftest import Alliance, BigIntegers

PROFILE = "additive-1"
CONTEXT = b"contribution"
C1_ERROR = 2  # the place of e1 among the parts of a witness


@dataclass(frozen=True)
class Batch:
    """What a cheater starts from: an honest batch with all its secrets."""

    form: BatchForm
    witness: Witness
    halves: tuple[HalfCiphertext, ...]

    def changed(self, c1: Residues) -> tuple[HalfCiphertext, ...]:
        """Return the ciphertexts with a polynomial added to the last c1."""
        *first, last = self.halves
        ring = self.form.relation.ring
        polynomials = last.polynomials.copy()
        polynomials[1] = ring.add(polynomials[1], c1)
        return (*first, replace(last, polynomials=polynomials))

    def accepted(self, halves: Sequence[HalfCiphertext], proof: bytes) -> bool:
        """Ask the verifier that every guardian runs."""
        profile = self.form.relation.ring.profile
        message = proof_message(profile, Kind.PROOF, proof)
        ciphertexts = [half.to_bytes(profile) for half in halves]
        try:
            verify_contribution(
                PROFILE, self.form.public_key, ciphertexts, message, context=CONTEXT
            )
        except ProofRejected:
            return False
        return True


def honest_batch(alliance: Alliance, size: int) -> Batch:
    form = BatchForm.of(alliance.ring, alliance.public_key, Content.MESSAGES, size)
    messages = np.stack([half_message(alliance.ring, [1, 2, 3 + place]) for place in range(size)])
    witness = fresh_witness(form, messages, b"w" * 32)
    return Batch(form, witness, tuple(form.encrypted(witness)))


def constant(ring: Ring, value: int) -> Residues:
    """Return the constant polynomial `value` modulo the data primes, coefficient form."""
    polynomial = np.zeros((len(ring.profile.data_primes), ring.profile.degree), dtype=np.uint64)
    polynomial[:, 0] = [value % prime for prime in ring.profile.data_primes]
    return polynomial


def inverse_of_one_minus_x(ring: Ring, step: int) -> Residues:
    """Return 1 / (1 - X^step) modulo Q: half of every step-th power of X (X^n is -1)."""
    halves = [pow(2, -1, prime) for prime in ring.profile.data_primes]
    polynomial = np.zeros((len(halves), ring.profile.degree), dtype=np.uint64)
    polynomial[:, ::step] = np.array(halves, dtype=np.uint64)[:, None]
    return polynomial


def geometric(exponent: int, degree: int, step: int) -> Signed:
    """Return (X^exponent - 1) / (1 - X^step), all coefficients 0 or +-1; step divides exponent."""
    whole = np.zeros(degree, dtype=np.int64)
    whole[: min(exponent, degree) : step] = -1
    if exponent > degree:
        whole[: exponent - degree : step] += 1
    return whole


def cheated(
    statement: Statement,
    witness: Witness,
    seed: bytes,
    *,
    gap: Residues | None = None,
    step: int = 1,
    unmasked: bool = False,
) -> bytes | None:
    """Return one try of a proof by a prover who follows none of the rules, None if it aborted.

    Args:
        gap: what 1 / (1 - X^step) added to c1: the commitment is moved by it, and the answer
            by the integer polynomial (X^j - 1) / (1 - X^step).
        unmasked: e1 is not hidden, so that its answer may use the whole range.
    """
    relation = statement.relation
    shape, ring = relation.shape, relation.ring
    stream = Stream(b"cheat", seed)
    masks: list[Limbs] = [mask(stream, width, shape) for width in shape.widths]
    if unmasked:
        masks[C1_ERROR] = tuple(np.zeros_like(limb) for limb in masks[C1_ERROR])
    commitments = relation.images(masks[0], masks[1:])
    if gap is not None:
        commitments[1] = ring.subtract(commitments[1], np.broadcast_to(gap, commitments[1].shape))
    challenge = statement.transcript().challenge(commitments)
    rotations = exponents(challenge, shape)
    parts = zip((witness.secret, *witness.errors), shape.widths, strict=True)
    hidden = [rotatable(values, width) for values, width in parts]
    answers = [add_rotated(m, h, rotations) for m, h in zip(masks, hidden, strict=True)]
    if gap is not None:
        for repetition, row in enumerate(rotations):
            answers[C1_ERROR][0][repetition] += geometric(row[-1], shape.degree, step)
    if not unmasked and not all(inside(*pair) for pair in zip(answers, shape.widths, strict=True)):
        return None
    return challenge + b"".join(packed(*pair) for pair in zip(answers, shape.widths, strict=True))


def tries(
    statement: Statement, witness: Witness, count: int, *, gap: Residues, step: int = 1
) -> list[bytes]:
    """Return the proofs of `count` tries that did not abort."""
    made = (
        cheated(statement, witness, place.to_bytes(32, "little"), gap=gap, step=step)
        for place in range(count)
    )
    return [proof for proof in made if proof is not None]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_constant_in_c1_is_refused_alone_and_inside_a_batch(
    ring: Ring, alliance: Alliance, size: int
) -> None:
    """c1 + 2^97: with it and the recipient's help a contributor would read the joint secret."""
    batch = honest_batch(alliance, size)
    honest = prove(batch.form.statement(batch.halves, CONTEXT), batch.witness, b"1" * 32)
    assert batch.accepted(batch.halves, honest)
    attacked = batch.changed(constant(ring, 2**97))
    assert not batch.accepted(attacked, honest)
    about_it = batch.form.statement(attacked, CONTEXT)
    for seed in range(3):  # the honest prover's code, with the witness that it has
        assert not batch.accepted(attacked, prove(about_it, batch.witness, bytes([seed]) * 32))


@pytest.mark.slow
def test_without_masks_a_cheater_gets_only_small_constants_into_c1(
    ring: Ring, alliance: Alliance
) -> None:
    """All of the range for the constant, nothing for hiding: still no bit above the range."""
    batch = honest_batch(alliance, 1)
    bits = batch.form.relation.shape.errors[1].bits

    def gets_through(power: int) -> bool:
        e1 = np.zeros((1, ring.profile.degree), dtype=np.int64)
        e1[0, 0] = 1 << power
        witness = Witness(batch.witness.secret, (batch.witness.errors[0], e1))
        halves = batch.form.encrypted(witness)
        about = batch.form.statement(halves, CONTEXT)
        proofs = (cheated(about, witness, bytes([n]) * 32, unmasked=True) for n in range(4))
        return any(proof is not None and batch.accepted(halves, proof) for proof in proofs)

    assert gets_through(bits - 1)
    assert not any(gets_through(power) for power in (bits, bits + 1, 40, 60))


@pytest.mark.slow
def test_the_gap_of_two_is_accepted_and_harmless_because_twice_the_sum_is_decrypted(
    ring: Ring, alliance: Alliance
) -> None:
    """c1 + 1/(1 - X) answers every challenge: the proof cannot refuse it, doubling disarms it."""
    batch = honest_batch(alliance, 1)
    gap = inverse_of_one_minus_x(ring, 1)
    halves = batch.changed(gap)
    proofs = tries(batch.form.statement(halves, CONTEXT), batch.witness, 6, gap=gap)
    assert proofs
    assert all(batch.accepted(halves, proof) for proof in proofs)

    message = halves[0].to_bytes(ring.profile)
    total = encryption.sum_contributions(PROFILE, [message])
    shares = [alliance.share(point, total, (1, 2, 3)) for point in (1, 2, 3)]
    assert decryption.combine(PROFILE, total, shares, 4, circuit="sum") == [1, 2, 3, 0]
    with pytest.raises(MalformedMessage):  # and nobody decrypts the ciphertext as it stands
        alliance.share(1, message, (1, 2, 3))


@pytest.mark.parametrize("step", [1, 4])
def test_undoubled_the_gap_would_show_parities_of_the_joint_secret(
    ring: Ring, big: BigIntegers, alliance: Alliance, step: int
) -> None:
    batch = honest_batch(alliance, 1)
    crafted = batch.changed(inverse_of_one_minus_x(ring, step))[0].polynomials
    honest = batch.halves[0].polynomials
    modulus, t = ring.profile.data_modulus, ring.profile.plain_modulus

    def message(polynomials: Residues) -> list[int]:
        phase = big.lift(alliance.phase(polynomials)[0])
        return [(2 * t * x + modulus) // (2 * modulus) % t for x in phase]

    difference = [(x - y) % t for x, y in zip(message(crafted), message(honest), strict=True)]
    shown = [bool(t // 4 < value < 3 * t // 4) for value in difference[:step]]
    parities = [bool(sum(alliance.joint_secret[k::step]) % 2) for k in range(step)]
    assert shown == parities
    doubled = ring.add(crafted, crafted)
    assert alliance.opened(doubled) == alliance.opened(ring.add(honest, honest))


@pytest.mark.slow
def test_a_wider_gap_costs_two_to_the_number_of_repetitions(ring: Ring, alliance: Alliance) -> None:
    """1/(1 - X^2) answers even challenges only: a quarter of them with two repetitions."""
    batch = honest_batch(alliance, 1)
    shape = replace(batch.form.relation.shape, repetitions=2)
    form = replace(batch.form, relation=replace(batch.form.relation, shape=shape))
    gap = inverse_of_one_minus_x(ring, 2)
    about = form.statement(batch.changed(gap), CONTEXT)
    accepted = 0
    proofs = tries(about, batch.witness, 40, gap=gap, step=2)
    for proof in proofs:
        try:
            verify(about, proof)
        except ProofRejected:
            continue
        accepted += 1
    spread = math.sqrt(len(proofs) * 3 / 16)
    assert len(proofs) > 30  # two repetitions abort less
    assert abs(accepted - len(proofs) / 4) < 4 * spread


def test_the_degree_in_the_bound_is_real(ring: Ring) -> None:
    """A sine as e1 answers an interval of 2n/d challenges, of size d / pi beyond the honest range:
    so the factor of n in what acceptance permits cannot be proven away."""
    n, d = ring.profile.degree, 64
    shape = encryption_shape(ring.profile, 1)
    width = shape.errors[1]
    reach = float(1 << width.bits)
    wave = np.sin(np.pi * np.arange(n) / n) * d * reach / np.pi
    e1 = np.rint(wave).astype(np.int64)[None]
    period = rotatable(e1, width)[0]
    middle, interval = 5000, 2 * n // d
    centre = rotation(period, middle, n)
    answers = [
        np.abs(rotation(period, j, n) - centre).max()
        for j in range(middle - interval // 2, middle + interval // 2)
    ]
    assert max(answers) <= 1.01 * reach
    assert np.abs(e1).max() > 20 * reach
    assert np.abs(e1).max() <= shape.permitted(width)
