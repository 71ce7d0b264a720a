"""Every domain-separation tag of this library, in one place.

A tag is hashed behind its own length, so no derivation can be read as another one; the tags are
also prefix-free (tested), which keeps that true for readers who forget the length. Message frames
start with `wire.MAGIC`, which is no prefix of a tagged input either.
"""

from __future__ import annotations

COMMON_POLYNOMIAL = b"cipherward/threshold/v1/common-polynomial"
CONTEXT = b"cipherward/threshold/v1/context"
MEMBER_SECRET = b"cipherward/threshold/v1/member-secret"
PUBLIC_KEY_ERROR = b"cipherward/threshold/v1/public-key-error"
SHARE_COMMITMENT = b"cipherward/threshold/v1/share-commitment"
SHARE_DIGEST = b"cipherward/threshold/v1/share-digest"
KEY_ID = b"cipherward/threshold/v1/key-id"
DEAL_POLYNOMIAL = b"cipherward/threshold/v1/deal-polynomial"
CIPHERTEXT_C1 = b"cipherward/threshold/v1/ciphertext-c1"
DECRYPTION_FLOODING = b"cipherward/threshold/v1/decryption-flooding"
SWITCH_FLOODING = b"cipherward/threshold/v1/switch-flooding"
SWITCH_ENCRYPTION = b"cipherward/threshold/v1/switch-encryption"
REQUESTER_SECRET = b"cipherward/threshold/v1/requester-secret"
REQUESTER_ERROR = b"cipherward/threshold/v1/requester-error"
REQUESTER_POLYNOMIAL_SEED = b"cipherward/threshold/v1/requester-seed-of-polynomial"
REQUESTER_POLYNOMIAL = b"cipherward/threshold/v1/requester-polynomial"

ALL_TAGS = (
    COMMON_POLYNOMIAL,
    CONTEXT,
    MEMBER_SECRET,
    PUBLIC_KEY_ERROR,
    SHARE_COMMITMENT,
    SHARE_DIGEST,
    KEY_ID,
    DEAL_POLYNOMIAL,
    CIPHERTEXT_C1,
    DECRYPTION_FLOODING,
    SWITCH_FLOODING,
    SWITCH_ENCRYPTION,
    REQUESTER_SECRET,
    REQUESTER_ERROR,
    REQUESTER_POLYNOMIAL_SEED,
    REQUESTER_POLYNOMIAL,
)
