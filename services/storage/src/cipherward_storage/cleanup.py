"""What nobody anchored goes: a day after it came, by block time."""

from __future__ import annotations

import asyncio

import structlog

from cipherward_member.following import ChainProgress
from cipherward_storage import metrics
from cipherward_storage.errors import StoreAway
from cipherward_storage.store import RecordStore

# A transaction lives ten minutes; an author that has not anchored within a day has given up.
UNANCHORED_SECONDS = 24 * 3600
# Between sweeps; a sweep of nothing is two index look-ups.
SWEEP_SECONDS = 600.0
# Deleted a transaction, so that uploads do not wait for long.
SWEEP_ROWS = 100

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Cleanup:
    """Deletes unanchored records and abandoned uploads.

    A record's age counts from the later of the local clock and block time when it came, and ends
    by block time alone: a chain that is read up from long ago deletes nothing of today.
    """

    def __init__(self, records: RecordStore, progress: ChainProgress) -> None:
        self._records = records
        self._progress = progress

    async def sweep(self) -> int:
        """Delete whatever is over now; return how many records and uploads that were."""
        before = self._progress.block_seconds() - UNANCHORED_SECONDS
        removed = 0
        while found := await self._records.remove_expired(before, SWEEP_ROWS):
            removed += found
        metrics.RECORDS_REMOVED.inc(removed)
        return removed

    async def run(self) -> None:
        """Sweep again and again, for ever."""
        while True:
            try:
                await self.sweep()
            except OSError as error:  # a file that cannot be deleted now is tried at the next start
                log.warning("sweep_failed", errno=error.errno)
            except StoreAway:  # what is over stays over: the next sweep deletes it
                log.warning("sweep_put_off")
            await asyncio.sleep(SWEEP_SECONDS)
