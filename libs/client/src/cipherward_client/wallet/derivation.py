"""Keys that a wallet derives from its one seed, so that a backup of the seed is a backup of all.

HKDF-SHA-256 (RFC 5869); chain, kind and name are bound into `info`, each behind its length, so no
key serves two purposes.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_chain.domains import WALLET_KEY
from cipherward_chain.wire import length_prefixed

SEED_BYTES = 32  # as strong as every key that comes from it

PSEUDONYM = "pseudonym"  # Ed25519 seed of a scope's registered key
REQUESTER = "requester"  # seed of a researcher's key for one study's result


def derive(seed: bytes, chain_id: str, kind: str, name: bytes) -> bytes:
    """Return the 32-byte key of `kind` and `name`; the same arguments give the same key."""
    parts = (chain_id.encode(), kind.encode(), name)
    info = WALLET_KEY + b"".join(length_prefixed(part) for part in parts)
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(seed)
