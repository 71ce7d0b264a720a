"""The key under which admission codes and sessions are derived, so that neither is stored.

Derived from the issuer's key material: whoever has that issues credentials without any code, so a
key file of its own would protect nothing more and could be lost apart from it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_anoncred.octets import pack
from cipherward_chain import domains

_KEY_BYTES = 32  # as long as the hash


@dataclass(frozen=True, slots=True)
class DeskKey:
    """A secret of one issuer on one chain; 32 bytes."""

    secret: bytes = field(repr=False)

    @classmethod
    def derive(cls, material: bytes, *, chain_id: str, member: str) -> DeskKey:
        """Derive it from the issuer's key material (at least 32 random bytes)."""
        info = domains.IDENTITY_DESK_KEY + pack(chain_id.encode(), member.encode())
        return cls(HKDF(SHA256(), _KEY_BYTES, salt=None, info=info).derive(material))

    def mac(self, tag: bytes, *fields: bytes) -> bytes:
        """Return HMAC-SHA256 of the tag and the fields, 32 bytes."""
        return hmac.digest(self.secret, tag + pack(*fields), "sha256")
