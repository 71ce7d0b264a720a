"""The scrub: every stored record is read again and again, and compared with what was uploaded.

A disk forgets silently, and a record that nobody opens for years would be missed only then. A pass
reads all records, slowly; how far it is stands in a small file, so that a restart goes on there.
What is corrupt is counted and logged without its name: whoever restores compares all of them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

from cipherward_kit.datafolder import write_atomically
from cipherward_storage import metrics
from cipherward_storage.errors import RecordCorrupt, RecordUnknown, StoreAway
from cipherward_storage.store import RecordStore

FILE_NAME: Final = "scrub.json"

# A tenth of what one slow disk reads, so that readers notice nothing; 1 TB takes six days.
BYTES_A_SECOND: Final = 2 * 1024 * 1024
# From the end of a pass to the next one's beginning.
REST_SECONDS: Final = 24 * 3600.0
# Between two notes of how far a pass is: so much is read twice after a crash.
NOTE_SECONDS: Final = 60.0
# With a store that does not answer.
RETRY_SECONDS: Final = 30.0
PAGE_RECORDS: Final = 16

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class Found:
    """What a pass has found so far, or a finished one has."""

    records: int = 0
    size: int = 0  # bytes of ciphertext
    corrupt: int = 0


@dataclass(slots=True)
class Place:
    """How far the scrub is.

    after: id (hex) of the last record that the running pass has read; "" before the first.
    running: of that pass. last: of the pass before. completed: when that ended, in Unix seconds; 0:
    none has.
    """

    after: str
    running: Found
    last: Found
    completed: float


class Scrub:
    """Reads all records of a store; `run` it beside the server."""

    def __init__(
        self,
        records: RecordStore,
        path: Path,
        bytes_a_second: float = BYTES_A_SECOND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Describe the scrub.

        Args:
            records: are read.
            path: of the file that keeps how far it is.
            bytes_a_second: how fast it reads at most, on average.
            clock: Unix time in seconds.
        """
        self._records = records
        self._path = path
        self._bytes_a_second = bytes_a_second
        self._clock = clock
        self._place = Place("", Found(), Found(), 0.0)

    async def run(self) -> None:
        """Read pass after pass, for ever."""
        self._place = await asyncio.to_thread(_load, self._path)
        self._show()
        while True:
            rest = self._place.completed + REST_SECONDS - self._clock()
            if not self._place.after and rest > 0:
                await asyncio.sleep(min(rest, REST_SECONDS))  # a clock that was set back
            try:
                await self.read_all()
            except (StoreAway, OSError):  # the second: the file of its place cannot be written
                log.warning("scrub_put_off")
                await asyncio.sleep(RETRY_SECONDS)

    async def read_all(self) -> None:
        """Go on with the pass to its end.

        Raises:
            StoreAway: the store does not answer; the next call goes on.
            OSError: how far it is cannot be written.
        """
        noted = self._clock()
        while found := await self._records.page(bytes.fromhex(self._place.after), PAGE_RECORDS):
            for record in found:
                await self._check(record.anchor.record_id)
                self._place.after = record.anchor.record_id.hex()
                if abs(self._clock() - noted) >= NOTE_SECONDS:
                    await self._note()
                    noted = self._clock()
        done = self._place.running
        self._place = Place("", Found(), done, self._clock())
        await self._note()
        self._show()
        log.info("scrub_done", corrupt=done.corrupt)

    async def _check(self, record_id: bytes) -> None:
        running, size = self._place.running, 0
        try:
            async with aclosing(self._records.read(record_id, 0)) as parts:
                async for part in parts:
                    size += len(part)
                    await asyncio.sleep(len(part) / self._bytes_a_second)
        except RecordUnknown:  # erased meanwhile
            return
        except RecordCorrupt:
            if await self._records.find(record_id) is None:  # erased while it was read
                return
            running.corrupt += 1
            metrics.SCRUBBED.labels("corrupt").inc()
            log.error("record_corrupt")
        else:
            metrics.SCRUBBED.labels("intact").inc()
        running.records += 1
        running.size += size

    async def _note(self) -> None:
        content = json.dumps(asdict(self._place)).encode()
        await asyncio.to_thread(write_atomically, self._path, content)

    def _show(self) -> None:
        last = self._place.last
        metrics.RECORDS.set(last.records)
        metrics.STORED_BYTES.set(last.size)
        metrics.SCRUB_CORRUPT.set(last.corrupt)
        metrics.SCRUB_COMPLETED.set(self._place.completed)


def _load(path: Path) -> Place:
    """Return how far the file says that the scrub is; without a file of ours, at the beginning."""
    try:
        kept = json.loads(path.read_bytes())
        return Place(
            bytes.fromhex(kept["after"]).hex(),
            Found(**kept["running"]),
            Found(**kept["last"]),
            float(kept["completed"]),
        )
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError):
        log.warning("scrub_begins_anew")
    return Place("", Found(), Found(), 0.0)
