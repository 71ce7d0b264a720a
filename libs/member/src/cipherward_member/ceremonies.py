"""A guardian's part in the ceremonies of one purpose, from the blocks that hold them to its share.

A service stores each block's `CeremonyNews` with that block, calls `ChainProgress.saw` and `wake`
then, runs `run` beside its server, and asks `share` when an order wants something made. Everything
that a member says follows from a seed, which is on disk before the first message: after a crash,
and in every replica of the service, the same polynomial is dealt.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from grpc import aio

from cipherward_chain.group_key_orders import CeremonyOrder, SharingOrder
from cipherward_chain.group_keys import GroupKeyEntry
from cipherward_chain.orders import Order
from cipherward_member.background import news_or_time
from cipherward_member.ceremony_figures import CeremonyFigures
from cipherward_member.ceremony_posts import CeremonyPosts, Owed
from cipherward_member.ceremony_steps import FollowedCeremony, Self
from cipherward_member.ceremony_store import CeremonyStore, KeptSharing, StoredCeremony
from cipherward_member.following import ChainProgress
from cipherward_member.guardian_vault import GuardianVault
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.errors import KeyShareRejected, NoShare
from cipherward_threshold.group.keys import ThresholdKey

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SEED_BYTES: Final = 32
# With nothing new: what the ledger refused is sent again, and an expired transaction is replaced.
LOOK_SECONDS: Final = 10.0
# After a call that the ledger did not answer; doubled up to the maximum.
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.1, 10.0
SEED, SHARE = b"seed", b"share"  # what stands sealed, as part of its place


@dataclass(frozen=True, slots=True)
class Guardian:
    """Who takes part: a member of a chain, in the ceremonies of one purpose (group_keys)."""

    chain_id: str
    member: str
    purpose: str


@dataclass(frozen=True, slots=True)
class GuardianShare:
    """This member's share of a key in force. `index`: from 1; `octets`: 32 bytes, secret."""

    key: ThresholdKey
    entry: GroupKeyEntry
    index: int
    octets: bytes = field(repr=False)


class ShareMissing(LookupError):
    """This member has no share of that key: it had no part in its sharing, or lost it."""


class Ceremonies:
    """Takes part for one member. Used on the event loop only; arithmetic runs in threads."""

    def __init__(
        self,
        guardian: Guardian,
        store: CeremonyStore,
        vault: GuardianVault,
        posts: CeremonyPosts,
        progress: ChainProgress,
    ) -> None:
        """Describe the part.

        Args:
            guardian: who, where and for what.
            store: of this member and purpose.
            vault: seals what is secret.
            posts: sends what is owed.
            progress: the newest applied block; nothing is said while it is not fresh.
        """
        self._guardian = guardian
        self._store = store
        self._vault = vault
        self._posts = posts
        self._progress = progress
        self._followed: dict[bytes, FollowedCeremony] = {}
        self._said: dict[tuple[bytes, str], list[Owed]] = {}  # by ceremony and window
        self._running = True  # as far as is known; the store has not been asked yet
        self._figures = CeremonyFigures(guardian.purpose)
        self._turn = asyncio.Lock()  # one step at a time, whoever asks for it
        self._news = asyncio.Event()

    def wake(self, *, news: bool = True) -> None:
        """Say that a block was applied; `news`: it had some, or who calls does not know.

        Every block counts while a ceremony runs: a window may end with it.
        """
        if news or self._running:
            self._news.set()

    async def run(self) -> None:
        """Take part, for ever.

        Raises:
            GuardianVaultCorrupt: what is kept does not open with this key file.
            Exception: whatever the store raises.
        """
        wait, retry = 0.0, RETRY_SECONDS
        while True:
            await news_or_time(self._news, wait)
            try:
                await self.step()
                wait, retry = LOOK_SECONDS, RETRY_SECONDS
            except aio.AioRpcError as error:
                log.warning("ceremony_messages_not_sent", code=error.code().name)
                wait, retry = retry, min(2 * retry, RETRY_SECONDS_MAX)

    async def step(self) -> None:
        """Follow what the store has, say what is owed, and close what is over.

        Raises:
            grpc.aio.AioRpcError: the ledger does not answer; the next step goes on.
        """
        async with self._turn:
            owed = await self._advance()
        await self._posts.send(owed)

    async def share(self, key_epoch: int) -> GuardianShare:
        """Return this member's share of the newest sharing of a key, whose order is applied.

        Raises:
            ShareMissing: it has none.
            GuardianVaultCorrupt: what is kept does not open with this key file.
        """
        async with self._turn:
            if any(one.in_force for one in await self._store.running()):
                await self._advance()  # the share follows from what is stored already
            for kept in await self._store.sharings():
                if kept.key_epoch == key_epoch and kept.share:
                    return self._opened(kept)
        raise ShareMissing(f"no share of the {self._guardian.purpose} key {key_epoch}")

    async def keys(self) -> Sequence[GroupKeyEntry]:
        """Return the keys in force that this service has followed, by epoch; share or not."""
        kept = await self._store.sharings()
        return [GroupKeyEntry.from_bytes(one.entry) for one in kept if one.entry]

    async def _advance(self) -> list[Owed]:
        """Follow every ceremony as far as the store has it; close those that are over."""
        running = await self._store.running()
        purpose = self._guardian.purpose
        self._running = bool(running)
        known = {one.ceremony for one in running}
        self._followed = {name: one for name, one in self._followed.items() if name in known}
        self._said = {window: said for window, said in self._said.items() if window[0] in known}
        owed: list[Owed] = []
        open_phases: list[tuple[bytes, str]] = []
        for stored in running:
            # Before the messages: what is read behind this height is fed at its own.
            height = self._progress.height
            followed = await self._read(stored, height)
            if stored.in_force:
                await self._use(stored, followed)
            elif followed.failure:
                log.warning("ceremony_failed", purpose=purpose, why=followed.failure)
                await self._store.close(stored.ceremony, None)
                self._figures.ended("failed")
            elif self._progress.fresh:
                owed += await self._owed(stored.ceremony, followed)
            if not (stored.in_force or followed.failure):
                open_phases.append((stored.ceremony, followed.phase))
        self._figures.show(open_phases)
        return owed

    async def _read(self, stored: StoredCeremony, height: int) -> FollowedCeremony:
        followed = self._followed.get(stored.ceremony)
        if followed is None:
            order = CeremonyOrder.of(Order.from_bytes(stored.order))
            me = Self(self._guardian.chain_id, self._guardian.member)
            followed = self._followed[stored.ceremony] = FollowedCeremony(me, order)
        messages = await self._store.messages(stored.ceremony, followed.read_to)
        await asyncio.to_thread(followed.take, messages, height)
        return followed

    async def _owed(self, ceremony: bytes, followed: FollowedCeremony) -> list[Owed]:
        """Return what is to be said in the open window: made once, for a deal is never the same."""
        if not followed.awaits_us:
            return []
        window = ceremony, followed.phase
        said = self._said.get(window)
        if said is None:
            seed = await self._seed(ceremony)
            if seed is None:  # another replica has closed it
                return []
            old = await self._old_share(followed.order)
            said = self._said[window] = await asyncio.to_thread(self._make, followed, seed, old)
        return said

    def _make(self, followed: FollowedCeremony, seed: bytes, old: bytes | None) -> list[Owed]:
        ceremony = followed.order.ceremony
        try:
            return [Owed(ceremony, kind, body) for kind, body in followed.owed(seed, old)]
        except (NoShare, KeyShareRejected) as error:
            log.warning("ceremony_share_lost", phase=followed.phase, why=str(error))
            return []

    async def _use(self, stored: StoredCeremony, followed: FollowedCeremony) -> None:
        """Keep the sharing that came into force, and destroy what it was made from."""
        order = Order.from_bytes(stored.in_force)
        used = SharingOrder.of(order)
        entry = followed.entry(order.height)
        if entry is None or (entry.public_key, entry.sharing) != (used.public_key, used.sharing):
            # Who began to follow in the middle of a ceremony has not seen all of it.
            log.error("ceremony_not_seen_whole", purpose=used.purpose, sharing=used.sharing)
            kept, got = KeptSharing(used.key_epoch, used.sharing, b"", b""), "lost"
        else:
            share, got = await self._share_of(stored.ceremony, followed)
            place = _place(entry.key_epoch, entry.sharing)
            sealed = self._vault.seal(share, *place) if share else b""
            kept = KeptSharing(entry.key_epoch, entry.sharing, entry.to_bytes(), sealed)
        await self._store.close(stored.ceremony, kept)
        self._figures.ended(got)
        log.info("sharing_in_use", purpose=used.purpose, sharing=used.sharing, got=got)

    async def _share_of(self, ceremony: bytes, followed: FollowedCeremony) -> tuple[bytes, str]:
        seed = await self._seed(ceremony) if followed.gets_share else None
        if seed is None:
            return b"", "none"
        try:
            return await asyncio.to_thread(followed.share, seed), "share"
        except NoShare as error:
            log.warning("ceremony_share_lost", phase=followed.phase, why=str(error))
            return b"", "lost"

    async def _seed(self, ceremony: bytes) -> bytes | None:
        """Return the ceremony's seed, on disk from now on; None when the ceremony is closed."""
        fresh = self._vault.seal(secrets.token_bytes(SEED_BYTES), SEED, ceremony)
        kept = await self._store.seed(ceremony, fresh)
        return self._vault.open(kept, SEED, ceremony) if kept else None

    async def _old_share(self, order: CeremonyOrder) -> bytes | None:
        """Return this member's share of the sharing that is dealt on, if there is one."""
        if order.old is None or self._guardian.member not in order.dealers:
            return None
        wanted = order.old.key_epoch, order.old.sharing
        for kept in await self._store.sharings():
            if (kept.key_epoch, kept.sharing) == wanted and kept.share:
                return self._vault.open(kept.share, *_place(*wanted))
        return None

    def _opened(self, kept: KeptSharing) -> GuardianShare:
        entry = GroupKeyEntry.from_bytes(kept.entry)
        index = entry.index_of(self._guardian.member)
        if index is None:  # what is kept has a share, so the entry has its holder
            raise ShareMissing(f"no share of the {self._guardian.purpose} key {kept.key_epoch}")
        octets = self._vault.open(kept.share, *_place(kept.key_epoch, kept.sharing))
        key = threshold_key(self._guardian.chain_id, entry)
        return GuardianShare(key, entry, index, octets)


def _place(key_epoch: int, sharing: int) -> tuple[bytes, ...]:
    """Return where a share stands, for the vault."""
    return SHARE, key_epoch.to_bytes(8, "big"), sharing.to_bytes(8, "big")
