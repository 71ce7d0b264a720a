"""The domain-separation tags of the compute service; none is a prefix of another anywhere."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cipherward_chain.wire import length_prefixed

# Context of a study's key ceremony: what its public polynomial and its secrets are bound to.
CEREMONY_CONTEXT: Final = b"cipherward/study-ceremony/v1\0"
# Commitment to the messages that a member will reveal in a ceremony.
CEREMONY_COMMITMENT: Final = b"cipherward/study-commitment/v1\0"
# What a member has seen revealed; all members must have seen the same.
CEREMONY_TRANSCRIPT: Final = b"cipherward/study-transcript/v1\0"
# A member's secret seed of one study's key.
SECRET_SEED: Final = b"cipherward/study-secret-seed/v1\0"
# A member's secret seed of the noise in its shares of one study.
NOISE_SEED: Final = b"cipherward/study-noise-seed/v1\0"
# Context of a share: the order that asked for it, and whom it is for.
SHARE_CONTEXT: Final = b"cipherward/study-share/v1\0"
# What a member says it destroyed, when a study had no key yet.
NOTHING_RETIRED: Final = b"cipherward/study-without-key/v1\0"
# Associated data of what is encrypted at rest.
AT_REST: Final = b"cipherward/compute-at-rest/v1\0"
# Name under which a contribution of rows is compared with an earlier one.
ROWS_NAME: Final = b"cipherward/compute-rows/v1\0"

TAGS: Final = (
    CEREMONY_CONTEXT,
    CEREMONY_COMMITMENT,
    CEREMONY_TRANSCRIPT,
    SECRET_SEED,
    NOISE_SEED,
    SHARE_CONTEXT,
    NOTHING_RETIRED,
    AT_REST,
    ROWS_NAME,
)


def framed(tag: bytes, *parts: bytes) -> bytes:
    """Return the tag and the parts, each behind its length."""
    return tag + b"".join(length_prefixed(part) for part in parts)


def digest_of(tag: bytes, *parts: bytes) -> bytes:
    """Return the SHA-256 of `framed`."""
    return hashlib.sha256(framed(tag, *parts)).digest()


def keyed(key: bytes, tag: bytes, *parts: bytes) -> bytes:
    """Return 32 bytes that nobody without `key` can tell from random ones."""
    return hmac.digest(key, framed(tag, *parts), "sha256")
