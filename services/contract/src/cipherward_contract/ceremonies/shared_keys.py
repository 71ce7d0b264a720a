"""The members' shared keys, as the state holds them: which is in force, and who holds shares."""

from __future__ import annotations

from functools import lru_cache

from cipherward_chain.group_keys import (
    GroupKeyEntry,
    group_key_key,
    newest_entry,
    newest_epoch,
    newest_group_key_key,
)
from cipherward_contract.ceremonies.entries import past_sharing_key
from cipherward_contract.registry import ReadableState, WritableState

# Sharings in use with registries in use: a handful.
GUARDIANS_CACHED = 64


def newest_key_epoch(state: ReadableState, purpose: str) -> int:
    """Return the newest epoch of a purpose; 0 while it has no key."""
    return newest_epoch(state.get(newest_group_key_key(purpose)))


def shared_key(state: ReadableState, purpose: str, key_epoch: int) -> GroupKeyEntry | None:
    """Return the sharing in force of an epoch's key, or None."""
    raw = state.get(group_key_key(purpose, key_epoch))
    return None if raw is None else GroupKeyEntry.from_bytes(raw)


def newest_shared_key(state: ReadableState, purpose: str) -> GroupKeyEntry | None:
    """Return the sharing in force of the newest epoch's key, or None while there is no key."""
    epoch = newest_key_epoch(state, purpose)
    return shared_key(state, purpose, epoch) if epoch else None


def past_sharing(
    state: ReadableState, purpose: str, key_epoch: int, sharing: int
) -> GroupKeyEntry | None:
    """Return a sharing that is or was in force, or None."""
    raw = state.get(past_sharing_key(purpose, key_epoch, sharing))
    return None if raw is None else GroupKeyEntry.from_bytes(raw)


@lru_cache(GUARDIANS_CACHED)
def guardians_of(entry: bytes, members: frozenset[str]) -> tuple[str, ...]:
    """Return who of the active `members` has a share of the key whose entry this is, sorted."""
    ready = GroupKeyEntry.from_bytes(entry).guardians
    return tuple(member for member in ready if member in members)


def put_shared_key(state: WritableState, entry: GroupKeyEntry) -> None:
    """Bring a sharing into force; the points of earlier ones stay, so that a wrong share of theirs
    can still be told from a right one.
    """
    raw = entry.to_bytes()
    state.put(group_key_key(entry.purpose, entry.key_epoch), raw)
    state.put(past_sharing_key(entry.purpose, entry.key_epoch, entry.sharing), raw)
    if entry.key_epoch > newest_key_epoch(state, entry.purpose):
        state.put(newest_group_key_key(entry.purpose), newest_entry(entry.key_epoch))
