"""What peers and the requester may fetch here: stored bytes, once the chain lets them.

A peer's bytes are shown when all members' commitments stand on the chain, and no more once the
study has ended, however it did.

A caller that is a little ahead waits here for its block or step, instead of asking again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cipherward_chain.batches import packed, unpacked
from cipherward_compute.ceremony.handing import HANDED, Handing
from cipherward_compute.ciphertexts import Ciphertexts
from cipherward_compute.columns import Manifests
from cipherward_compute.commitments import Contributed
from cipherward_compute.errors import NotReleased, NotYetMade, StudyEnded, StudyUnknown
from cipherward_compute.failures import SumDiffers
from cipherward_compute.inference.uses import Uses
from cipherward_compute.instructions import COLUMNS, VERDICTS
from cipherward_compute.keyring import Keyring, MessageKind
from cipherward_compute.shares import ShareLog
from cipherward_compute.studies import RELEASED, Release, Studies, Study, happens
from cipherward_compute.sums import Sum
from cipherward_compute.verdicts import Verdicts
from cipherward_member.reports import OrderKey

T = TypeVar("T")

# Longer than a block takes, shorter than the caller's patience with one call.
WAIT_SECONDS = 1.0

# Which step's order says that all members have committed to their messages of a kind.
SHOWN_FROM: dict[MessageKind, str] = {
    "reveal": "keys/reveal",
    "deal": "keys/reveal",
    "check": "keys/confirm",
    "opening": "keys/confirm",
    "relin_first": "keys/relin_second",
    "relin_second": "keys/relin_combine",
    "test": "keys/test_open",
    "test_share": "keys/test_open",
    "reshare_mask": "resharing/answer",
    "reshare_deal": "resharing/answer",
    "reshare_check": "resharing/confirm",
    "reshare_share": "resharing/open",
    **dict.fromkeys(HANDED, "resharing/answer"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What is stored of studies and shown to those who may see it."""

    keyring: Keyring
    handing: Handing
    ciphertexts: Ciphertexts
    verdicts: Verdicts
    shares: ShareLog
    manifests: Manifests
    uses: Uses


class Exchange:
    """Answers the other members' compute services."""

    def __init__(
        self, member: str, studies: Studies, shown: Shown, require_fresh: Callable[[], None]
    ) -> None:
        """Describe the exchange.

        Args:
            member: this one.
            studies: what is known here.
            shown: what is stored here.
            require_fresh: raises ChainStale while the chain is silent.
        """
        self._member = member
        self._studies = studies
        self._shown = shown
        self._require_fresh = require_fresh

    async def ceremony_message(self, study: bytes, kind: MessageKind, caller: str) -> bytes:
        """Return this member's message of a ceremony or resharing; a deal is the caller's own.

        Raises:
            ChainStale: the chain is silent.
            StudyUnknown: the caller is no member of such a study.
            NotYetMade: not all members have committed, as far as this one knows.
            StudyEnded: it is over.
        """

        async def find() -> bytes:
            await self._studies.require_opened(study, SHOWN_FROM[kind])
            if kind in HANDED:
                return _made(await self._shown.handing.message(study, kind))
            keyring = self._shown.keyring
            return _made(await keyring.message(study, kind, dealer=self._member, receiver=caller))

        return await self._when_there(study, caller, find)

    async def contribution(self, wanted: Sum, caller: str) -> Contributed:
        """Return this member's batch of a sum, as `ceremony_message`."""

        async def find() -> Contributed:
            await self._studies.require_opened(wanted.study, wanted.name)
            found = await self._shown.ciphertexts.find(wanted)
            height = (await self._studies.known(wanted.study)).opt_outs_height
            return Contributed(_made(found.own if found else b""), height)

        return await self._when_there(wanted.study, caller, find)

    async def verdict(self, study: bytes, caller: str) -> bytes:
        """Return which cells this member leaves out, as `ceremony_message`."""

        async def find() -> bytes:
            await self._studies.require_opened(study, VERDICTS)
            return _made(await self._shown.verdicts.find(study, self._member))

        return await self._when_there(study, caller, find)

    async def column_manifest(self, study: bytes, caller: str) -> bytes:
        """Return the list of this member's columns of a data key, as `ceremony_message`."""

        async def find() -> bytes:
            await self._studies.require_opened(study, COLUMNS)
            return _made(await self._shown.manifests.find(study, self._member))

        return await self._when_there(study, caller, find)

    async def decryption_shares(self, study: bytes, order: OrderKey, caller: str) -> bytes:
        """Return the packed shares that an order made here, as `ceremony_message`; those of a risk
        score's answer are for its hospital alone."""

        async def find() -> bytes:
            if await self._shown.uses.reader(study, order) not in ("", caller):
                raise StudyUnknown("no such study is known here")
            shares = await self._shown.shares.of_order(study, order)
            return _made(packed(shares) if shares else b"")

        return await self._when_there(study, caller, find)

    async def verdicts(self, study: bytes) -> dict[str, bytes]:
        """Return the verdicts that a study's values leave cells out by, by member."""
        return await self._shown.verdicts.all(study)

    async def result(self, study: Study, order: OrderKey) -> bytes:
        """Return the packed sums of a released round, with this member's part of the switch of
        each, or without any if it is not in the set.

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
                if now.ended and now.stage != RELEASED:
                    raise NotReleased("the study has ended without a result")
                release = await self._studies.release(study.id, order)
                found = await self._part(study.id, release)
                if found:
                    return found
                if not await happens(event, ends - loop.time()):
                    raise NotReleased("this member has not made its part yet")

    async def _part(self, study: bytes, release: Release) -> bytes:
        try:
            _, total = await self._shown.ciphertexts.total(study, "values", release.digest)
        except SumDiffers:  # not made yet
            return b""
        shares = await self._shown.shares.of_order(study, release.order)
        if not shares and self._member in release.online:
            return b""
        return packed(unpacked(total)[0], shares)

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
