"""What the members of a development alliance would decide: all their keys lie in its folder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import ActRefused
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import vote
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft

DECIDED = "STATE_FORBIDS"  # why a vote is refused when those before it were enough


async def grant_for(
    folder: AllianceFolder, alliance: Alliance, wallet: Wallet, draft: Draft
) -> bytes:
    """Apply for a permit for one study and vote yes on it as every member; return its id.

    Raises:
        ClientError: it is refused, or the folder lacks a member's keys.
    """
    applied = await apply_for_permit(alliance, wallet, PermitRequest.for_study(draft))
    members = draft.members or alliance.present
    await _vote_as_all(folder, members, partial(vote_permit, permit_id=applied.permit_id))
    return applied.permit_id


async def approve_as_all(folder: AllianceFolder, members: Sequence[str], study_id: bytes) -> None:
    """Vote yes on a study as one member after the other, until the votes suffice.

    Raises:
        ClientError: a vote is refused, or the folder lacks a member's keys.
    """
    await _vote_as_all(folder, members, partial(vote, study_id=study_id))


async def _vote_as_all(
    folder: AllianceFolder,
    members: Sequence[str],
    say_yes: Callable[[Hospital], Awaitable[ProvenAct]],
) -> None:
    for member in members:
        try:
            async with open_hospital(folder, member) as hospital:
                await say_yes(hospital)
        except ActRefused as refusal:
            if refusal.reason != DECIDED:
                raise
            return
