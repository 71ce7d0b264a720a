"""Proofs of public-key shares: small secret, small error, one sender, one ceremony."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cipherward_threshold import domains, keys
from cipherward_threshold.errors import (
    MalformedMessage,
    ProofRejected,
    WitnessOutOfRange,
    WrongContext,
    WrongProfile,
)
from cipherward_threshold.messages import PublicKeyShare
from cipherward_threshold.proofs.bounds import key_share_shape
from cipherward_threshold.proofs.integers import add_rotated, mask, rotatable
from cipherward_threshold.proofs.key_shares import prove_key_share, verify_key_share
from cipherward_threshold.proofs.messages import proof_message
from cipherward_threshold.proofs.packing import packed
from cipherward_threshold.proofs.proving import prove
from cipherward_threshold.proofs.relation import Relation, Statement, Witness, exponents
from cipherward_threshold.ring import Ring
from cipherward_threshold.sampling import Stream
from cipherward_threshold.wire import MAGIC, Kind

if TYPE_CHECKING:
    from conftest import Alliance

PROFILE = "additive-1"
CONTEXT = b"chain test, study 1, attempt 1"
SENDER = b"member 1"
HEADER = len(MAGIC) + 2
SECRET, ERROR = 0, 1


@pytest.fixture(scope="module")
def proof(alliance: Alliance) -> bytes:
    return prove_key_share(alliance.secrets[0], sender=SENDER)


def check(share: bytes, proof: bytes, context: bytes = CONTEXT, sender: bytes = SENDER) -> None:
    verify_key_share(PROFILE, context, share, proof, sender=sender)


def accepted(share: bytes, proof: bytes) -> bool:
    try:
        check(share, proof)
    except ProofRejected:
        return False
    return True


def statement_of(ring: Ring, share: bytes) -> Statement:
    """Return what a proof of any share of this ceremony is about, as the verifier builds it."""
    parsed = PublicKeyShare.parse(ring.profile, share)
    factors = keys.common_polynomial(ring, parsed.context_digest)
    relation = Relation(ring, key_share_shape(ring.profile), factors)
    images = ring.intt(ring.negate(parsed.b))[None]
    return Statement(relation, domains.PROOF_OF_KEY_SHARE, (SENDER, share), images)


def crafted(ring: Ring, alliance: Alliance, part: int, size: int) -> tuple[bytes, Witness]:
    """Return a share whose secret or error has one coefficient of that size, and its witness."""
    secret, error = alliance.secrets[0].coefficients()
    (secret, error)[part][0, 7] = size
    primes = len(ring.profile.key_primes)
    digest = keys.context_digest(PROFILE, CONTEXT)
    a = keys.common_polynomial(ring, digest)
    small = ring.ntt(ring.from_signed(np.concatenate([secret, error]), primes))
    b = ring.negate(ring.add(ring.multiply(a, small[0]), small[1:]))
    return PublicKeyShare(digest, b).to_bytes(ring.profile), Witness(secret, (error,))


def unmasked(statement: Statement, witness: Witness, part: int, seed: int) -> bytes:
    """Return one try that hides everything but the large part, whose answer has the whole range."""
    shape = statement.relation.shape
    stream = Stream(b"cheat", bytes([seed]) * 32)
    masks = [mask(stream, width, shape) for width in shape.widths]
    masks[part] = tuple(np.zeros_like(limb) for limb in masks[part])
    commitments = statement.relation.images(masks[0], masks[1:])
    challenge = statement.transcript().challenge(commitments)
    rotations = exponents(challenge, shape)
    answers = [
        packed(add_rotated(masked, rotatable(values, width), rotations), width)
        for masked, values, width in zip(
            masks, (witness.secret, *witness.errors), shape.widths, strict=True
        )
    ]
    return proof_message(
        statement.relation.ring.profile, Kind.KEY_SHARE_PROOF, challenge + b"".join(answers)
    )


def test_every_members_share_is_accepted_with_its_proof(alliance: Alliance, proof: bytes) -> None:
    check(alliance.public_key_shares[0], proof)
    other = prove_key_share(alliance.secrets[1], sender=b"member 2")
    check(alliance.public_key_shares[1], other, sender=b"member 2")


def test_a_restarted_member_gives_the_same_proof(alliance: Alliance, proof: bytes) -> None:
    assert prove_key_share(alliance.secrets[0], sender=SENDER) == proof


def test_proofs_for_two_senders_share_no_masks(alliance: Alliance, proof: bytes) -> None:
    """The same masks under two challenges would give the secret away."""
    other = prove_key_share(alliance.secrets[0], sender=b"member 2")
    first, second = (np.frombuffer(x[HEADER + 32 :], dtype=np.uint8) for x in (proof, other))
    assert (first == second).mean() < 0.02  # by chance one octet in 256


def test_a_proof_is_bound_to_its_sender(alliance: Alliance, proof: bytes) -> None:
    """A member that repeats another one's share and proof is refused."""
    with pytest.raises(ProofRejected):
        check(alliance.public_key_shares[0], proof, sender=b"member 2")


def test_a_proof_is_bound_to_its_share(alliance: Alliance, proof: bytes) -> None:
    with pytest.raises(ProofRejected):
        check(alliance.public_key_shares[1], proof)


def test_a_share_of_another_ceremony_is_refused(alliance: Alliance, proof: bytes) -> None:
    with pytest.raises(WrongContext):
        check(alliance.public_key_shares[0], proof, context=b"another attempt")
    again = keys.member_secret(PROFILE, bytes([101]) * 32, b"another attempt")
    with pytest.raises(ProofRejected):
        check(again.public_key_share(), proof, context=b"another attempt")


@pytest.mark.slow
@pytest.mark.parametrize("part", [SECRET, ERROR])
def test_a_large_secret_or_error_is_refused(ring: Ring, alliance: Alliance, part: int) -> None:
    """By the honest prover's code, and by one that spends the whole range on the large part."""
    bits = key_share_shape(ring.profile).widths[part].bits
    for size in (2**bits, 2**28, 2**60):
        share, witness = crafted(ring, alliance, part, size)
        about = statement_of(ring, share)
        with pytest.raises(WitnessOutOfRange):
            prove(about, witness, bytes(32))
        with pytest.raises(ProofRejected):
            check(share, unmasked(about, witness, part, seed=1))
        secret, error = alliance.secrets[0].coefficients()
        made = prove(about, Witness(secret, (error,)), bytes(32))
        with pytest.raises(ProofRejected):
            check(share, proof_message(ring.profile, Kind.KEY_SHARE_PROOF, made))


@pytest.mark.parametrize("part", [SECRET, ERROR])
def test_what_is_accepted_beyond_the_honest_sizes_stays_within_the_permitted(
    ring: Ring, alliance: Alliance, part: int
) -> None:
    """The slack is real: half the range passes, unhidden, and the noise bounds count with it."""
    shape = key_share_shape(ring.profile)
    width = shape.widths[part]
    share, witness = crafted(ring, alliance, part, 1 << (width.bits - 1))
    about = statement_of(ring, share)
    tried = (unmasked(about, witness, part, seed) for seed in range(8))
    assert any(accepted(share, proof) for proof in tried)  # the hidden part may abort a try
    assert 1 << (width.bits - 1) <= shape.permitted(width)


def test_a_rogue_share_that_cancels_the_others_has_no_proof(
    ring: Ring, alliance: Alliance, proof: bytes
) -> None:
    """Its maker knows no small secret for it, so the proof refuses it even without commitments."""
    honest = [PublicKeyShare.parse(ring.profile, x) for x in alliance.public_key_shares]
    others = ring.sum([share.b for share in honest[1:]])
    rogue = replace(honest[0], b=ring.subtract(honest[0].b, others)).to_bytes(ring.profile)
    secret, error = alliance.secrets[0].coefficients()
    made = prove(statement_of(ring, rogue), Witness(secret, (error,)), bytes(32))
    with pytest.raises(ProofRejected):
        check(rogue, proof_message(ring.profile, Kind.KEY_SHARE_PROOF, made))
    with pytest.raises(ProofRejected):
        check(rogue, proof)


def test_changed_octets_of_the_proof_are_refused(alliance: Alliance, proof: bytes) -> None:
    share = alliance.public_key_shares[0]
    for place in (HEADER, HEADER + 40, len(proof) // 2, len(proof) - 1):
        changed = bytearray(proof)
        changed[place] ^= 4
        with pytest.raises(ProofRejected):
            check(share, bytes(changed))
    for other in (proof[:-1], proof + b"\0", share):
        with pytest.raises(MalformedMessage):
            check(share, other)
    foreign = bytearray(proof)
    foreign[HEADER - 1] = 255
    with pytest.raises(WrongProfile):
        check(share, bytes(foreign))
