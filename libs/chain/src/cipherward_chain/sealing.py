"""Sealing of small secrets to a key: HPKE (RFC 9180), hybrid post-quantum, single shot.

Suite: KEM MLKEM768-X25519, HKDF-SHA256, AES-256-GCM. What a sealed value is for is bound into
`info`, each part behind its length, so that it opens in its own place only.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from cipherward_chain.domains import SEALED
from cipherward_chain.errors import ChainError
from cipherward_chain.wire import length_prefixed

SUITE: Final = 1  # the id of this suite in every envelope
PUBLIC_KEY_BYTES: Final = 1_216  # ML-KEM-768 encapsulation key 1,184 then X25519 32
SECRET_BYTES: Final = 96  # ML-KEM seed 64 then X25519 private key 32
OVERHEAD_BYTES: Final = 1_136  # ML-KEM ciphertext 1,088, X25519 share 32, GCM tag 16
_MLKEM_PUBLIC, _MLKEM_SEED = 1_184, 64

_HPKE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class SealingKeyRefused(ChainError):
    """Octets are not a key of the suite."""

    reason = "SEALING_KEY_REFUSED"


class OpeningRejected(ChainError):
    """A sealed value does not open with this key in this place."""

    reason = "OPENING_REJECTED"


@dataclass(frozen=True, slots=True)
class SealInfo:
    """The place of a sealed value.

    `subject` is the id of what it belongs to (a record, a study), `slot` says which of its values
    it is (as `custodian` or `reader`), and `recipient` names who opens it: a member id, or a key's
    octets.
    """

    chain_id: str
    subject: bytes
    slot: str
    recipient: bytes

    def octets(self) -> bytes:
        """Return the `info` of HPKE: tag, suite, and every part behind its length."""
        parts = (self.chain_id.encode(), self.subject, self.slot.encode(), self.recipient)
        return SEALED + SUITE.to_bytes(2, "big") + b"".join(length_prefixed(p) for p in parts)


def custodian_place(chain_id: str, record_id: bytes, custodian: str) -> SealInfo:
    """Return the place of a record's custodian slot: sealed by the author, to that member."""
    return SealInfo(chain_id, record_id, "custodian", custodian.encode())


def release_place(
    chain_id: str, record_id: bytes, order: tuple[int, int], reader: bytes
) -> SealInfo:
    """Return the place of a key part that a custodian released.

    Args:
        order: (height, index) of the order that released it.
        reader: the Ed25519 key that the order names.
    """
    height, index = order
    return SealInfo(chain_id, record_id, f"release/{height}/{index}", reader)


def share_place(
    chain_id: str, record_id: bytes, order: tuple[int, int], member: str, reader: bytes
) -> SealInfo:
    """Return the place of a guardian's share of a record's key.

    Args:
        order: (height, index) of the order that it was made for.
        member: id of the guardian.
        reader: the Ed25519 key that the order names.
    """
    height, index = order
    return SealInfo(chain_id, record_id, f"share/{height}/{index}/{member}", reader)


def _public(octets: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(octets) != PUBLIC_KEY_BYTES:
        raise SealingKeyRefused(f"a public key has {PUBLIC_KEY_BYTES} bytes")
    try:
        return hpke.MLKEM768X25519PublicKey(
            mlkem.MLKEM768PublicKey.from_public_bytes(octets[:_MLKEM_PUBLIC]),
            x25519.X25519PublicKey.from_public_bytes(octets[_MLKEM_PUBLIC:]),
        )
    except ValueError:
        raise SealingKeyRefused("octets are not a public key of the suite") from None


def check_sealing_key(public_key: bytes) -> None:
    """Raise `SealingKeyRefused` unless something can be sealed to `public_key`.

    An X25519 key of small order is found only by sealing, so that is what is done. Cost: 0.2 ms.
    """
    seal(b"", public_key, SealInfo("", b"", "check", b""))


def seal(plaintext: bytes, public_key: bytes, info: SealInfo) -> bytes:
    """Return `plaintext` sealed to `public_key`: 1,136 bytes more, different each time.

    Raises:
        SealingKeyRefused: the key is not of the suite.
    """
    key = _public(public_key)
    try:
        return _HPKE.encrypt(plaintext, key, info=info.octets())
    except ValueError:  # the X25519 part is of small order
        raise SealingKeyRefused("nothing can be sealed to this public key") from None


class SealingKey:
    """A private key of the suite, made from its stored 96 bytes."""

    __slots__ = ("_private", "_secret", "public_key")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise SealingKeyRefused(f"a secret has {SECRET_BYTES} bytes")
        post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SEED])
        classical = x25519.X25519PrivateKey.from_private_bytes(secret[_MLKEM_SEED:])
        self._secret = secret
        self._private = hpke.MLKEM768X25519PrivateKey(post_quantum, classical)
        self.public_key: bytes = (
            post_quantum.public_key().public_bytes_raw() + classical.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls) -> SealingKey:
        """Return a fresh key."""
        return cls(secrets.token_bytes(SECRET_BYTES))

    def secret_bytes(self) -> bytes:
        """Return the 96 bytes to be stored, with mode 0600 or encrypted."""
        return self._secret

    def open(self, sealed: bytes, info: SealInfo) -> bytes:
        """Return the plaintext, or raise `OpeningRejected`."""
        try:
            return _HPKE.decrypt(sealed, self._private, info=info.octets())
        except (InvalidTag, ValueError):
            raise OpeningRejected("the sealed value does not open here") from None

    def __repr__(self) -> str:
        return "SealingKey()"
