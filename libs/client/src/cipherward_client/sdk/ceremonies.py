"""Keys that no member has alone: voted, then made by the members' services on the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import decode_map
from cipherward_chain.fields import Fields
from cipherward_chain.group_keys import PURPOSES, GroupKeyEntry
from cipherward_client.sdk.errors import CheckFailed, explained, explaining
from cipherward_client.sdk.group_keys import group_key, newest_group_key
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.membership import read_registry
from cipherward_client.sdk.proposals import (
    CountedVote,
    ProposedChange,
    own_contract,
    propose,
    vote,
)

KEY_CEREMONY, BEGIN = "key-ceremony", "begin"
PROPOSED, RUNNING, DONE = "proposed", "running", "done"
NEW_KEY = 0  # as the terms say it: no epoch whose sharing is renewed
# How many blocks a phase may last. Members far apart, whose people restart machines, have hours: a
# block at least every 10 seconds makes this a quarter of a day.
WINDOW_BLOCKS = 2_000
# From the votes to the key in force: a member's messages are some milliseconds of arithmetic, and
# each of the phases takes two or three blocks when all are there.
CEREMONY_SECONDS = 120.0
POLL_SECONDS = 0.1


class CeremonyFailed(CheckFailed):
    """The members' services have not made the key."""

    reason = "CEREMONY_FAILED"


async def propose_key(
    hospital: Hospital,
    purpose: str,
    *,
    key_epoch: int = NEW_KEY,
    window: int = WINDOW_BLOCKS,
    members: Sequence[str] = (),
) -> ProposedChange:
    """Ask the members to make a shared key, or to share one anew.

    Args:
        purpose: of `cipherward_chain.group_keys.PURPOSES`.
        key_epoch: of the key that is shared anew; NEW_KEY makes a new one.
        window: blocks that a phase may last, 2..100000; it ends as soon as all have spoken.
        members: who gets a share; all members if empty.

    Raises:
        ActRefused: the key does not exist, or a ceremony for that purpose runs.
    """
    with explaining():
        named = members or [one.member for one in (await read_registry(hospital)).members]
        return await propose(
            hospital,
            KEY_CEREMONY,
            {
                "purpose": purpose,
                "key_epoch": key_epoch,
                "members": sorted(named),
                "window": window,
            },
        )


async def vote_on_key(hospital: Hospital, ceremony: bytes, approve: bool = True) -> CountedVote:
    """Say the member's yes or no to a ceremony.

    Raises:
        ActRefused: it is decided already.
    """
    return await vote(hospital, ceremony, BEGIN, approve)


async def key_made(
    hospital: Hospital, ceremony: bytes, *, seconds: float = CEREMONY_SECONDS
) -> GroupKeyEntry:
    """Return the key that a ceremony has put in force, proven, as soon as it has.

    Raises:
        ClientError: CEREMONY_FAILED: it ended without one, or did not end in time.
    """
    with explaining():
        try:
            async with asyncio.timeout(seconds):
                ended = await _ended(hospital, ceremony)
        except TimeoutError:
            raise CeremonyFailed(f"the ceremony did not end in {seconds:.0f} s") from None
        if ended.state != DONE:
            raise CeremonyFailed(f"the ceremony is {ended.state}")
        purpose = Fields(decode_map(ended.terms)).text("purpose")
        key_epoch = Fields(decode_map(ended.variables)).integer("key_epoch")
        return await group_key(hospital.alliance, purpose, key_epoch, fresh=True)


async def _ended(hospital: Hospital, ceremony: bytes) -> pb.Contract:
    while True:
        contract = await own_contract(hospital, ceremony)
        if contract.state not in (PROPOSED, RUNNING):
            return contract
        await asyncio.sleep(POLL_SECONDS)


async def make_group_key(
    hospitals: Sequence[Hospital],
    purpose: str,
    *,
    key_epoch: int = NEW_KEY,
    window: int = WINDOW_BLOCKS,
    seconds: float = CEREMONY_SECONDS,
) -> GroupKeyEntry:
    """Make a shared key of all members, or share one anew, with the votes of these hospitals.

    Args:
        hospitals: enough to decide; the first one proposes.
        key_epoch, window: see `propose_key`.
        seconds: for everything that follows the votes.

    Raises:
        ActRefused, ClientError: see `propose_key` and `key_made`; the votes were too few.
    """
    proposed = await propose_key(hospitals[0], purpose, key_epoch=key_epoch, window=window)
    for hospital in hospitals:
        if (await vote_on_key(hospital, proposed.change_id)).decided:
            break
    else:
        with explaining():
            raise CeremonyFailed("these votes do not decide it")
    return await key_made(hospitals[0], proposed.change_id, seconds=seconds)


async def ensure_group_keys(
    hospitals: Sequence[Hospital],
    *,
    window: int = WINDOW_BLOCKS,
    seconds: float = CEREMONY_SECONDS,
) -> dict[str, GroupKeyEntry]:
    """Return the newest shared keys by purpose; those that the alliance has not are made first.

    Raises:
        ClientError: see `make_group_key`.
    """

    async def one(purpose: str) -> GroupKeyEntry:
        with explaining():
            found = await newest_group_key(hospitals[0].alliance, purpose)
        if found is not None:
            return found
        return await make_group_key(hospitals, purpose, window=window, seconds=seconds)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {purpose: group.create_task(one(purpose)) for purpose in PURPOSES}
    except ExceptionGroup as failures:
        raise explained(failures) from failures
    return {purpose: task.result() for purpose, task in tasks.items()}
