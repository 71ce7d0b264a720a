"""A guardian's shares: one for each proven order that asks for it, made once, stored, then served.

What is to be made stands in the store since the block that ordered it. The members' slot comes from
the record's custodian, which is asked by one lane at a time: a custodian that is away or slow holds
up the shares of its own records only, and an order whose slot is missing or wrong holds up no
other. Of several storages of one member each may make the share; the one that is stored first is
the one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import structlog

from cipherward_chain.sealing import SealingKeyRefused
from cipherward_member.ceremonies import GuardianShare, ShareMissing
from cipherward_member.following import ChainProgress
from cipherward_member.reports import OrderKey
from cipherward_member.traced_orders import carrying_out
from cipherward_storage import metrics
from cipherward_storage.alliance_slots import SlotWrong, verified
from cipherward_storage.effects import Release, ShareOrder
from cipherward_storage.errors import StoreAway
from cipherward_storage.parts import Parts, Recipient
from cipherward_storage.peer_slots import GivenSlot, SlotAway, SlotUnknown
from cipherward_storage.records import Anchor, AnchorMalformed, digest_of
from cipherward_threshold.group.errors import GroupError
from cipherward_threshold.group.tdh2 import make_share

# Orders looked at together; a share takes 2 ms and a call to the custodian.
BATCH = 64
# Lanes that compute at once: half a second of a core makes two hundred shares.
AT_WORK_MAX = 4
# With nothing new: what another storage of this member left undone.
LOOK_SECONDS = 5.0
# After a custodian did not answer; doubled up to the maximum.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.05, 5.0
# After the first attempt at an order that failed by what the order is about; doubled as well.
PUT_OFF_SECONDS, PUT_OFF_SECONDS_MAX = 1, 300
# A reader asks as soon as it sees its order; a share is there some milliseconds later.
MAKING_WAIT_SECONDS = 1.0
# Another storage of this member may make it: the store is looked at this often meanwhile.
MADE_LOOK_SECONDS = 0.1

# Labels of what passes: what is wrong with one order, and what with all of a custodian's.
PUT_OFF: dict[type[Exception], str] = {
    SlotWrong: "slot_wrong",
    SlotUnknown: "slot_unknown",
    ShareMissing: "share_missing",
}
AWAY: dict[type[Exception], str] = {SlotAway: "slot_away", StoreAway: "store_away"}

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Answers the members' slot of a custodian's record, or raises `SlotAway` or `SlotUnknown`.
FetchSlot: TypeAlias = Callable[[str, bytes], Awaitable[GivenSlot]]
# Answers this member's share of a record key, or raises `ShareMissing`.
FindShare: TypeAlias = Callable[[int], Awaitable[GuardianShare]]


@dataclass(frozen=True, slots=True)
class OrderedShare:
    """A share that an order takes. `pending`: `release.sealed` is still to be made."""

    release: Release
    pending: bool


class ShareStore(Protocol):
    """The shares that orders take. Adapters: `sqlite_shares`, `mongo.shares`."""

    async def pending(self, now: int, limit: int, without: Collection[str]) -> Sequence[ShareOrder]:
        """Return up to `limit` orders whose share is to be made now, the oldest first.

        Args:
            now: unix seconds.
            without: custodians whose records are left out.
        """
        ...

    async def waiting(self, now: int) -> int:
        """Return how many shares are to be made."""
        ...

    async def keep(self, order: OrderKey, sealed: bytes) -> None:
        """Keep what was made, unless something was made before or the right is over."""
        ...

    async def put_off(self, order: ShareOrder, until: int) -> None:
        """Leave an order alone until a time, unix seconds; one attempt more is counted."""
        ...

    async def give_up(self, order: OrderKey) -> None:
        """Note that no share will ever be made for the order."""
        ...

    async def share(self, order: OrderKey) -> OrderedShare | None:
        """Return what there is of the share that the order takes, or None: it takes none."""
        ...


class ShareImpossible(ValueError):
    """No share can ever be made for an order. `cause` is a label for the metric."""

    def __init__(self, cause: str, why: str) -> None:
        super().__init__(why)
        self.cause = cause


def make_part(order: ShareOrder, given: GivenSlot, held: GuardianShare, parts: Parts) -> bytes:
    """Return this member's signed share, sealed to the order's reader. Blocks for 2.5 ms.

    Args:
        given: the members' slot, as the custodian gave it, and its word for the anchor.
        held: this member's share of the anchor's record key.

    Raises:
        SlotWrong: the slot is not that of the anchored record.
        ShareImpossible: the reader's key takes nothing, or our own share is damaged.
    """
    anchor = _anchor_of(order, given)
    checked = verified(parts.chain_id, anchor, given.slot, held.key)
    to = Recipient(
        order.order,
        order.order_digest,
        order.record_id,
        anchor.digest,
        order.reader,
        order.reader_key,
    )
    try:
        share = make_share(held.key, held.index, held.octets, checked, order.order_digest)
        return parts.guardian(share, to)
    except SealingKeyRefused as error:
        raise ShareImpossible("reader_key", str(error)) from None
    except GroupError as error:
        raise ShareImpossible("own_share", str(error)) from None


def _anchor_of(order: ShareOrder, given: GivenSlot) -> Anchor:
    """Return the anchor that the order names: as a block had it, or else as the custodian says.

    The order is proven and names the anchor's digest; what has that digest is the anchor.

    Raises:
        SlotWrong: the custodian gives another, or it does not fit the order.
    """
    if order.anchor:
        return Anchor.parse(order.anchor)
    if digest_of(given.anchor) != order.anchor_digest:
        raise SlotWrong("the custodian gives another anchor than the order names")
    try:
        anchor = Anchor.parse(given.anchor)
    except AnchorMalformed as error:
        raise SlotWrong(str(error)) from None
    said = anchor.record_id, anchor.custodian, anchor.key_epoch
    if said != (order.record_id, order.custodian, order.key_epoch):
        raise SlotWrong("the anchor that the order names is of another record or key")
    return anchor


class Guardian:
    """Makes the shares of one member; `run` it beside the server."""

    def __init__(
        self,
        store: ShareStore,
        fetch_slot: FetchSlot,
        find_share: FindShare,
        parts: Parts,
        progress: ChainProgress,
    ) -> None:
        """Describe the work.

        Args:
            store: what is to be made, and what was.
            fetch_slot: asks the custodian.
            find_share: this member's shares.
            parts: sign and seal.
            progress: nothing is made while it is not fresh; its clocks end rights.
        """
        self._store = store
        self._fetch_slot = fetch_slot
        self._find_share = find_share
        self._parts = parts
        self._progress = progress
        self._lanes: set[str] = set()  # custodians whose records are worked on, or who rest
        self._pauses: dict[str, float] = {}  # how long the next rest of a custodian is
        self._at_work = asyncio.Semaphore(AT_WORK_MAX)
        self._news = asyncio.Event()
        self._made = asyncio.Event()

    def wake(self) -> None:
        """Say that there are shares to be made."""
        self._news.set()

    async def run(self) -> None:
        """Make what is ordered, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._news.clear()
                if self._progress.fresh:
                    try:
                        await self._open_lanes(group)
                    except StoreAway:
                        log.warning("shares_put_off")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._news.wait()

    async def release(self, order: OrderKey) -> Release | None:
        """Return what was made for an order, or that it ended; None: nothing was, or not yet.

        Waits a while for a share that is being made.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + MAKING_WAIT_SECONDS
        while True:
            made = self._made
            found = await self._store.share(order)
            if found is None:
                return None
            if not found.pending:
                usable = found.release.sealed or found.release.revoked
                return found.release if usable else None
            if loop.time() >= ends or self._progress.latest_seconds() >= found.release.ends:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MADE_LOOK_SECONDS):
                    await made.wait()

    async def _open_lanes(self, group: asyncio.TaskGroup) -> None:
        now = self._progress.latest_seconds()
        metrics.SHARES_PENDING.set(await self._store.waiting(now))
        by_custodian: dict[str, list[ShareOrder]] = {}
        for order in await self._store.pending(now, BATCH, tuple(self._lanes)):
            by_custodian.setdefault(order.custodian, []).append(order)
        for custodian, orders in by_custodian.items():
            self._lanes.add(custodian)
            group.create_task(self._lane(custodian, orders))

    async def _lane(self, custodian: str, orders: Sequence[ShareOrder]) -> None:
        try:
            for order in orders:
                if not self._progress.fresh:
                    return
                await self._try(order)
            self._pauses.pop(custodian, None)
        except (SlotAway, StoreAway) as error:
            metrics.SHARES.labels(AWAY[type(error)]).inc()
            log.info("shares_of_custodian_put_off", custodian=custodian, why=AWAY[type(error)])
            pause = self._pauses.get(custodian, RETRY_SECONDS)
            self._pauses[custodian] = min(2 * pause, RETRY_SECONDS_MAX)
            await asyncio.sleep(pause)
        finally:
            self._lanes.discard(custodian)
            self._news.set()

    async def _try(self, order: ShareOrder) -> None:
        try:
            with carrying_out(order.order):
                await self._make(order)
        except (SlotWrong, SlotUnknown, ShareMissing) as error:
            # The slot, too: a custodian that gave a wrong one may give the right one later.
            why = PUT_OFF[type(error)]
            metrics.SHARES.labels(why).inc()
            log.info("share_put_off", custodian=order.custodian, why=why)
            pause = min(PUT_OFF_SECONDS << min(order.attempts, 16), PUT_OFF_SECONDS_MAX)
            await self._store.put_off(order, self._progress.latest_seconds() + pause)

    async def _make(self, order: ShareOrder) -> None:
        held = await self._find_share(order.key_epoch)
        given = await self._fetch_slot(order.custodian, order.record_id)
        if self._progress.latest_seconds() >= order.ends:
            return
        try:
            async with self._at_work:
                sealed = await asyncio.to_thread(make_part, order, given, held, self._parts)
        except ShareImpossible as error:
            metrics.SHARES.labels(error.cause).inc()
            log.error("share_impossible", cause=error.cause, height=order.order.height)
            await self._store.give_up(order.order)
            return
        await self._store.keep(order.order, sealed)
        metrics.SHARES.labels("made").inc()
        made, self._made = self._made, asyncio.Event()
        made.set()
