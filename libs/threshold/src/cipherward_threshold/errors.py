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


class UnknownCircuit(ThresholdError):
    """No circuit has that name, or it is not for that profile."""


class WrongCircuit(ThresholdError):
    """A share was made for another circuit than the one that is asked for."""


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


class DealCheckRejected(ThresholdError):
    """A receiver's check of its deals is not one, or is about others; metadata: `point`."""


class DealsDisputed(ThresholdError):
    """Deals do not fit their proven shares, or a receiver's check of them is false.

    Attributes:
        dealers: the names of those that dealt them. `dealing.disputes` finds who is at fault.
    """

    def __init__(self, dealers: tuple[bytes, ...]) -> None:
        super().__init__("deals do not fit what their dealers have proven", dealers=len(dealers))
        self.dealers = dealers


class OpeningRejected(ThresholdError):
    """Opened deals are not those that their dealer committed to."""


class ResharingRejected(ThresholdError):
    """What was dealt anew does not add up to the secret of the public key."""


class ProofRejected(ThresholdError):
    """A proof of correct encryption, or of a public-key share, does not hold for its statement."""


class BadBatch(ThresholdError):
    """No ciphertext, or more than one proof covers."""


class WitnessOutOfRange(ThresholdError):
    """What should be proven is not small enough for a proof that hides it."""


class ProofAborted(ThresholdError):
    """Every try to prove was aborted: the source of the masks is broken."""


class EvaluationKeyRejected(ThresholdError):
    """The test of an evaluation key opened another value, or more noise, than a good key gives."""


class BadForm(ThresholdError):
    """Operands of a computation on ciphertexts are not what the circuits table covers."""


class SelfTestFailed(ThresholdError):
    """The installed SEAL does not behave as this library needs: refuse to start."""
