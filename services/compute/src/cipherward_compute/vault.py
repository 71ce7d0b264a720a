"""Secrets of this member: how they are derived, and how what must be kept is encrypted at rest."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cipherward_compute.domains import AT_REST, NOISE_SEED, ROWS_NAME, SECRET_SEED, framed, keyed
from cipherward_compute.errors import StepFailed
from cipherward_kit.errors import CannotStart

KEY_BYTES = 32
SALT_BYTES = 32
NONCE_BYTES = 12  # GCM's own; random, and far fewer than 2^32 values are ever sealed by one key


class KeyFileUnusable(CannotStart):
    """A key file cannot be read, or has not 32 bytes."""

    exit_status = 23


class VaultCorrupt(StepFailed):
    """What is kept does not open: other bytes, another place or another key."""


def read_key(path: Path, setting: str) -> bytes:
    """Return the 32 raw bytes in `path`.

    Raises:
        KeyFileUnusable: it cannot be read or has another length.
    """
    try:
        key = path.read_bytes()
    except OSError as error:
        raise KeyFileUnusable(
            f"a key file cannot be read ({error.strerror}); check {setting}"
        ) from None
    if len(key) != KEY_BYTES:
        raise KeyFileUnusable(f"the key file of {setting} has not {KEY_BYTES} bytes")
    return key


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals values for the database with AES-256-GCM, each bound to its place."""

    _key: bytes = field(repr=False)

    def seal(self, value: bytes, *place: bytes) -> bytes:
        """Return nonce and ciphertext of `value`; `place` names where it will stand."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, value, framed(AT_REST, *place))

    def open(self, sealed: bytes, *place: bytes) -> bytes:
        """Return the value, or raise `VaultCorrupt`."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self._key).decrypt(nonce, ciphertext, framed(AT_REST, *place))
        except (InvalidTag, ValueError):
            raise VaultCorrupt("what this member keeps on its disk is damaged") from None

    def name(self, content: bytes) -> bytes:
        """Return 32 bytes that name a content and tell nothing about it without the key."""
        return keyed(self._key, ROWS_NAME, content)


@dataclass(frozen=True, slots=True)
class CeremonyRoot:
    """The root of all study secrets of this member.

    A seed needs the root, which never leaves its file, and a salt, which stands in the database
    until the seed's job is over: without either of the two it is gone, and with both a crash or a
    restored backup repeats the same bytes, never a second answer.
    """

    _key: bytes = field(repr=False)

    def secret_seed(self, study: bytes, ceremony: bytes, salt: bytes) -> bytes:
        """Return the seed of this member's secret; `ceremony` is the context of the ceremony."""
        return keyed(self._key, SECRET_SEED, study, ceremony, salt)

    def noise_seed(self, study: bytes, salt: bytes) -> bytes:
        """Return the seed of the noise in this member's shares of a study's sums."""
        return keyed(self._key, NOISE_SEED, study, salt)
