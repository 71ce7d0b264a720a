"""Contributions: a batch of ciphertexts and the proof that they were encrypted right.

A contributor encrypts m / 2 mod t; everybody sums, guards and decrypts twice the sum
(`encryption.sum_contributions`). What an accepted proof says is in `bounds`: it bounds noise and
randomness. It says nothing of the slots' values: any vector modulo t can be encrypted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from cipherward_threshold.errors import BadBatch, WrongKey
from cipherward_threshold.proofs.bounds import BATCH_MAX
from cipherward_threshold.proofs.ciphertexts import (
    BatchForm,
    Content,
    fresh_witness,
    half_message,
)
from cipherward_threshold.proofs.messages import (
    Contribution,
    HalfCiphertext,
    proof_message,
    proof_octets,
)
from cipherward_threshold.proofs.proving import hedged_seed, prove, verify
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.sampling import SEED_BYTES, Signed
from cipherward_threshold.wire import Kind


def encrypt_contribution(
    profile: str, public_key: bytes, batches: Sequence[Sequence[int]], *, context: bytes
) -> Contribution:
    """Encrypt 1..8 vectors of slots under a collective key, with one proof for all.

    Fresh randomness every time: store what is returned before its digest is reported.

    Args:
        public_key: from `keys.combine_public_key`; check its digest against the chain's first.
        batches: each 1..`Profile.slots` integers; see `encoding.FixedPoint`.
        context: everything that the contribution is for (chain, study, member, stage, round,
            attempt); the proof holds for this context only.

    Raises:
        BadBatch: not 1..8 vectors.
        TooManySlots: a vector is empty, or longer than a ciphertext carries.
        ValueOutOfRange: a value does not fit the plaintext modulus.
        MalformedMessage, WrongProfile, ResidueOutOfRange: not a public key.
    """
    _checked_count(len(batches))
    ring = profile_ring(profile)
    form = BatchForm.of(ring, public_key, Content.MESSAGES, len(batches))
    return _contribution(form, np.stack([half_message(ring, slots) for slots in batches]), context)


def verify_contribution(
    profile: str,
    public_key: bytes,
    ciphertexts: Sequence[bytes],
    proof: bytes,
    *,
    context: bytes,
) -> None:
    """Accept a batch whose proof holds under this key and context, in this order.

    Raises:
        ProofRejected: the proof does not hold.
        BadBatch: not 1..8 ciphertexts.
        WrongKey: a ciphertext names another key.
        TransparentCiphertext: a c1 is zero.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    _verify(ring, public_key, Content.MESSAGES, Contribution(tuple(ciphertexts), proof), context)


def encrypt_zeros(profile: str, public_key: bytes, count: int, *, context: bytes) -> Contribution:
    """Return 1..8 encryptions of zero, proven to be that: they re-randomise a sum.

    Raises:
        As `encrypt_contribution`.
    """
    _checked_count(count)
    ring = profile_ring(profile)
    form = BatchForm.of(ring, public_key, Content.ZEROS, count)
    return _contribution(form, np.zeros((count, ring.profile.degree), dtype=np.int64), context)


def verify_zeros(
    profile: str,
    public_key: bytes,
    ciphertexts: Sequence[bytes],
    proof: bytes,
    *,
    context: bytes,
) -> None:
    """Accept a batch that is proven to encrypt nothing but zeros.

    Raises:
        As `verify_contribution`.
    """
    ring = profile_ring(profile)
    _verify(ring, public_key, Content.ZEROS, Contribution(tuple(ciphertexts), proof), context)


def _contribution(form: BatchForm, messages: Signed, context: bytes) -> Contribution:
    profile = form.relation.ring.profile
    witness = fresh_witness(form, messages, os.urandom(SEED_BYTES))
    halves = form.encrypted(witness)
    statement = form.statement(halves, context)
    proof = prove(statement, witness, hedged_seed(os.urandom(SEED_BYTES), witness))
    return Contribution(
        tuple(half.to_bytes(profile) for half in halves),
        proof_message(profile, Kind.PROOF, proof),
    )


def _verify(
    ring: Ring, public_key: bytes, content: Content, batch: Contribution, context: bytes
) -> None:
    _checked_count(len(batch.ciphertexts))
    profile = ring.profile
    form = BatchForm.of(ring, public_key, content, len(batch.ciphertexts))
    proof = proof_octets(profile, Kind.PROOF, batch.proof, form.relation.shape)
    halves = [HalfCiphertext.parse(profile, message) for message in batch.ciphertexts]
    if any(half.key_id != form.key_id for half in halves):
        raise WrongKey("a contribution is under another key")
    verify(form.statement(halves, context), proof)


def _checked_count(count: int) -> None:
    if not 1 <= count <= BATCH_MAX:
        raise BadBatch("one proof covers another number of ciphertexts", have=count, most=BATCH_MAX)
