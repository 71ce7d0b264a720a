"""Secrets of this member: how they are derived, and how what must be kept is encrypted at rest."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cipherward_chain.domains import (
    COMPUTE_AT_REST,
    COMPUTE_ROWS,
    OPT_OUT_SUBJECT,
    STUDY_NOISE_SEED,
    STUDY_SECRET_SEED,
)
from cipherward_compute.errors import StepFailed
from cipherward_compute.framing import framed, keyed

KEY_BYTES = 32
SALT_BYTES = 32
NONCE_BYTES = 12  # GCM's own; random, and far fewer than 2^32 values are ever sealed by one key


class VaultCorrupt(StepFailed):
    """What is kept does not open: other bytes, another place or another key."""

    reason = "DISK_DAMAGED"


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals values for the database with AES-256-GCM, each bound to its place."""

    _key: bytes = field(repr=False)

    def seal(self, value: bytes, *place: bytes) -> bytes:
        """Return nonce and ciphertext of `value`; `place` names where it will stand."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, value, framed(COMPUTE_AT_REST, *place))

    def open(self, sealed: bytes, *place: bytes) -> bytes:
        """Return the value, or raise `VaultCorrupt`."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self._key).decrypt(nonce, ciphertext, framed(COMPUTE_AT_REST, *place))
        except (InvalidTag, ValueError):
            raise VaultCorrupt("what this member keeps on its disk is damaged") from None

    def name(self, content: bytes) -> bytes:
        """Return 32 bytes that name a content and tell nothing about it without the key."""
        return keyed(self._key, COMPUTE_ROWS, content)

    def subject(self, kind: str, subject: bytes) -> bytes:
        """Return 32 bytes that name a patient's pseudonym or reference, as `name`."""
        return keyed(self._key, OPT_OUT_SUBJECT, kind.encode(), subject)

    def keyed_name(self, tag: bytes, *parts: bytes) -> bytes:
        """Return 32 bytes that name `parts` under a domain of their own, as `name`."""
        return keyed(self._key, tag, *parts)


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
        return keyed(self._key, STUDY_SECRET_SEED, study, ceremony, salt)

    def noise_seed(self, study: bytes, salt: bytes) -> bytes:
        """Return the seed of the noise in this member's shares of a study's sums."""
        return keyed(self._key, STUDY_NOISE_SEED, study, salt)
