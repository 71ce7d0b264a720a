"""The weekly renewal of slot keys: living slots move to a new key, then the old one is destroyed.

A stop anywhere is safe: which key a slot is under stands in its row, and a key is destroyed only
when no row names it and none can any more, since the store takes nothing under a key below its
floor, which is raised before the slots move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from cipherward_member.errors import KeyUnusable
from cipherward_storage import metrics
from cipherward_storage.errors import StoreAway
from cipherward_storage.records import KeptSlot
from cipherward_storage.slot_keys import SETTING, SlotKey, SlotKeyGone, SlotKeys
from cipherward_storage.slots import CustodianSlots, KeptSlotUnusable

# Moved at once: a tenth of a second of work in a thread, and one transaction.
BATCH = 500
# How often is looked, of a renewal's time; and bounds of that.
LOOKS = 100
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 0.1, 600.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LivingSlot:
    """A slot that somebody may still need: a record's, or (`request_id`) an open upload's."""

    record_id: bytes
    request_id: str
    kept: KeptSlot


class SlotStore(Protocol):
    """Where slots are. Adapters: `sqlite_slots`, `mongo.slots`."""

    async def ours(self) -> bool:
        """Take or keep the turn of whoever renews; False: another storage of this member does."""
        ...

    async def registered(self, key_number: int, fingerprint: bytes) -> bytes:
        """Keep a slot key's fingerprint unless one is kept for its number; return the kept one."""
        ...

    async def raise_floor(self, key_number: int) -> None:
        """Take no slot any more that is under a key below this one."""
        ...

    async def outdated(self, key_number: int, limit: int) -> Sequence[LivingSlot]:
        """Return up to `limit` slots that are under a key below this one."""
        ...

    async def replace(self, moved: Sequence[tuple[LivingSlot, KeptSlot]]) -> None:
        """Keep slots anew; one that was replaced or deleted meanwhile stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Renewing:
    """seconds: the age at which a key is replaced. clock: unix seconds, as the keys' own. then: is
    called when a key was destroyed.
    """

    seconds: float
    clock: Callable[[], float]
    then: Callable[[], None]


async def register(store: SlotStore, key: SlotKey) -> None:
    """Compare a folder's key with the store before anything is wrapped under it.

    Raises:
        KeyUnusable: the store has slots under another key of that number: the folder is not its.
        StoreAway: nothing can be told now.
    """
    if await store.registered(key.number, key.fingerprint) != key.fingerprint:
        raise KeyUnusable(
            "the slot keys are not those that the stored slots are under; give every storage of "
            f"this member the same folder, or restore it ({SETTING})"
        )


class SlotRenewal:
    """Renews the slot keys of one custodian; `run` it beside the server."""

    def __init__(
        self,
        store: SlotStore,
        keys: SlotKeys,
        slots: CustodianSlots,
        renewing: Renewing,
    ) -> None:
        """Describe the renewal.

        Args:
            store: where the slots are.
            keys: the folder of slot keys.
            slots: moves a slot from key to key.
            renewing: when, and what then.
        """
        self._store = store
        self._keys = keys
        self._slots = slots
        self._renewing = renewing

    async def run(self) -> None:
        """Renew in time, for ever.

        Raises:
            KeyUnusable: the folder's keys are not those that the store's slots are under.
        """
        look = self._renewing.seconds / LOOKS
        while True:
            try:
                await self.step()
            except (StoreAway, OSError, SlotKeyGone) as error:
                log.warning("slot_renewal_put_off", why=type(error).__name__)
            await asyncio.sleep(min(max(look, LOOK_SECONDS_MIN), LOOK_SECONDS_MAX))

    async def step(self) -> int:
        """Go on with the renewal, if it is due or was interrupted; return how many keys died.

        Raises:
            KeyUnusable: as `run`.
        """
        newest = await asyncio.to_thread(self._keys.newest)
        await register(self._store, newest)
        metrics.SLOT_KEY_MADE.set(newest.made_at)
        due = self._renewing.clock() - newest.made_at >= self._renewing.seconds
        old = await asyncio.to_thread(self._keys.oldest_number) < newest.number
        if not (due or old) or not await self._store.ours():
            return 0
        if due:
            newest = await asyncio.to_thread(self._keys.add)
            await register(self._store, newest)
            metrics.SLOT_KEY_MADE.set(newest.made_at)
        await self._store.raise_floor(newest.number)
        if not await self._move_all(newest.number):
            return 0
        destroyed = await asyncio.to_thread(self._keys.destroy_below, newest.number)
        log.info("slot_keys_renewed", number=newest.number, destroyed=destroyed)
        self._renewing.then()
        return destroyed

    async def _move_all(self, key_number: int) -> bool:
        """Move every slot to the key in use; return False if some cannot be moved.

        A slot that does not open is a damaged row. Its key stays, so that whoever repairs the row
        from a backup finds it; an alert says that the renewal hangs.
        """
        while outdated := await self._store.outdated(key_number, BATCH):
            moved, unusable = await asyncio.to_thread(self._moved, outdated)
            await self._store.replace(moved)
            metrics.SLOTS_UNUSABLE.set(unusable)
            if unusable:
                log.error("slots_unusable", count=unusable)
                return False
        metrics.SLOTS_UNUSABLE.set(0)
        return True

    def _moved(
        self, outdated: Sequence[LivingSlot]
    ) -> tuple[list[tuple[LivingSlot, KeptSlot]], int]:
        moved: list[tuple[LivingSlot, KeptSlot]] = []
        for one in outdated:
            try:
                moved.append((one, self._slots.rewrap(one.record_id, one.kept)))
            except KeptSlotUnusable:
                continue
        return moved, len(outdated) - len(moved)
