"""The arithmetic of a key ceremony, beside the event loop: octets in, octets out.

Every function names the parameter profile; the first use of a profile in a worker builds and tests
its ring (`warm`). A message of a peer that is not what it should be is `PeerWrong`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_threshold.dealing.checks import Dealt, deal_check, verify_deals
from cipherward_threshold.dealing.disputes import deal_digest, settle
from cipherward_threshold.dealing.messages import MaskShare
from cipherward_threshold.errors import DealCheckRejected, DealsDisputed, ThresholdError
from cipherward_threshold.keys import combine_public_key, member_secret, public_key_share_digest
from cipherward_threshold.messages import Deal
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.key_shares import prove_key_share, verify_key_share
from cipherward_threshold.rings import profile_ring
from cipherward_threshold.shamir import aggregate_shares, sharing


@dataclass(frozen=True, slots=True)
class Form:
    """What all messages of a ceremony are about. `points` are of all members."""

    profile: str
    context: bytes
    points: Mapping[str, int]
    threshold: int


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What a member makes when a ceremony begins; the deals are SECRET, by receiver.

    digests: of all its deals, by which it commits to them.
    """

    share: bytes
    proof: bytes
    mask_share: bytes
    deals: Mapping[str, bytes] = field(repr=False)
    digests: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Checks:
    """What the receivers have published about their deals, by receiver, for one challenge."""

    challenge: bytes
    by_receiver: Mapping[str, bytes]


def warm(profile_name: str) -> None:
    """Build and self-test the ring of a profile, about 0.2 s, so that no order pays for it."""
    profile_ring(profile_name)


def make_parts(form: Form, seed: bytes, sender: str) -> KeyParts:
    """Return this member's share with its proof, and its deals; about 0.15 s."""
    secret = member_secret(form.profile, seed, form.context)
    points = list(form.points.values())
    deals = secret.deal(points, form.threshold)
    return KeyParts(
        secret.public_key_share(),
        prove_key_share(secret, sender=sender.encode()),
        secret.mask_share(points, form.threshold),
        {name: deals[point] for name, point in form.points.items()},
        {name: deal_digest(deals[point]) for name, point in form.points.items()},
    )


def check_parts(form: Form, dealer: str, receiver: str, parts: KeyParts) -> None:
    """Accept what a dealer reveals to all, and its deal to `receiver`; about 0.1 s.

    Raises:
        PeerWrong: a share of another ceremony or member, or without proof; a deal or mask that is
            not of the share, or for another sharing or point; bytes that are none of these.
    """
    parameters = profile(form.profile)
    if deal_digest(parts.deals[receiver]) != parts.digests[receiver]:
        raise PeerWrong(dealer, "its deal is not what it committed to")
    try:
        verify_key_share(
            form.profile, form.context, parts.share, parts.proof, sender=dealer.encode()
        )
        mask = MaskShare.parse(parameters, parts.mask_share)
        deal = Deal.parse(parameters, parts.deals[receiver])
    except ThresholdError as error:
        raise PeerWrong(dealer, str(error)) from None
    name = public_key_share_digest(parameters, parts.share)
    whole = sharing(list(form.points.values()), form.threshold)
    if (mask.dealer, mask.sharing) != (name, whole):
        raise PeerWrong(dealer, "its mask is not of its public-key share")
    if (deal.dealer, deal.sharing) != (name, whole) or deal.point != form.points[receiver]:
        raise PeerWrong(dealer, "its deal is not of its public-key share, or another's")


def answer(profile_name: str, deals: Sequence[bytes], challenge: bytes) -> bytes:
    """Return what this member publishes about its deals, one of each dealer; about 5 ms.

    Raises:
        ThresholdError: the deals are not of one sharing.
    """
    return deal_check(profile_name, deals, challenge)


def disputed(
    form: Form, revealed: Mapping[str, tuple[bytes, bytes]], checks: Checks
) -> tuple[str, ...]:
    """Return the dealers whose deals do not fit; about 50 ms for four members.

    Args:
        revealed: every member's public-key share and mask's share.

    Raises:
        PeerWrong: a receiver's message is none about these deals.
        ThresholdError: the shares do not belong together.
    """
    parameters = profile(form.profile)
    names = {public_key_share_digest(parameters, share): m for m, (share, _) in revealed.items()}
    receivers = {point: name for name, point in form.points.items()}
    try:
        verify_deals(
            form.profile,
            [Dealt(share, mask) for share, mask in revealed.values()],
            {form.points[name]: check for name, check in checks.by_receiver.items()},
            checks.challenge,
        )
    except DealCheckRejected as error:
        raise PeerWrong(receivers[int(error.metadata["point"])], str(error)) from None
    except DealsDisputed as error:
        return tuple(sorted(names[dealer] for dealer in error.dealers))
    return ()


def culprit(
    form: Form,
    dealer: str,
    share: bytes,
    opened: Mapping[str, bytes],
    committed: Mapping[str, bytes],
    checks: Checks,
) -> PeerWrong:
    """Return who is at fault for a dealer's deals that do not fit, and why, by what it opens.

    Args:
        share: the dealer's public-key share.
        opened: its deals, by receiver. committed: their digests.
    """
    points = form.points
    try:
        fault = settle(
            form.profile,
            public_key_share_digest(profile(form.profile), share),
            {points[name]: deal for name, deal in opened.items()},
            {points[name]: digest for name, digest in committed.items()},
            {points[name]: check for name, check in checks.by_receiver.items()},
            checks.challenge,
        )
    except ThresholdError as error:
        return PeerWrong(dealer, f"its deals do not fit its public-key share; {error}")
    if fault.dealer:
        return PeerWrong(dealer, "its deals do not fit its public-key share")
    false = next(name for name, point in points.items() if point in fault.receivers)
    return PeerWrong(false, "it says falsely that a deal does not fit")


def make_key(form: Form, shares: Sequence[bytes], deals: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the collective public key and this member's share of its secret; about 5 ms."""
    return (
        combine_public_key(form.profile, form.context, shares),
        aggregate_shares(form.profile, deals),
    )
