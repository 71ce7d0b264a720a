"""Opening by warrant: this member's share of it, and whom an opened key belongs to.

A share is made because a proven order says so, once, and sealed to the one recipient that the
warrant names; who asks for it is never a reason to make one.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Final

import grpc
import structlog

from cipherward_chain.openings import CIPHERTEXT_BYTES, Warrant
from cipherward_chain.sealing import SealingKeyRefused, seal
from cipherward_identity.metrics import OPENING_SHARES
from cipherward_identity.store import IdentityStore
from cipherward_identity.warrants import Warrants
from cipherward_kit.errors import ServiceError
from cipherward_member.background import news_or_time
from cipherward_member.ceremonies import Ceremonies, Guardian, GuardianShare, ShareMissing
from cipherward_member.following import ChainProgress
from cipherward_member.reports import Reports
from cipherward_member.traced_orders import carrying_out
from cipherward_threshold.group.errors import GroupError
from cipherward_threshold.group.opening import make_opening_share

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# With nothing new: a warrant that came while the chain was silent is carried out when it is not.
LOOK_SECONDS: Final = 10.0


class WarrantUnknown(ServiceError):
    """No proven warrant of that id gives the caller anything here; or not yet."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "WARRANT_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("no warrant of that id gives you anything here")


class HolderUnknown(ServiceError):
    """This issuer has registered no member of staff under that identity key."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "HOLDER_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("no credential of this issuer's staff has that identity key")


class ShareRefused(ValueError):
    """A warrant asks for what this member does not have, or cannot seal."""


class Openings:
    """This member as a guardian of the opening key, and as an issuer."""

    def __init__(
        self,
        guardian: Guardian,
        ceremonies: Ceremonies,
        warrants: Warrants,
        store: IdentityStore,
        reports: Reports,
        progress: ChainProgress,
    ) -> None:
        """Describe the work; `run` makes the shares.

        Args:
            guardian: this member.
            ceremonies: has the share of the opening key.
            warrants: what blocks have ordered.
            store: the issuer's registry.
            reports: woken when there is one to send.
            progress: nothing is made or answered while the chain is silent.
        """
        self._guardian = guardian
        self._ceremonies = ceremonies
        self._warrants = warrants
        self._store = store
        self._reports = reports
        self._progress = progress
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Say that a block has brought a warrant."""
        self._news.set()

    async def run(self) -> None:
        """Make the shares that blocks have ordered, for ever."""
        wait = 0.0
        while True:
            await news_or_time(self._news, wait)
            wait = LOOK_SECONDS
            if self._progress.fresh and await self.carry_out():
                wait = 0.0  # there may be more than one go takes

    async def carry_out(self) -> int:
        """Make the share of every pending warrant, or report that there is none; return how many.

        Raises:
            GuardianVaultCorrupt: the share on the disk does not open with this key file.
        """
        pending = await self._warrants.pending()
        for taken in pending:
            try:
                with carrying_out(taken.key):
                    sealed = await self._sealed(taken.warrant)
            except (ShareRefused, ShareMissing) as error:
                log.warning("opening_refused", why=str(error))
                sealed = b""
            await self._warrants.settle(taken, sealed)
            OPENING_SHARES.labels("made" if sealed else "refused").inc()
        if pending:
            self._reports.wake()
        return len(pending)

    async def share(self, warrant: bytes, caller: str) -> bytes:
        """Return the stored share, sealed to the recipient; `caller` is the member that asks.

        Raises:
            ChainStale: no recent proven block.
            WarrantUnknown: there is no share for the caller.
        """
        self._progress.require_fresh()
        sealed = await self._warrants.share(warrant, caller)
        if not sealed:
            raise WarrantUnknown
        return sealed

    async def holder(self, warrant: bytes, identity: bytes) -> str:
        """Return the admission (a UUID) that the staff credential of an opened key came from.

        Raises:
            WarrantUnknown: no proven warrant of that id names this member as its recipient.
            HolderUnknown: nobody of this issuer's staff has that key.
        """
        if not await self._warrants.known(warrant, self._guardian.member):
            raise WarrantUnknown
        admission = await self._store.admission_of_staff(identity)
        if admission is None:
            raise HolderUnknown
        return str(uuid.UUID(bytes=admission))

    async def _sealed(self, warrant: Warrant) -> bytes:
        held = await self._ceremonies.share(warrant.key_epoch)
        return await asyncio.to_thread(sealed_share, self._guardian, held, warrant)


def sealed_share(guardian: Guardian, held: GuardianShare, warrant: Warrant) -> bytes:
    """Return a guardian's share for a warrant, sealed to the recipient; about 2 ms.

    Raises:
        ShareRefused: the warrant is of another key or sharing than the share, or out of form.
    """
    entry = held.entry
    ours = (entry.key_epoch, entry.sharing, entry.threshold, entry.public_key)
    asked = (warrant.key_epoch, warrant.sharing, warrant.threshold, warrant.opening_key)
    if ours != asked:
        raise ShareRefused("the warrant is of another opening key or sharing")
    base = warrant.ciphertext[: CIPHERTEXT_BYTES // 2]
    try:
        share = make_opening_share(
            held.key, held.index, held.octets, base, warrant.context(guardian.chain_id)
        )
        place = warrant.place(guardian.chain_id, guardian.member)
        return seal(share, warrant.recipient_key, place)
    except (GroupError, SealingKeyRefused) as error:
        raise ShareRefused(str(error)) from error
