"""What a contributor sends: ciphertexts of half the message, and one proof for a batch of them."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_threshold.errors import TransparentCiphertext
from cipherward_threshold.parameters import Profile
from cipherward_threshold.proofs.bounds import CHALLENGE_BYTES, Shape
from cipherward_threshold.sampling import Residues
from cipherward_threshold.wire import Kind, Reader, frame, written


@dataclass(frozen=True, slots=True)
class Contribution:
    """A batch as octets: both parts are public among the members.

    Attributes:
        ciphertexts: 1..8 messages of kind CONTRIBUTION.
        proof: one message of kind PROOF for all of them, in this order.
    """

    ciphertexts: tuple[bytes, ...]
    proof: bytes


@dataclass(frozen=True, slots=True, eq=False)
class HalfCiphertext:
    """(c0, c1) of m / 2 mod t: [2, primes, n], coefficient form, under the key `key_id`.

    Its own kind of message, so that nothing decrypts it: a proof bounds *twice* a ciphertext only,
    and one that is decrypted as it stands shows parities of the key (c1 + 1/(1 - X) is accepted).
    """

    key_id: bytes
    polynomials: Residues

    def to_bytes(self, profile: Profile) -> bytes:
        body = written(self.polynomials, profile.data_primes)
        return frame(Kind.CONTRIBUTION, profile, self.key_id, body)

    @classmethod
    def parse(cls, profile: Profile, message: bytes) -> HalfCiphertext:
        """Parse strictly.

        Raises:
            TransparentCiphertext: c1 is zero.
            MalformedMessage, WrongProfile, ResidueOutOfRange: not such a message.
        """
        reader = Reader(message, Kind.CONTRIBUTION, profile)
        half = cls(reader.digest(), reader.polynomials(2, profile.data_primes))
        reader.end()
        if not half.polynomials[1].any():
            raise TransparentCiphertext("c1 is zero: this is no encryption")
        return half


def proof_message(profile: Profile, kind: Kind, proof: bytes) -> bytes:
    """Return a proof in its frame; `kind` is PROOF or KEY_SHARE_PROOF."""
    return frame(kind, profile, proof)


def proof_octets(profile: Profile, kind: Kind, message: bytes, shape: Shape) -> bytes:
    """Return challenge and answers out of their frame.

    Raises:
        MalformedMessage: another kind, or a length that no proof of this shape has.
        WrongProfile: made under another profile.
    """
    reader = Reader(message, kind, profile)
    octets = reader.take(CHALLENGE_BYTES + shape.response_bytes)
    reader.end()
    return octets
