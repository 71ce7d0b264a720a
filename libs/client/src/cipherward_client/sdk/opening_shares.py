"""The shares of an opening: asked of all guardians at once, combined when enough are right.

Every share is proven by itself, so a wrong one is found, named, and left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from grpc import aio

from cipherward_chain.endpoints import EndpointUnknown
from cipherward_chain.group_keys import POINT_BYTES, GroupKeyEntry
from cipherward_chain.openings import Warrant
from cipherward_chain.sealing import OpeningRejected, SealingKey
from cipherward_client.sdk.errors import explained
from cipherward_client.sdk.releases import SharesMissing
from cipherward_threshold.group.errors import NotEnoughShares, ShareRejected, WrongShares
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.opening import combine_opening, verify_opening_share

Ask = Callable[[str], Awaitable[bytes]]
"""Returns a guardian's sealed share; raises AioRpcError or EndpointUnknown."""


class OpeningShares:
    """What has come of one warrant's shares. Good for one `identity`."""

    def __init__(
        self, warrant: Warrant, key: ThresholdKey, entry: GroupKeyEntry, recipient_key: SealingKey
    ) -> None:
        """Describe them.

        Args:
            warrant: proven.
            key, entry: the opening key in the warrant's sharing.
            recipient_key: what the shares are sealed to.
        """
        self._warrant = warrant
        self._key = key
        self._recipient_key = recipient_key
        self._context = warrant.context(key.chain_id)
        self._holders = {
            guardian: index
            for guardian in warrant.guardians
            if (index := entry.index_of(guardian)) is not None
        }
        self._shares: dict[int, bytes] = {}  # that opened, by index
        self._missing: dict[str, str] = {}  # why there is none, by guardian
        self.wrong: tuple[str, ...] = ()

    @property
    def answered(self) -> tuple[str, ...]:
        """Whose shares have come, sorted; the wrong ones are among them."""
        holders = self._holders.items()
        return tuple(sorted(guardian for guardian, index in holders if index in self._shares))

    async def identity(self, ask: Ask) -> bytes:
        """Return the identity key, 48 bytes; `answered` and `wrong` say afterwards who gave what.

        Raises:
            SharesMissing: all guardians have answered or failed, and too few shares are right.
        """
        asking = [asyncio.ensure_future(self._take(ask, guardian)) for guardian in self._holders]
        found: bytes | None = None
        try:
            for taken in asyncio.as_completed(asking):
                await taken
                found = await asyncio.to_thread(self._combined, dict(self._shares))
                if found is not None:
                    break
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        self.wrong = await asyncio.to_thread(self._wrong)
        if found is None:
            raise self._too_few()
        return found

    async def _take(self, ask: Ask, guardian: str) -> None:
        place = self._warrant.place(self._key.chain_id, guardian)
        try:
            opened = self._recipient_key.open(await ask(guardian), place)
        except (aio.AioRpcError, EndpointUnknown, OpeningRejected) as error:
            self._missing[guardian] = explained(error).reason
        else:
            self._shares[self._holders[guardian]] = opened

    def _combined(self, shares: Mapping[int, bytes]) -> bytes | None:
        """Return the identity key, or None while too few right shares are there. Some ms."""
        try:
            return combine_opening(self._key, self._warrant.ciphertext, shares, self._context)
        except (NotEnoughShares, WrongShares):
            return None

    def _wrong(self) -> tuple[str, ...]:
        """Return whose shares are wrong, sorted. About a ms each."""
        base = self._warrant.ciphertext[:POINT_BYTES]
        found: list[str] = []
        for guardian in self.answered:
            index = self._holders[guardian]
            share = self._shares[index]
            try:
                verify_opening_share(self._key, base, share, self._context, index=index)
            except ShareRejected:
                found.append(guardian)
        return tuple(found)

    def _too_few(self) -> SharesMissing:
        told = {**self._missing, **dict.fromkeys(self.wrong, "SHARE_WRONG")}
        why = ", ".join(f"{guardian}: {reason}" for guardian, reason in sorted(told.items()))
        right = len(self._shares) - len(self.wrong)
        return SharesMissing(f"{right} of {self._key.threshold} shares ({why})")
