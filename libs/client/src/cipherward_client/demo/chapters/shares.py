"""Two hospitals of four try to read the result: they have too few shares."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from cipherward_client.demo.cast import Cast
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.study_requests import PROFILE
from cipherward_client.sdk.study_results import ResultParts, open_result
from cipherward_client.wallet.wallet import Wallet
from cipherward_threshold.messages import SwitchShare
from cipherward_threshold.rings import profile_ring

TWO = 2


async def try_two_shares(cast: Cast, wallet: Wallet, study_id: bytes, parts: ResultParts) -> None:
    """Give the researcher's own key two shares, as they are and relabelled as a whole set."""
    two = dict(list(parts.shares.items())[:TWO])
    honest = await _attempt(wallet, study_id, replace(parts, shares=two))
    relabelled = await asyncio.to_thread(_relabelled, two)
    forged = await _attempt(wallet, study_id, replace(parts, shares=relabelled))
    cast.teller.say(
        f"With two shares of four, even the researcher's key opens nothing ({honest}); two shares "
        f"that claim to be the whole set give noise ({forged})."
    )
    cast.report.check(
        "two of four shares yield nothing",
        honest == "TOO_FEW_SHARES" and forged == "RESULT_IS_NOISE",
        f"{honest}; relabelled: {forged}",
    )


async def _attempt(wallet: Wallet, study_id: bytes, parts: ResultParts) -> str:
    try:
        await open_result(wallet, study_id, parts)
    except ClientError as refusal:
        return refusal.reason
    return "opened"


def _relabelled(shares: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the shares with their own members as the whole set: what two cheats would send."""
    ring = profile_ring(PROFILE)
    read = {member: SwitchShare.parse(ring.profile, raw) for member, raw in shares.items()}
    online = tuple(sorted(share.point for share in read.values()))
    return {
        member: replace(share, online=online).to_bytes(ring.profile)
        for member, share in read.items()
    }
