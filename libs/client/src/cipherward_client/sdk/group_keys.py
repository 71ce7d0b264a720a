"""Keys that the members share, as the chain proves them: what records are sealed under, and what
staff's identity keys are encrypted to.
"""

from __future__ import annotations

from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.group_keys import GroupKeyEntry, group_key_key
from cipherward_client.sdk.certified import StateUnproven
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.proven_state import prove
from cipherward_client.sdk.retries import patiently
from cipherward_kit.errors import reason_of

KEY_SECONDS = 15.0
# How long the newest key of a connection is taken for the newest: it changes once in months, and
# whoever seals under the one before is told so by the chain.
NEWEST_SECONDS = 30.0
UNKNOWN = "GROUP_KEY_UNKNOWN"


async def group_key(
    alliance: Alliance, purpose: str, key_epoch: int = 0, *, fresh: bool = False
) -> GroupKeyEntry:
    """Return the entry of a shared key, proven; asked once a connection.

    Args:
        purpose: of `cipherward_chain.group_keys.PURPOSES`.
        key_epoch: names the key; 0 the newest.
        fresh: ask again, as when a share is of another sharing than was known.

    Raises:
        AioRpcError: GROUP_KEY_UNKNOWN: the alliance has not made it; or the contract is away.
        StateUnproven, StateTooOld, GroupKeyMalformed: the answer is not to be believed.
    """
    asked_at, known = alliance.known_keys.get((purpose, key_epoch), (0.0, None))
    recent = key_epoch or alliance.now() < asked_at + NEWEST_SECONDS
    if known is not None and recent and not fresh:
        return known
    request = pb.GetGroupKeyRequest(purpose=purpose, key_epoch=key_epoch)
    answer = await patiently(
        lambda left: alliance.contract.GetGroupKey(request, timeout=left), KEY_SECONDS
    )
    if not answer.key_epoch or key_epoch not in (0, answer.key_epoch):
        raise StateUnproven("the key is of another epoch than was asked for")
    key = group_key_key(purpose, answer.key_epoch)
    raw = (await prove(alliance, answer.proven, [key])).values[key]
    if raw is None:
        raise StateUnproven("the state has no such key")
    entry = GroupKeyEntry.from_bytes(raw)
    alliance.known_keys[purpose, entry.key_epoch] = (alliance.now(), entry)
    _, newest = alliance.known_keys.get((purpose, 0), (0.0, None))
    if not key_epoch or (newest is not None and newest.key_epoch <= entry.key_epoch):
        alliance.known_keys[purpose, 0] = (alliance.now(), entry)
    return entry


async def newest_group_key(alliance: Alliance, purpose: str) -> GroupKeyEntry | None:
    """Return the newest key of a purpose, proven; None while the alliance has none.

    That there is none is the contract service's word: who builds on it is refused by the chain if
    there is one.

    Raises:
        AioRpcError, StateUnproven, StateTooOld, GroupKeyMalformed: see `group_key`.
    """
    try:
        return await group_key(alliance, purpose)
    except aio.AioRpcError as error:
        if reason_of(error) != UNKNOWN:
            raise
        return None
