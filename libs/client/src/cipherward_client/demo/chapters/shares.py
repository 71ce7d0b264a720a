"""One hospital too few tries to read the result with the others: they have too few shares."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cipherward_client.demo.cast import Cast
from cipherward_client.demo.questions import regression_study
from cipherward_client.demo.teller import word
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.study_results import ResultParts, open_result
from cipherward_client.wallet.wallet import Wallet
from cipherward_threshold.messages import SwitchShare
from cipherward_threshold.rings import profile_ring


async def try_too_few_shares(
    cast: Cast, wallet: Wallet, study_id: bytes, parts: ResultParts
) -> None:
    """Give the researcher's own key one share too few, and the same relabelled as a whole set."""
    enough, all_of_them = cast.threshold, len(cast.hospitals)
    given = dict(list(parts.shares.items())[: enough - 1])
    few = f"{word(len(given))} of {word(all_of_them)} shares"
    honest = await _attempt(wallet, study_id, replace(parts, shares=given))
    relabelled = await asyncio.to_thread(_relabelled, given)
    forged = await _attempt(wallet, study_id, replace(parts, shares=relabelled))
    cast.teller.say(
        f"With {few}, even the researcher's key opens nothing ({honest}); the same that claim to "
        f"be the whole set give noise ({forged})."
    )
    cast.report.check(
        f"{few} yield nothing",
        honest == "TOO_FEW_SHARES" and forged == "RESULT_IS_NOISE",
        f"{honest}; relabelled: {forged}",
    )


async def _attempt(wallet: Wallet, study_id: bytes, parts: ResultParts) -> str:
    try:
        await open_result(wallet, study_id, parts)
    except ClientError as refusal:
        return refusal.reason
    return "opened"


def _relabelled(shares: Mapping[str, Sequence[bytes]]) -> dict[str, tuple[bytes, ...]]:
    """Return the shares with their own members as the whole set: what two cheats would send."""
    profile = profile_ring(regression_study().profile).profile
    read = {
        member: [SwitchShare.parse(profile, one) for one in batch]
        for member, batch in shares.items()
    }
    online = tuple(sorted(batch[0].point for batch in read.values()))
    return {
        member: tuple(replace(one, online=online).to_bytes(profile) for one in batch)
        for member, batch in read.items()
    }
