"""How a guardian keeps seeds and shares: encrypted under a key that is derived from a key file.

Whoever copies the database without the key file has nothing. Each value is bound to its place, so
that no value opens in the place of another.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_chain.domains import GUARDIAN_AT_REST
from cipherward_chain.wire import length_prefixed

KEY_BYTES: Final = 32  # AES-256
NONCE_BYTES: Final = 12  # GCM's own; random, and far fewer than 2^32 values are sealed by one key


class GuardianVaultCorrupt(Exception):
    """What is kept does not open: other bytes, another place, or another key file."""


@dataclass(frozen=True, slots=True)
class GuardianVault:
    """Seals what one member keeps for one purpose on one chain."""

    _key: bytes = field(repr=False)

    @staticmethod
    def derive(material: bytes, *, chain_id: str, member: str, purpose: str) -> GuardianVault:
        """Return the vault of a purpose.

        Args:
            material: secret octets of a key file, at least 32 random bytes.
            purpose: of group_keys.PURPOSES; each has a key of its own.
        """
        info = _framed(chain_id.encode(), member.encode(), purpose.encode())
        return GuardianVault(HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(material))

    def seal(self, value: bytes, *place: bytes) -> bytes:
        """Return nonce and ciphertext of `value`; `place` names where it will stand."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, value, _framed(*place))

    def open(self, sealed: bytes, *place: bytes) -> bytes:
        """Return the value, or raise `GuardianVaultCorrupt`."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self._key).decrypt(nonce, ciphertext, _framed(*place))
        except (InvalidTag, ValueError):
            raise GuardianVaultCorrupt(
                "a seed or a share on this member's disk does not open: the data is damaged, or "
                "the key file is not the one that it was kept under"
            ) from None


def _framed(*parts: bytes) -> bytes:
    return GUARDIAN_AT_REST + b"".join(length_prefixed(part) for part in parts)
