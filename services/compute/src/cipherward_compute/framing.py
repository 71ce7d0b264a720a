"""Hashing several parts under one domain tag, so that none can be shifted into the next."""

from __future__ import annotations

import hashlib
import hmac

from cipherward_chain.wire import length_prefixed


def framed(tag: bytes, *parts: bytes) -> bytes:
    """Return the tag and the parts, each behind its length."""
    return tag + b"".join(length_prefixed(part) for part in parts)


def digest_of(tag: bytes, *parts: bytes) -> bytes:
    """Return the SHA-256 of `framed`."""
    return hashlib.sha256(framed(tag, *parts)).digest()


def keyed(key: bytes, tag: bytes, *parts: bytes) -> bytes:
    """Return 32 bytes that nobody without `key` can tell from random ones."""
    return hmac.digest(key, framed(tag, *parts), "sha256")
