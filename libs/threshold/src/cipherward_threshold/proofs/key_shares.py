"""The proof of a public-key share: b = -(a s + e) modulo QP with a small secret and a small error.

Without it a member's own error is whatever it likes, and with a large one it reads the randomness
u of honest contributors out of the noise of a result (e u is part of it). The proof bounds twice
the share, like that of a ciphertext: what is decrypted is twice a sum, which carries the two.
"""

from __future__ import annotations

from cipherward_threshold import domains
from cipherward_threshold.errors import WrongContext
from cipherward_threshold.keys import MemberSecret, common_polynomial, context_digest
from cipherward_threshold.messages import PublicKeyShare
from cipherward_threshold.proofs.bounds import key_share_shape
from cipherward_threshold.proofs.messages import proof_message, proof_octets
from cipherward_threshold.proofs.proving import prove, verify
from cipherward_threshold.proofs.relation import Relation, Statement, Witness
from cipherward_threshold.ring import Ring
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.wire import Kind


def prove_key_share(secret: MemberSecret, *, sender: bytes) -> bytes:
    """Return the proof of `secret.public_key_share()`: the same bytes every time.

    Args:
        sender: the member's id; the proof holds for it only.

    Returns:
        A message of kind KEY_SHARE_PROOF, about 0.5 MB.
    """
    ring = profile_ring(secret.profile)
    share = secret.public_key_share()
    statement = _statement(ring, PublicKeyShare.parse(ring.profile, share), share, sender)
    coefficients, error = secret.coefficients()
    proof = prove(statement, Witness(coefficients, (error,)), secret.proof_seed())
    return proof_message(ring.profile, Kind.KEY_SHARE_PROOF, proof)


def verify_key_share(
    profile: str, context: bytes, share: bytes, proof: bytes, *, sender: bytes
) -> None:
    """Accept a public-key share whose proof holds for this ceremony and sender.

    Args:
        context: the ceremony's, as given to `keys.member_secret`.

    Raises:
        ProofRejected: the proof does not hold.
        WrongContext: the share belongs to another ceremony.
        MalformedMessage, WrongProfile, ResidueOutOfRange: some bytes are not what they should be.
    """
    ring = profile_ring(profile)
    parsed = PublicKeyShare.parse(ring.profile, share)
    if parsed.context_digest != context_digest(profile, context):
        raise WrongContext("a public-key share belongs to another ceremony")
    statement = _statement(ring, parsed, share, sender)
    shape = statement.relation.shape
    verify(statement, proof_octets(ring.profile, Kind.KEY_SHARE_PROOF, proof, shape))


def _statement(ring: Ring, parsed: PublicKeyShare, share: bytes, sender: bytes) -> Statement:
    factors = common_polynomial(ring, parsed.context_digest)
    relation = Relation(ring, key_share_shape(ring.profile), factors)
    images = ring.intt(ring.negate(parsed.b))[None]
    return Statement(relation, domains.PROOF_OF_KEY_SHARE, (sender, share), images)
