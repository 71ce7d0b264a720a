"""The one rule for Ed25519 everywhere on the chain: libsodium's, with the key's form checked first.

libsodium refuses small-order and non-canonical keys; other libraries accept them, and two rules on
one chain would be a fork. The form is checked here too, so that the rule can be read.
"""

from __future__ import annotations

from nacl import bindings
from nacl.exceptions import BadSignatureError

from cipherward_chain.errors import ChainError

KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64

PRIME = (1 << 255) - 19  # the field of edwards25519, RFC 8032 5.1

# y of the eight points of small order (the sign bit of x aside): 0 and p-1, 1, and two of order 8.
# Source: libsodium, ge25519_has_small_order; a test computes them from the curve.
SMALL_ORDER_Y = frozenset(
    (
        0,
        1,
        PRIME - 1,
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
            "little",
        ),
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
            "little",
        ),
    )
)


class KeyRefused(ChainError):
    """Octets are not an Ed25519 public key that may be used here."""

    reason = "KEY_REFUSED"


class SignatureRejected(ChainError):
    """A signature is not by that key over those octets."""

    reason = "SIGNATURE_REJECTED"


def _check_form(public_key: bytes) -> None:
    if len(public_key) != KEY_BYTES:
        raise KeyRefused(f"a public key has {KEY_BYTES} bytes")
    y = int.from_bytes(public_key, "little") & ((1 << 255) - 1)
    if y >= PRIME:
        raise KeyRefused("a public key is not in canonical form")
    if y in SMALL_ORDER_Y:
        raise KeyRefused("a public key is of small order")


def check_public_key(public_key: bytes) -> None:
    """Refuse what may not be registered: also points off the curve or outside the prime-order
    group.

    Cost: about 40 us, so it is done when a key is accepted and not at every signature.

    Raises:
        KeyRefused: the key may not be used.
    """
    _check_form(public_key)
    if not bindings.crypto_core_ed25519_is_valid_point(public_key):
        raise KeyRefused("a public key is not a point of the group")


def verify_signature(public_key: bytes, octets: bytes, signature: bytes) -> None:
    """Raise unless `signature` is by `public_key` over `octets`.

    Raises:
        KeyRefused: the key has a form that is never used.
        SignatureRejected: the signature is not valid, or has not 64 bytes.
    """
    _check_form(public_key)
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureRejected(f"a signature has {SIGNATURE_BYTES} bytes")
    try:
        bindings.crypto_sign_open(signature + octets, public_key)
    except BadSignatureError:
        raise SignatureRejected("a signature is not valid") from None


class SigningKey:
    """An Ed25519 private key, made from its stored 32-byte seed."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise KeyRefused(f"a seed has {SEED_BYTES} bytes")
        public_key, secret = bindings.crypto_sign_seed_keypair(seed)
        self.public_key: bytes = public_key
        self._secret: bytes = secret

    def sign(self, octets: bytes) -> bytes:
        """Return the signature (64 bytes) over `octets`; the same octets give the same bytes."""
        return bindings.crypto_sign(octets, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key.hex()})"
