"""Proven encryptions of zero: they change a sum's c1, and nothing of what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import decryption, encryption
from cipherward_threshold.errors import (
    BadBatch,
    MalformedMessage,
    ProofRejected,
    WitnessOutOfRange,
)
from cipherward_threshold.proofs.bounds import BATCH_MAX, encryption_shape, zero_shape
from cipherward_threshold.proofs.ciphertexts import BatchForm, Content, fresh_witness
from cipherward_threshold.proofs.contributions import (
    encrypt_zeros,
    verify_contribution,
    verify_zeros,
)
from cipherward_threshold.proofs.messages import Contribution, proof_message
from cipherward_threshold.proofs.proving import prove, verify
from cipherward_threshold.proofs.relation import Statement, Witness
from cipherward_threshold.ring import Ring
from cipherward_threshold.wire import Kind

if TYPE_CHECKING:
    from conftest import Alliance

PROFILE = "additive-1"
CONTEXT = b"refresh"


@pytest.fixture(scope="module")
def zeros(alliance: Alliance) -> Contribution:
    return encrypt_zeros(PROFILE, alliance.public_key, 2, context=CONTEXT)


def test_zeros_re_randomise_a_sum_and_leave_its_message(
    alliance: Alliance, contribution: Contribution, zeros: Contribution
) -> None:
    verify_zeros(PROFILE, alliance.public_key, zeros.ciphertexts, zeros.proof, context=CONTEXT)
    dead = encryption.sum_contributions(PROFILE, contribution.ciphertexts)
    refresh = encryption.sum_contributions(PROFILE, zeros.ciphertexts)
    fresh = encryption.add_ciphertexts(PROFILE, [dead, refresh])
    assert encryption.c1_digest(PROFILE, fresh) != encryption.c1_digest(PROFILE, dead)
    shares = [alliance.share(point, fresh, (2, 3, 4)) for point in (2, 3, 4)]
    assert decryption.combine(PROFILE, fresh, shares, 4, circuit="sum") == [2**50 + 1, 5, 3, 0]


def message_as_zero(ring: Ring, alliance: Alliance, message: int) -> tuple[Statement, Witness]:
    """Return a ciphertext whose c0 carries `message`, and the witness for calling it zero.

    The plaintext term is the error then: e0 = e + message, which is all the form has room for.
    """
    form = BatchForm.of(ring, alliance.public_key, Content.ZEROS, 1)
    nothing = np.zeros((1, ring.profile.degree), dtype=np.int64)
    honest = fresh_witness(form, nothing, b"z" * 32)
    shifted = honest.errors[0].copy()
    shifted[0, 0] += message
    witness = Witness(honest.secret, (shifted, honest.errors[1]))
    return form.statement(form.encrypted(witness), CONTEXT), witness


@pytest.mark.slow
def test_a_message_is_not_proven_to_be_zero(ring: Ring, alliance: Alliance) -> None:
    """The smallest plaintext term is Q / t = 2^122; an error of 2^61 has no answer already."""
    about, witness = message_as_zero(ring, alliance, 2**61)
    with pytest.raises(WitnessOutOfRange):
        prove(about, witness, bytes(32))
    honest = Witness(witness.secret, (witness.errors[0] % 2, witness.errors[1]))
    with pytest.raises(ProofRejected):  # the honest prover's code, about what is not so
        verify(about, prove(about, honest, bytes(32)))


@pytest.mark.slow
def test_an_encryption_of_messages_never_passes_for_zeros(
    ring: Ring, alliance: Alliance, contribution: Contribution, zeros: Contribution
) -> None:
    key = alliance.public_key
    with pytest.raises(ProofRejected):  # other ciphertexts under a proof of zeros
        verify_zeros(PROFILE, key, contribution.ciphertexts, zeros.proof, context=CONTEXT)
    with pytest.raises(MalformedMessage):  # a proof of messages has another length
        verify_zeros(
            PROFILE, key, contribution.ciphertexts, contribution.proof, context=b"contribution"
        )
    with pytest.raises(MalformedMessage):
        verify_contribution(PROFILE, key, zeros.ciphertexts, zeros.proof, context=CONTEXT)
    # and with the witness of an encryption, about its own ciphertext
    form = BatchForm.of(ring, key, Content.MESSAGES, 1)
    ones = np.ones((1, ring.profile.degree), dtype=np.int64)
    witness = fresh_witness(form, ones, b"m" * 32)
    halves = form.encrypted(witness)
    as_zeros = BatchForm.of(ring, key, Content.ZEROS, 1).statement(halves, CONTEXT)
    small = Witness(witness.secret, (np.zeros_like(ones), witness.errors[1]))
    proof = proof_message(ring.profile, Kind.PROOF, prove(as_zeros, small, bytes(32)))
    with pytest.raises(ProofRejected):
        verify_zeros(
            PROFILE, key, [half.to_bytes(ring.profile) for half in halves], proof, context=CONTEXT
        )


def test_a_proof_of_zeros_holds_for_its_context_and_order_only(
    alliance: Alliance, zeros: Contribution
) -> None:
    key = alliance.public_key
    with pytest.raises(ProofRejected):
        verify_zeros(PROFILE, key, zeros.ciphertexts, zeros.proof, context=b"")
    with pytest.raises(ProofRejected):
        verify_zeros(PROFILE, key, zeros.ciphertexts[::-1], zeros.proof, context=CONTEXT)


def test_a_batch_of_zeros_has_one_to_eight(alliance: Alliance) -> None:
    for count in (0, BATCH_MAX + 1):
        with pytest.raises(BadBatch):
            encrypt_zeros(PROFILE, alliance.public_key, count, context=CONTEXT)


def test_zeros_are_permitted_no_more_noise_than_messages(ring: Ring) -> None:
    """So a bound on a sum counts a re-randomising zero as one more contribution."""
    for batch in (1, BATCH_MAX):
        zero, other = zero_shape(ring.profile, batch), encryption_shape(ring.profile, batch)
        assert zero.permitted(zero.secret) == other.permitted(other.secret)
        assert zero.permitted(zero.errors[1]) == other.permitted(other.errors[1])
        wide = other.permitted(other.errors[0]) // ring.profile.plain_modulus
        assert zero.permitted(zero.errors[0]) <= wide
