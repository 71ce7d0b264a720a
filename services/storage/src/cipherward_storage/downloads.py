"""Running downloads: each part goes out only while the right behind it stands.

A revocation, the right's end or a silent chain ends the stream, also while the reader takes
nothing: the wait for the reader is the one place where a stream can hang.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import aclosing, contextmanager

from cipherward_member.errors import ChainStale
from cipherward_member.reports import OrderKey
from cipherward_storage import metrics
from cipherward_storage.effects import Release
from cipherward_storage.errors import DownloadStalled, RecordCorrupt, RecordUnknown, ReleaseEnded
from cipherward_storage.standing import Standing
from cipherward_storage.store import ChainStore, RecordStore

# How often a waiting stream looks at the clock: an end is met within a second.
LOOK_SECONDS = 1.0

Write = Callable[[bytes], Awaitable[None]]


class Downloads:
    """All downloads that run in this process, by the grant behind them and by their record."""

    def __init__(
        self, records: RecordStore, chain: ChainStore, standing: Standing, stall_seconds: float
    ) -> None:
        """Describe the downloads.

        Args:
            records: where ciphertext is read.
            chain: what was released.
            standing: judges rights.
            stall_seconds: how long a reader may take nothing.
        """
        self._records = records
        self._chain = chain
        self._standing = standing
        self._stall_seconds = stall_seconds
        self._running: defaultdict[bytes, set[asyncio.Event]] = defaultdict(set)

    def cut(self, ended: Iterable[bytes]) -> None:
        """End every running download of these grants and records (their ids)."""
        for one in ended:
            for cut in self._running.get(one, ()):
                cut.set()

    async def send(self, release: Release, offset: int, write: Write) -> None:
        """Send the released record's ciphertext from `offset` on.

        Args:
            release: of the record.
            offset: bytes from the start of the ciphertext.
            write: sends one part; returns when the transport has taken it.

        Raises:
            ReleaseEnded, ChainStale: the right does not stand, or stopped standing.
            RecordUnknown, OffsetOutOfRange, RecordCorrupt: as the store says.
            DownloadStalled: the reader takes nothing.
        """
        with self._listed(release.grant, release.record_id) as cut:
            # Read again now that a cut reaches us: one may have come while it was read first.
            await self._still_standing(release.order)
            try:
                async with aclosing(self._records.read(release.record_id, offset)) as parts:
                    async for part in parts:
                        self._require(release, cut)
                        await self._deliver(part, write, release, cut)
                        metrics.DOWNLOADED_BYTES.inc(len(part))
            except (ReleaseEnded, ChainStale, DownloadStalled) as error:
                metrics.DOWNLOADS_CUT.labels(error.reason).inc()
                raise
            except RecordCorrupt:
                metrics.PARTS_CORRUPT.inc()
                raise

    async def _still_standing(self, order: OrderKey) -> None:
        release = await self._chain.release(order)
        if release is None:
            raise RecordUnknown("the order releases nothing here")
        self._standing.require(release)

    @contextmanager
    def _listed(self, *names: bytes) -> Generator[asyncio.Event]:
        cut = asyncio.Event()
        for name in names:
            self._running[name].add(cut)
        metrics.DOWNLOADS_RUNNING.inc()
        try:
            yield cut
        finally:
            metrics.DOWNLOADS_RUNNING.dec()
            for name in names:
                self._running[name].discard(cut)
                if not self._running[name]:
                    del self._running[name]

    def _require(self, release: Release, cut: asyncio.Event) -> None:
        if cut.is_set():
            raise ReleaseEnded("the right was revoked")
        self._standing.require(release)

    async def _deliver(
        self, part: bytes, write: Write, release: Release, cut: asyncio.Event
    ) -> None:
        """Hand one part to the transport, and stop waiting for it when the right ends."""
        writing = asyncio.ensure_future(write(part))
        cutting = asyncio.ensure_future(cut.wait())
        try:
            waited = 0.0
            while not writing.done():
                await asyncio.wait(
                    (writing, cutting), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if writing.done():
                    break
                self._require(release, cut)
                waited += LOOK_SECONDS
                if waited >= self._stall_seconds:
                    raise DownloadStalled("the reader takes nothing; ask again from an offset")
            await writing
        finally:
            for task in (writing, cutting):
                task.cancel()
            # What the cancelled write ends in is of no more use: the reader gets our reason.
            await asyncio.gather(writing, cutting, return_exceptions=True)
