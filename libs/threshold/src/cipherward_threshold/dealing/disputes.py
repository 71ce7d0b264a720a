"""Who is at fault when deals do not fit: the dealer, or a receiver that says so falsely.

The dealer opens all its deals: their digests were committed to before the challenge, so what it
opens is what it dealt. Everybody then computes what each receiver had to publish. The key whose
parts are opened was never used and never will be: the dealer itself has seen that the deals do not
fit, and no honest member goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_threshold.dealing.checks import deal_check
from cipherward_threshold.dealing.messages import DealCheck
from cipherward_threshold.errors import OpeningRejected, ThresholdError
from cipherward_threshold.messages import Deal, Sharing
from cipherward_threshold.parameters import profile as profile_named
from cipherward_threshold.sampling import framed


@dataclass(frozen=True, slots=True)
class Fault:
    """Who spoiled a sharing: receivers, by point, or else the dealer."""

    receivers: tuple[int, ...]

    @property
    def dealer(self) -> bool:
        """Whether every receiver told the truth, so that the dealer did not."""
        return not self.receivers


def deal_digest(deal: bytes) -> bytes:
    """Return the digest by which a dealer commits to a deal before the challenge."""
    return hashlib.sha256(framed(deal)).digest()


def settle(
    profile: str,
    dealer: bytes,
    opened: Mapping[int, bytes],
    committed: Mapping[int, bytes],
    checks: Mapping[int, bytes],
    challenge: bytes,
) -> Fault:
    """Return who is at fault for a dealer that `checks.verify_deals` has named.

    Args:
        dealer: the name of its deals.
        opened: all its deals, by point.
        committed: their digests, by point, as the dealer committed to them.
        checks, challenge: as in `checks.verify_deals`.

    Raises:
        OpeningRejected: the dealer opens something else; then it is at fault.
    """
    parameters = profile_named(profile)
    if set(opened) != set(committed) or set(opened) != set(checks):
        raise OpeningRejected("the dealer has not opened every deal")
    false: list[int] = []
    for point, deal in sorted(opened.items()):
        if deal_digest(deal) != committed[point]:
            raise OpeningRejected("an opened deal is not what was committed to", point=point)
        check = DealCheck.parse(parameters, checks[point])
        if not _fits(parameters.name, deal, dealer, check.sharing, point):
            raise OpeningRejected("an opened deal is none of this dealer and point", point=point)
        row = check.dealers.index(dealer)
        due = DealCheck.parse(parameters, deal_check(profile, [deal], challenge)).values[0]
        if (due != check.values[row]).any():
            false.append(point)
    return Fault(tuple(false))


def _fits(profile: str, deal: bytes, dealer: bytes, form: Sharing, point: int) -> bool:
    try:
        parsed = Deal.parse(profile_named(profile), deal)
    except ThresholdError:
        return False
    return (parsed.dealer, parsed.sharing, parsed.point) == (dealer, form, point)
