"""The scrub: every stored piece is read again and again, and compared with what was put there.

A disk forgets silently, and what nobody asks for in years would be missed only then. A pass reads
all shelves, slowly; how far it is stands in a small file, so that a restart goes on there. What is
corrupt is counted and logged without its name: whoever restores compares all of them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from prometheus_client import Counter, Gauge

from cipherward_kit.boundary import DependencyAway
from cipherward_kit.datafolder import write_atomically

FILE_NAME: Final = "scrub.json"

# A tenth of what one slow disk reads, so that readers notice nothing; 1 TB takes six days.
BYTES_A_SECOND: Final = 2 * 1024 * 1024
# From the end of a pass to the next one's beginning.
REST_SECONDS: Final = 24 * 3600.0
# Between two notes of how far a pass is: so much is read twice after a crash.
NOTE_SECONDS: Final = 60.0
# With a store that does not answer.
RETRY_SECONDS: Final = 30.0
PAGE_PIECES: Final = 16

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class PieceGone(Exception):
    """The piece was deleted since its name was read."""


class PieceCorrupt(Exception):
    """What is read is not what was put there."""


class Shelf(Protocol):
    """Stored pieces of one kind. Adapters: `cipherward_storage.shelves` and
    `cipherward_compute.shelves`.
    """

    @property
    def kind(self) -> str:
        """What the pieces are, as a label's value: one of few words."""
        ...

    async def page(self, after: bytes, limit: int) -> Sequence[bytes]:
        """Return up to `limit` names of pieces, ascending, those after `after` (b"": the first)."""
        ...

    def read(self, name: bytes) -> AsyncGenerator[int]:
        """Read a piece and compare it; yield how many bytes came, part by part.

        Raises:
            PieceGone: it is not there any more.
            PieceCorrupt: it is not what was put there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Figures:
    """What operators see. pieces: by kind and outcome. corrupt: of the last pass, by kind.
    completed: when that ended.
    """

    pieces: Counter
    corrupt: Gauge
    completed: Gauge


@dataclass(slots=True)
class Found:
    """What a pass has found of one kind so far, or a finished one has."""

    pieces: int = 0
    size: int = 0  # bytes
    corrupt: int = 0


@dataclass(slots=True)
class Place:
    """How far the scrub is.

    kind: of the shelf that the running pass reads; "" between two passes. after: name (hex) of the
    last piece that it has read there; "" before the first. running, last: what that pass and the
    one before have found, by kind. completed: when that ended, in Unix seconds; 0: none has.
    """

    kind: str = ""
    after: str = ""
    running: dict[str, Found] = field(default_factory=dict[str, Found])
    last: dict[str, Found] = field(default_factory=dict[str, Found])
    completed: float = 0.0

    @classmethod
    def parse(cls, raw: bytes) -> Place:
        """Return what a file says, or raise ValueError, KeyError or TypeError."""
        kept: dict[str, Any] = json.loads(raw)
        return cls(
            str(kept["kind"]),
            bytes.fromhex(kept["after"]).hex(),
            _found(kept["running"]),
            _found(kept["last"]),
            float(kept["completed"]),
        )


class Scrub:
    """Reads all pieces of some shelves; `run` it beside the server."""

    def __init__(
        self,
        shelves: Sequence[Shelf],
        path: Path,
        figures: Figures,
        *,
        bytes_a_second: float = BYTES_A_SECOND,
        clock: Callable[[], float] = time.time,
        then: Callable[[Mapping[str, Found]], None] | None = None,
    ) -> None:
        """Describe the scrub.

        Args:
            shelves: are read in this order; their kinds are distinct.
            path: of the file that keeps how far it is.
            figures: are shown.
            bytes_a_second: how fast it reads at most, on average.
            clock: Unix time in seconds.
            then: takes what a finished pass has found, by kind.
        """
        self._shelves = shelves
        self._path = path
        self._figures = figures
        self._bytes_a_second = bytes_a_second
        self._clock = clock
        self._then = then
        self._place = Place()
        self._noted = 0.0

    async def run(self) -> None:
        """Read pass after pass, for ever."""
        await asyncio.to_thread(self.resume)
        self._show()
        while True:
            rest = self._place.completed + REST_SECONDS - self._clock()
            if not self._place.kind and rest > 0:
                await asyncio.sleep(min(rest, REST_SECONDS))  # a clock that was set back
            try:
                await self.read_all()
            except (DependencyAway, OSError, sqlite3.DatabaseError) as error:
                # The store is away, the file of the scrub's place cannot be written, or a page of
                # the database's index is damaged: that one every reader meets.
                log.warning("scrub_put_off", why=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    def resume(self) -> None:
        """Read how far the scrub was. Blocks."""
        self._place = _load(self._path)

    async def read_all(self) -> None:
        """Go on with the pass to its end.

        Raises:
            DependencyAway: the store does not answer; the next call goes on.
            OSError: how far it is cannot be written.
            sqlite3.DatabaseError: the names of the pieces cannot be read.
        """
        self._noted = self._clock()
        kinds = [shelf.kind for shelf in self._shelves]
        begun = kinds.index(self._place.kind) if self._place.kind in kinds else 0
        for shelf in self._shelves[begun:]:
            if self._place.kind != shelf.kind:
                self._place.kind, self._place.after = shelf.kind, ""
            await self._read_shelf(shelf)
        self._place = Place(last=self._place.running, completed=self._clock())
        await self._note()
        self._show()
        log.info("scrub_done", corrupt=sum(one.corrupt for one in self._place.last.values()))

    async def _read_shelf(self, shelf: Shelf) -> None:
        found = self._place.running.setdefault(shelf.kind, Found())
        while names := await shelf.page(bytes.fromhex(self._place.after), PAGE_PIECES):
            for name in names:
                await self._check(shelf, name, found)
                self._place.after = name.hex()
                if abs(self._clock() - self._noted) >= NOTE_SECONDS:
                    await self._note()

    async def _check(self, shelf: Shelf, name: bytes, found: Found) -> None:
        size = 0
        try:
            async with aclosing(shelf.read(name)) as parts:
                async for part in parts:
                    size += part
                    await asyncio.sleep(part / self._bytes_a_second)
        except PieceGone:
            return
        except (PieceCorrupt, sqlite3.DatabaseError):  # SQLite's own: a page that does not parse
            found.corrupt += 1
            self._figures.pieces.labels(shelf.kind, "corrupt").inc()
            log.error("stored_piece_corrupt", kind=shelf.kind)
        else:
            self._figures.pieces.labels(shelf.kind, "intact").inc()
        found.pieces += 1
        found.size += size

    async def _note(self) -> None:
        content = json.dumps(asdict(self._place)).encode()
        await asyncio.to_thread(write_atomically, self._path, content)
        self._noted = self._clock()

    def _show(self) -> None:
        last = self._place.last
        for shelf in self._shelves:
            self._figures.corrupt.labels(shelf.kind).set(last.get(shelf.kind, Found()).corrupt)
        self._figures.completed.set(self._place.completed)
        if self._then is not None:
            self._then(last)


def _found(kept: dict[str, Any]) -> dict[str, Found]:
    return {str(kind): Found(**one) for kind, one in kept.items()}


def _load(path: Path) -> Place:
    """Return how far the file says that the scrub is; without a file of ours, at the beginning."""
    try:
        return Place.parse(path.read_bytes())
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        log.warning("scrub_begins_anew")
    return Place()
