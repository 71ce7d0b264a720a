"""What peers and the requester may fetch here: stored bytes, once the chain lets them.

A peer's bytes are shown when all members' commitments stand on the chain, and no more once the
study has ended, however it did.

A caller that is a little ahead waits here for its block or step, instead of asking again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cipherward_compute.ciphertexts import Ciphertexts
from cipherward_compute.commitments import Contributed
from cipherward_compute.errors import NotReleased, NotYetMade, StudyEnded, StudyUnknown
from cipherward_compute.instructions import Stage
from cipherward_compute.keyring import Keyring
from cipherward_compute.shares import ShareLog
from cipherward_compute.studies import RELEASED, Studies, Study, happens
from cipherward_member.reports import OrderKey

T = TypeVar("T")

# Longer than a block takes, shorter than the caller's patience with one call.
WAIT_SECONDS = 1.0


class Exchange:
    """Answers the other members' compute services."""

    def __init__(
        self,
        member: str,
        studies: Studies,
        keys: tuple[Keyring, Ciphertexts, ShareLog],
        require_fresh: Callable[[], None],
    ) -> None:
        """Describe the exchange.

        Args:
            member: this one.
            studies: what is known here.
            keys: what is stored here.
            require_fresh: raises ChainStale while the chain is silent.
        """
        self._member = member
        self._studies = studies
        self._keyring, self._ciphertexts, self._shares = keys
        self._require_fresh = require_fresh

    async def ceremony_message(self, study: bytes, caller: str) -> bytes:
        """Return what this member reveals to all.

        Raises:
            ChainStale: the chain is silent.
            StudyUnknown: the caller is no member of such a study.
            NotYetMade: not all members have committed, as far as this one knows.
            StudyEnded: it is over.
        """

        async def find() -> bytes:
            await self._studies.require_opened(study, "keys")
            found = await self._keyring.find(study)
            return _made(found.message if found else b"")

        return await self._when_there(study, caller, find)

    async def deal(self, study: bytes, caller: str) -> bytes:
        """Return this member's deal to the caller, as `ceremony_message`."""

        async def find() -> bytes:
            await self._studies.require_opened(study, "keys")
            found = await self._keyring.find(study)
            if found is None or (self._member, caller) not in found.deals:
                return _made(b"")
            return await asyncio.to_thread(self._keyring.open_deal, found, self._member, caller)

        return await self._when_there(study, caller, find)

    async def contribution(self, study: bytes, stage: Stage, caller: str) -> Contributed:
        """Return this member's ciphertext of a stage, as `ceremony_message`."""

        async def find() -> Contributed:
            await self._studies.require_opened(study, stage)
            found = await self._ciphertexts.find(study, stage)
            height = (await self._studies.known(study)).opt_outs_height
            return Contributed(_made(found.own if found else b""), height)

        return await self._when_there(study, caller, find)

    async def decryption_share(self, study: bytes, order: OrderKey, caller: str) -> bytes:
        """Return the share that an order made here, as `ceremony_message`."""

        async def find() -> bytes:
            return _made(await self._shares.of_order(study, order) or b"")

        return await self._when_there(study, caller, find)

    async def result(self, study: Study) -> tuple[bytes, bytes]:
        """Return the sum of the values, and this member's part of the switch, empty without one.

        Raises:
            ChainStale: the chain is silent.
            NotReleased: the study ended without a result, or the part is not made yet.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + WAIT_SECONDS
        while True:
            with self._studies.news.listening(study.id) as event:
                self._require_fresh()
                now = await self._studies.known(study.id)
                if now.release is None or (now.ended and now.stage != RELEASED):
                    raise NotReleased("the study has ended without a result")
                values = await self._ciphertexts.find(study.id, "values")
                share = await self._shares.of_order(study.id, now.release) or b""
                if values is not None and values.total and (share or not self._is_in(now)):
                    return values.total, share
                if not await happens(event, ends - loop.time()):
                    raise NotReleased("this member has not made its part yet")

    def _is_in(self, study: Study) -> bool:
        return self._member in study.online

    async def _when_there(self, study: bytes, caller: str, find: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        ends = loop.time() + WAIT_SECONDS
        while True:
            with self._studies.news.listening(study) as event:  # before looking: none is missed
                try:
                    self._require_fresh()
                    if (await self._studies.of_member(study, caller)).ended:
                        raise StudyEnded("the study has ended")
                    return await find()
                except (NotYetMade, StudyUnknown):
                    if not await happens(event, ends - loop.time()):
                        raise


def _made(octets: bytes) -> bytes:
    if not octets:
        raise NotYetMade("this member has not made it yet")
    return octets
