"""The chain's sealing, as the ceremonies of the pure library want it: one key for one ceremony."""

from __future__ import annotations

from cipherward_chain.sealing import (
    OpeningRejected,
    SealInfo,
    SealingKey,
    SealingKeyRefused,
    seal,
)

SLOT = "ceremony"  # which of a ceremony's values: the place says the rest


class CeremonySealing:
    """Adapter of the library's `Sealing`, with the key of `secret` (96 bytes)."""

    def __init__(self, chain_id: str, ceremony: bytes, secret: bytes) -> None:
        self._chain_id = chain_id
        self._ceremony = ceremony
        self._key = SealingKey(secret)

    @property
    def public_key(self) -> bytes:
        """What others seal to, 1,216 bytes."""
        return self._key.public_key

    def seal(self, plaintext: bytes, public_key: bytes, place: bytes) -> bytes:
        """Return `plaintext` sealed to another member's key of this ceremony, for that place.

        Raises:
            ValueError: the key is not of the suite.
        """
        try:
            return seal(plaintext, public_key, self._info(place))
        except SealingKeyRefused as error:
            raise ValueError(str(error)) from error

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return what was sealed to this key for that place.

        Raises:
            ValueError: it does not open here.
        """
        try:
            return self._key.open(sealed, self._info(place))
        except OpeningRejected as error:
            raise ValueError(str(error)) from error

    def _info(self, place: bytes) -> SealInfo:
        return SealInfo(self._chain_id, self._ceremony, SLOT, place)
