"""The arithmetic of risk scores, beside the event loop: octets in, octets out.

A mask is one ciphertext a block of slots: 1 for whom a score is asked, 0 for all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cipherward_chain.batches import BatchMalformed, unpacked
from cipherward_compute.arithmetic.columns import evaluator
from cipherward_compute.arithmetic.inputs import named
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.encryption import sum_contributions
from cipherward_threshold.messages import RequesterPublicKey
from cipherward_threshold.parameters import profile as profile_named
from cipherward_threshold.switching import RequesterKey, combine_switched

MASKED_CIRCUIT = "masked-linear"

CheckWeights = tuple[int, int]


class MaskRefused(PeerWrong):
    """A mask is not of zeros and ones, or it covers patients who are not its hospital's."""

    reason = "MASK_REFUSED"


@dataclass(frozen=True, slots=True)
class Masked:
    """What a block of a mask is multiplied with.

    relin_key: tested. mask: a verified contribution. columns: verified contributions, 1 to 64.
    """

    profile: str
    relin_key: bytes = field(repr=False)
    mask: bytes = field(repr=False)
    columns: Sequence[bytes] = field(repr=False)


def mask_checks(masked: Masked, weights: Sequence[CheckWeights]) -> list[bytes]:
    """Return the checks of a block of a mask, one for each two weights: zero in every slot if it
    is 0 or 1 everywhere, and 0 wherever the column is; about 0.1 s each.

    Args:
        masked: its one column is of flags.
        weights: each 1 <= weight < 2^32, and the two different.

    Raises:
        ThresholdError: a ciphertext is not of this key.
    """
    with_key = evaluator(masked.profile, masked.relin_key)
    mask = sum_contributions(masked.profile, [masked.mask])
    (flags,) = (sum_contributions(masked.profile, [column]) for column in masked.columns)
    return [with_key.mask_check(mask, flags, pair) for pair in weights]


def masked_sum(masked: Masked, weights: Sequence[int]) -> bytes:
    """Return the weighted sum of columns in the mask's slots, zero in all others; about 0.2 s.

    Args:
        weights: one a column, of either sign, |weight| < 2^20.

    Raises:
        ThresholdError: a ciphertext is not of this key.
    """
    columns = [sum_contributions(masked.profile, [column]) for column in masked.columns]
    mask = sum_contributions(masked.profile, [masked.mask])
    return evaluator(masked.profile, masked.relin_key).masked_linear(mask, columns, weights)


def named_batch(profile: str, ciphertexts: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return ciphertexts packed, and the digest of their keys and c1."""
    return named(profile, ciphertexts)


def require_zero(hospital: str, opened: Sequence[int]) -> None:
    """Accept the opened checks of a mask.

    Raises:
        MaskRefused: one of them is not zero everywhere.
    """
    if any(opened):
        raise MaskRefused(hospital, "its mask is not of its own patients alone")


def check_requester_key(profile: str, public_key: bytes) -> None:
    """Accept the key that scores are for, or raise ThresholdError; some milliseconds."""
    RequesterPublicKey.parse(profile_named(profile), public_key)


def public_key_of(profile: str, seed: bytes) -> bytes:
    """Return the public key of a one-time key; some milliseconds."""
    return RequesterKey.generate(profile, seed).public_key()


@dataclass(frozen=True, slots=True)
class Answered:
    """What the scores of a use are read from.

    seed: of the one-time key. batch: packed ciphertexts, the sums and then the counts of known
    values. shares: of each member of the set, packed. slots: how many each block has. bounds: the
    most that a sum can be, of either sign, and a count.
    """

    profile: str
    seed: bytes = field(repr=False)
    batch: bytes = field(repr=False)
    shares: Mapping[str, bytes] = field(repr=False)
    slots: Sequence[int]
    bounds: tuple[int, int]


def opened_scores(answered: Answered) -> tuple[list[int], list[int]]:
    """Return the sums and the counts of all slots; about 20 ms a ciphertext.

    Raises:
        PeerWrong: a member's shares are none.
        ThresholdError: together they open nothing, or noise.
    """
    key = RequesterKey.generate(answered.profile, answered.seed)
    ciphertexts = unpacked(answered.batch)[0]
    shares = {
        member: _shares(member, octets, len(ciphertexts))
        for member, octets in answered.shares.items()
    }
    blocks = len(answered.slots)
    found: tuple[list[int], list[int]] = ([], [])
    for place, ciphertext in enumerate(ciphertexts):
        of_it = [of_member[place] for of_member in shares.values()]
        switched = combine_switched(answered.profile, ciphertext, of_it, circuit=MASKED_CIRCUIT)
        kind, block = divmod(place, blocks)
        found[kind].extend(
            key.decrypt(switched, answered.slots[block], bound=answered.bounds[kind])
        )
    return found


def _shares(member: str, octets: bytes, count: int) -> tuple[bytes, ...]:
    try:
        shares, others = unpacked(octets)
    except BatchMalformed as error:
        raise PeerWrong(member, str(error)) from None
    if len(shares) != count or others:
        raise PeerWrong(member, "it gave another number of shares")
    return shares
