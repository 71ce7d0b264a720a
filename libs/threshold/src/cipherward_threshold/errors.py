"""Every refusal of this library, one class per distinct cause.

All are `ValueError`s, so the library depends on no service; a service maps them to its own codes.
"""

from __future__ import annotations


class ThresholdError(ValueError):
    """Base of every refusal here.

    Keyword arguments are the variables of the message, as text, so that a service can pass them
    on without parsing it. They are public: counts, points, profile names, never key material.
    """

    def __init__(self, message: str, **metadata: str | int) -> None:
        super().__init__(message)
        self.metadata = {key: str(value) for key, value in metadata.items()}


class UnknownProfile(ThresholdError):
    """No parameter profile has that name."""


class BadSeed(ThresholdError):
    """A secret seed is not exactly 32 bytes."""


class MalformedMessage(ThresholdError):
    """The bytes are no message of the expected kind: magic, kind, length or field order."""


class WrongProfile(ThresholdError):
    """The message was made under another parameter profile."""


class ResidueOutOfRange(ThresholdError):
    """A polynomial holds a residue that is not below its prime."""


class BadSharing(ThresholdError):
    """Points or threshold do not describe a sharing: zero, repeated, or threshold not in 1..n."""


class WrongContext(ThresholdError):
    """A public-key share belongs to another ceremony."""


class WrongKey(ThresholdError):
    """Messages made under different collective keys meet."""


class WrongCiphertext(ThresholdError):
    """A decryption share or switched result belongs to another ciphertext."""


class WrongRequester(ThresholdError):
    """A switched result or share is made for another requester's key."""


class WrongPoint(ThresholdError):
    """The key share belongs to another point than the one asked for, or outside the online set."""


class MixedShares(ThresholdError):
    """Shares computed for different online sets, or deals of different sharings, meet."""


class DuplicateShare(ThresholdError):
    """The same sender's share appears twice."""


class TooFewShares(ThresholdError):
    """Fewer shares, or a smaller online set, than the threshold needs."""


class TooManyShares(ThresholdError):
    """More parties or ciphertexts than the profile's noise analysis covers."""


class TransparentCiphertext(ThresholdError):
    """A ciphertext whose c1 is zero: it is no encryption at all."""


class ValueOutOfRange(ThresholdError):
    """A value, or the sum that it may join, does not fit the plaintext modulus."""


class TooManySlots(ThresholdError):
    """More values than one ciphertext carries, or none."""


class ResultIsNoise(ThresholdError):
    """The combined shares do not decrypt: a check slot is not zero.

    At least one share, or the ciphertext, is not what its header says.
    """


class SelfTestFailed(ThresholdError):
    """The installed SEAL does not behave as this library needs: refuse to start."""
