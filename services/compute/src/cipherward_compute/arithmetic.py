"""The arithmetic that runs beside the event loop: octets in, octets out, no service, no grpc.

Every function names the parameter profile; the first use of a profile in a worker builds and tests
its ring (`warm`). A message of a peer that is not what it should be is `PeerWrong`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cipherward_threshold.decryption import combine, partial_decryption
from cipherward_threshold.encryption import c1_digest, encrypt, parsed_ciphertext, sum_ciphertexts
from cipherward_threshold.errors import ThresholdError
from cipherward_threshold.keys import (
    combine_public_key,
    context_digest,
    member_secret,
    public_key_share_digest,
)
from cipherward_threshold.messages import Deal, DecryptionShare, PublicKeyShare
from cipherward_threshold.parameters import Profile, profile
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.shamir import aggregate_shares, sharing
from cipherward_threshold.switching import switch_share


class PeerWrong(ValueError):
    """A member's message is not what the protocol asks of it."""

    def __init__(self, member: str, why: str) -> None:
        super().__init__(member, why)
        self.member = member
        self.why = why

    def __str__(self) -> str:
        return f"{self.member}: {self.why}"


class SumDiffers(ValueError):
    """A stored sum is not the one whose digest an order names."""


def warm(profile_name: str) -> None:
    """Build and self-test the ring of a profile, about 0.2 s, so that no order pays for it."""
    profile_ring(profile_name)


def make_keys(
    profile_name: str, seed: bytes, context: bytes, points: Mapping[str, int], threshold: int
) -> tuple[bytes, dict[str, bytes]]:
    """Return this member's public-key share and its deal to every member; about 25 ms.

    Args:
        points: of all members, this one included.
    """
    secret = member_secret(profile_name, seed, context)
    deals = secret.deal(list(points.values()), threshold)
    return secret.public_key_share(), {name: deals[point] for name, point in points.items()}


def check_revealed(
    profile_name: str,
    context: bytes,
    points: Mapping[str, int],
    threshold: int,
    receiver: str,
    revealed: Mapping[str, tuple[bytes, bytes]],
) -> None:
    """Check each dealer's public-key share and its deal to `receiver` against one another.

    Raises:
        PeerWrong: a share of another ceremony, a deal that another made or for another sharing or
            point, or bytes that are neither.
    """
    parameters = profile(profile_name)
    digest = context_digest(profile_name, context)
    form = sharing(list(points.values()), threshold)
    for member, (share, deal) in revealed.items():
        try:
            if PublicKeyShare.parse(parameters, share).context_digest != digest:
                raise PeerWrong(member, "its public-key share is of another ceremony")
            parsed = Deal.parse(parameters, deal)
        except ThresholdError as error:
            raise PeerWrong(member, str(error)) from None
        if parsed.dealer != public_key_share_digest(parameters, share):
            raise PeerWrong(member, "its deal is not of its public-key share")
        if parsed.sharing != form or parsed.point != points[receiver]:
            raise PeerWrong(member, "its deal is for another sharing or point")


def make_key(
    profile_name: str, context: bytes, shares: Sequence[bytes], deals: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Return the collective public key and this member's share of its secret; about 5 ms."""
    return (
        combine_public_key(profile_name, context, shares),
        aggregate_shares(profile_name, deals),
    )


def encrypted(profile_name: str, public_key: bytes, slots: Sequence[int]) -> bytes:
    """Return integers encrypted under the collective key; about 5 ms."""
    return encrypt(profile_name, public_key, slots)


def total_of(profile_name: str, contributions: Mapping[str, bytes]) -> tuple[bytes, bytes]:
    """Return the sum of the contributions and the digest of its key and c1; about 8 ms for four.

    Raises:
        PeerWrong: a contribution is no ciphertext.
        ThresholdError: together they are no sum.
    """
    parameters = profile(profile_name)
    for member, ciphertext in contributions.items():
        try:
            parsed_ciphertext(parameters, ciphertext)
        except ThresholdError as error:
            raise PeerWrong(member, str(error)) from None
    total = sum_ciphertexts(profile_name, [contributions[name] for name in sorted(contributions)])
    return total, c1_digest(profile_name, total)


def counts_share(
    profile_name: str,
    key_share: bytes,
    total: tuple[bytes, bytes],
    points: tuple[int, Sequence[int]],
    seed: bytes,
    context: bytes,
) -> bytes:
    """Return this guardian's share of the counts; about 5 ms.

    Args:
        total: the sum, and the digest of its key and c1 that the order names.
        points: this guardian's own, and the set's.

    Raises:
        SumDiffers: the stored sum is another one: a share of a chosen c1 gives the key away.
        ThresholdError: the key share or the set does not fit.
    """
    point, online = points
    summed = _checked_sum(profile_name, total)
    return partial_decryption(
        profile_name, key_share, summed, point=point, online=online, seed=seed, context=context
    )


def result_share(
    profile_name: str,
    key_share: bytes,
    total: tuple[bytes, bytes],
    requester_public_key: bytes,
    points: tuple[int, Sequence[int]],
    seed: bytes,
    context: bytes,
) -> bytes:
    """Return this guardian's part of the switch to the requester's key, as `counts_share`; 9 ms."""
    point, online = points
    summed = _checked_sum(profile_name, total)
    return switch_share(
        profile_name,
        key_share,
        summed,
        requester_public_key=requester_public_key,
        point=point,
        online=online,
        seed=seed,
        context=context,
    )


def opened_counts(
    profile_name: str, total: bytes, shares: Mapping[str, tuple[int, bytes]], slots: int
) -> list[int]:
    """Return the counts; `shares` are each member's point and bytes. About 5 ms.

    Raises:
        PeerWrong: a member's share is not one, or not its own.
        ThresholdError: together they open nothing.
    """
    parameters: Profile = profile(profile_name)
    for member, (point, share) in shares.items():
        try:
            parsed = DecryptionShare.parse(parameters, share)
        except ThresholdError as error:
            raise PeerWrong(member, str(error)) from None
        if parsed.point != point:
            raise PeerWrong(member, "its share is another guardian's")
    return combine(profile_name, total, [share for _, share in shares.values()], slots)


def _checked_sum(profile_name: str, total: tuple[bytes, bytes]) -> bytes:
    octets, digest = total
    try:
        same = c1_digest(profile_name, octets) == digest
    except ThresholdError:
        same = False
    if not same:
        raise SumDiffers("the stored sum is damaged")
    return octets
