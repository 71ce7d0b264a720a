"""Proofs of correct encryption: the honest are accepted, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import keys
from cipherward_threshold.errors import (
    BadBatch,
    MalformedMessage,
    ProofRejected,
    ResidueOutOfRange,
    TooManySlots,
    TransparentCiphertext,
    ValueOutOfRange,
    WitnessOutOfRange,
    WrongKey,
    WrongProfile,
)
from cipherward_threshold.parameters import profile_names
from cipherward_threshold.proofs.bounds import BATCH_MAX
from cipherward_threshold.proofs.ciphertexts import BatchForm, Content
from cipherward_threshold.proofs.contributions import encrypt_contribution, verify_contribution
from cipherward_threshold.proofs.messages import Contribution, HalfCiphertext
from cipherward_threshold.proofs.proving import prove, verify
from cipherward_threshold.proofs.relation import Witness
from cipherward_threshold.ring import Ring
from cipherward_threshold.wire import MAGIC

if TYPE_CHECKING:
    from conftest import Alliance

PROFILE = "additive-1"
CONTEXT = b"contribution"
HEADER = len(MAGIC) + 2
CIPHERTEXT_HEADER = HEADER + 32


def check(
    alliance: Alliance, ciphertexts: tuple[bytes, ...], proof: bytes, context: bytes = CONTEXT
) -> None:
    verify_contribution(PROFILE, alliance.public_key, ciphertexts, proof, context=context)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, BATCH_MAX])
def test_an_honest_batch_is_accepted_whatever_its_size(alliance: Alliance, batch: int) -> None:
    made = alliance.contribute(*([place, -place, 2**40] for place in range(batch)))
    assert len(made.ciphertexts) == batch
    check(alliance, made.ciphertexts, made.proof)
    assert len(made.proof) <= 1_450_000


@pytest.mark.slow
@pytest.mark.parametrize("name", profile_names())
def test_every_profile_proves_and_refuses(name: str) -> None:
    secret = keys.member_secret(name, bytes(32), b"a ceremony")
    public_key = keys.combine_public_key(name, b"a ceremony", [secret.public_key_share()])
    made = encrypt_contribution(name, public_key, [[1], [2]], context=CONTEXT)
    verify_contribution(name, public_key, made.ciphertexts, made.proof, context=CONTEXT)
    with pytest.raises(ProofRejected):
        verify_contribution(name, public_key, made.ciphertexts, made.proof, context=b"else")


def test_the_most_extreme_honest_randomness_is_accepted(ring: Ring, alliance: Alliance) -> None:
    profile = ring.profile
    t = profile.plain_modulus
    form = BatchForm.of(ring, alliance.public_key, Content.MESSAGES, 1)
    ones = np.ones((1, profile.degree), dtype=np.int64)
    witness = Witness(ones, ((21 * t + t // 2) * ones, -21 * ones))
    statement = form.statement(form.encrypted(witness), CONTEXT)
    verify(statement, prove(statement, witness, bytes(32)))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_witness_beyond_the_honest_bounds_is_never_proven(
    ring: Ring, alliance: Alliance, place: int
) -> None:
    """Its answers would show it: zero knowledge holds within the bounds only."""
    form = BatchForm.of(ring, alliance.public_key, Content.MESSAGES, 1)
    parts = [np.zeros((1, ring.profile.degree), dtype=np.int64) for _ in range(3)]
    bounds = [width.bound for width in form.relation.shape.widths]
    parts[place][0, 5] = -bounds[place] - 1
    witness = Witness(parts[0], (parts[1], parts[2]))
    statement = form.statement(form.encrypted(witness), CONTEXT)
    with pytest.raises(WitnessOutOfRange):
        prove(statement, witness, bytes(32))


@pytest.mark.slow
def test_any_changed_bit_of_a_proof_is_refused(
    alliance: Alliance, contribution: Contribution
) -> None:
    """Bits of the challenge and of the answers, the first and the last among them."""
    proof = contribution.proof
    chosen = np.random.default_rng(5).integers(HEADER, len(proof), 12)
    for place in (HEADER, HEADER + 31, HEADER + 32, len(proof) - 1, *chosen.tolist()):
        mutated = bytearray(proof)
        mutated[place] ^= 1 << (place % 8)
        with pytest.raises(ProofRejected):
            check(alliance, contribution.ciphertexts, bytes(mutated))


@pytest.mark.parametrize("length", [-1, 0, HEADER + 32])
def test_a_shortened_proof_is_refused(
    alliance: Alliance, contribution: Contribution, length: int
) -> None:
    with pytest.raises(MalformedMessage):
        check(alliance, contribution.ciphertexts, contribution.proof[:length])


def test_a_proof_with_something_behind_it_is_refused(
    alliance: Alliance, contribution: Contribution
) -> None:
    with pytest.raises(MalformedMessage):
        check(alliance, contribution.ciphertexts, contribution.proof + b"\0")


def test_answers_of_zero_or_of_the_largest_numbers_prove_nothing(
    alliance: Alliance, contribution: Contribution
) -> None:
    proof = contribution.proof
    rest = len(proof) - HEADER - 32
    for filling in (b"\0", b"\xff"):
        with pytest.raises(ProofRejected):
            check(alliance, contribution.ciphertexts, proof[: HEADER + 32] + filling * rest)


@pytest.mark.parametrize("component", [0, 1])
def test_any_changed_residue_of_a_ciphertext_is_refused(
    ring: Ring, alliance: Alliance, contribution: Contribution, component: int
) -> None:
    first, second = contribution.ciphertexts
    for row, prime in enumerate(ring.profile.data_primes):
        half = HalfCiphertext.parse(ring.profile, second)
        place = (component, row, (4711 * (row + 1)) % ring.profile.degree)
        half.polynomials[place] = (int(half.polynomials[place]) + 1) % prime
        with pytest.raises(ProofRejected):
            check(alliance, (first, half.to_bytes(ring.profile)), contribution.proof)


def test_the_order_of_a_batch_is_part_of_what_is_proven(
    alliance: Alliance, contribution: Contribution
) -> None:
    with pytest.raises(ProofRejected):
        check(alliance, contribution.ciphertexts[::-1], contribution.proof)
    first, _ = contribution.ciphertexts
    with pytest.raises(ProofRejected):
        check(alliance, (first, first), contribution.proof)


def test_a_part_of_a_batch_is_not_what_was_proven(
    alliance: Alliance, contribution: Contribution
) -> None:
    """Another number of ciphertexts has wider masks, so even the length differs."""
    for part in (
        contribution.ciphertexts[:1],
        (*contribution.ciphertexts, *contribution.ciphertexts),
    ):
        with pytest.raises(MalformedMessage):
            check(alliance, part, contribution.proof)


def test_components_swapped_are_refused(
    ring: Ring, alliance: Alliance, contribution: Contribution
) -> None:
    first, second = contribution.ciphertexts
    half = HalfCiphertext.parse(ring.profile, second)
    swapped = replace(half, polynomials=half.polynomials[::-1].copy())
    with pytest.raises(ProofRejected):
        check(alliance, (first, swapped.to_bytes(ring.profile)), contribution.proof)


def test_a_proof_holds_for_its_context_only(alliance: Alliance, contribution: Contribution) -> None:
    """Replayed by another member, in another study or attempt: another context, another proof."""
    for context in (b"", b"contribution ", b"Contribution"):
        with pytest.raises(ProofRejected):
            check(alliance, contribution.ciphertexts, contribution.proof, context)


def test_a_proof_holds_for_its_key_only(ring: Ring, alliance: Alliance) -> None:
    """Another key with the name of this one: the name alone is not what is proven."""
    made = alliance.contribute([1])
    changed = bytearray(alliance.public_key)
    changed[-4 * ring.profile.degree] ^= 1  # modulo the special prime, which encryption never uses
    with pytest.raises(ProofRejected):
        verify_contribution(PROFILE, bytes(changed), made.ciphertexts, made.proof, context=CONTEXT)
    other = keys.combine_public_key(
        PROFILE,
        b"else",
        [keys.member_secret(PROFILE, bytes(32), b"else").public_key_share()],
    )
    with pytest.raises(WrongKey):
        verify_contribution(PROFILE, other, made.ciphertexts, made.proof, context=CONTEXT)


def test_messages_that_are_none_are_refused_by_their_form(
    ring: Ring, alliance: Alliance, contribution: Contribution
) -> None:
    first, second = contribution.ciphertexts
    prime = ring.profile.data_primes[0]
    start = CIPHERTEXT_HEADER
    overflowing = first[:start] + prime.to_bytes(8, "little") + first[start + 8 :]
    with pytest.raises(ResidueOutOfRange):
        check(alliance, (overflowing, second), contribution.proof)
    half = HalfCiphertext.parse(ring.profile, second)
    half.polynomials[1] = 0
    with pytest.raises(TransparentCiphertext):
        check(alliance, (first, half.to_bytes(ring.profile)), contribution.proof)
    with pytest.raises(MalformedMessage):
        check(alliance, (first[:-1], second), contribution.proof)
    with pytest.raises(MalformedMessage):
        check(alliance, (alliance.encrypt([1]), second), contribution.proof)
    foreign = bytearray(contribution.proof)
    foreign[len(MAGIC) + 1] = 255
    with pytest.raises(WrongProfile):
        check(alliance, contribution.ciphertexts, bytes(foreign))


def test_a_batch_has_one_to_eight_ciphertexts(
    alliance: Alliance, contribution: Contribution
) -> None:
    with pytest.raises(BadBatch):
        alliance.contribute()
    with pytest.raises(BadBatch) as refusal:
        alliance.contribute(*[[1]] * (BATCH_MAX + 1))
    assert refusal.value.metadata == {"have": "9", "most": "8"}
    for count in (0, BATCH_MAX + 1):
        with pytest.raises(BadBatch):
            check(alliance, contribution.ciphertexts[:1] * count, contribution.proof)


def test_values_that_fit_no_slot_are_refused_before_anything_is_encrypted(
    ring: Ring, alliance: Alliance
) -> None:
    with pytest.raises(ValueOutOfRange):
        alliance.contribute([1], [ring.profile.message_bound + 1])
    with pytest.raises(TooManySlots):
        alliance.contribute([0] * (ring.profile.slots + 1))
    with pytest.raises(TooManySlots):
        alliance.contribute([])
