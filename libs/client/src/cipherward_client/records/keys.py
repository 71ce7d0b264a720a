"""The keys of one record and what the anchor commits to.

Suite 2: a record's key takes the custodian's part K_c and the part K_a that is encapsulated to the
members' shared key. Neither opens the record alone.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_chain.acts import SUITE_SHARED
from cipherward_chain.domains import RECORD_KDF, record_key_commitment
from cipherward_chain.wire import length_prefixed
from cipherward_client.records.errors import RecordKeyWrong, RecordSuiteUnknown

KEY_BYTES = 32  # AES-256
RECORD_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class RecordContext:
    """What every key and chunk of a record is bound to."""

    chain_id: str
    record_id: bytes
    suite: int = SUITE_SHARED

    def __post_init__(self) -> None:
        if self.suite != SUITE_SHARED:
            raise RecordSuiteUnknown(f"suite {self.suite} is not known here")
        if len(self.record_id) != RECORD_ID_BYTES:
            raise ValueError("a record id has 16 bytes")

    def octets(self) -> bytes:
        """Return the bound fields in one unambiguous string."""
        return (
            self.suite.to_bytes(2, "big") + length_prefixed(self.chain_id.encode()) + self.record_id
        )


def new_custodian_part() -> bytes:
    """Return a fresh custodian part K_c, 32 bytes."""
    return secrets.token_bytes(KEY_BYTES)


def record_key(context: RecordContext, custodian_part: bytes, alliance_part: bytes) -> bytes:
    """Derive the key of the record's chunks: HKDF-SHA-256 of both parts, bound to `context`.

    Args:
        custodian_part: K_c, 32 bytes.
        alliance_part: K_a, 32 bytes.

    Returns:
        32 bytes.
    """
    if len(custodian_part) != KEY_BYTES or len(alliance_part) != KEY_BYTES:
        raise ValueError("a part of a record's key has 32 bytes")
    info = RECORD_KDF + context.octets()
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(
        custodian_part + alliance_part
    )


def check_record_key(record_id: bytes, key: bytes, commitment: bytes) -> None:
    """Raise `RecordKeyWrong` unless the anchor commits to `key`."""
    if not hmac.compare_digest(record_key_commitment(record_id, key), commitment):
        raise RecordKeyWrong("this key does not open this record")
