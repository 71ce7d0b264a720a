"""Snapshots of the state: the same bytes at every member that makes one of the same block.

The content is the stream of `pair_stream`, cut every CHUNK_BYTES; the metadata is the SHA-256 of
every chunk.

One is written by a thread with a connection of its own, over one state of the database, while
blocks go on: SQLite makes the bytes, so the thread seldom holds the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import structlog

from cipherward_contract import metrics
from cipherward_contract.errors import SnapshotUnknown
from cipherward_contract.pair_stream import CHUNK_BYTES, read_chunks
from cipherward_kit.datafolder import sync_folder, write_atomically

FORMAT = 1
DIGEST_BYTES = 32
# The state is held after reading one row; longer than this, no block waits for it.
HOLD_SECONDS = 5.0
# A newcomer has time to fetch one while the next is made.
SNAPSHOTS_KEPT = 3
CACHE_KIBIBYTES = 2 * 1024  # the whole state passes once

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of the state after block `height`; `metadata` has each chunk's SHA-256."""

    height: int
    metadata: bytes
    format: int = FORMAT

    @property
    def chunks(self) -> int:
        """How many chunks it has."""
        return len(self.metadata) // DIGEST_BYTES

    @property
    def hash(self) -> bytes:
        """What names its content: the SHA-256 over height, format and every chunk's digest."""
        head = self.height.to_bytes(8, "big") + self.format.to_bytes(4, "big")
        return hashlib.sha256(head + self.metadata).digest()

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of a chunk."""
        return self.metadata[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]


class Snapshots:
    """The snapshots in one folder: `HEIGHT.pairs` is the stream, `HEIGHT.digests` its metadata.

    Enter it before use; leaving ends a snapshot that is being written.
    """

    def __init__(
        self, folder: Path, database: Path, every: int, *, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        """Use a folder, which is made if it is missing.

        Args:
            database: the file whose committed state is written.
            every: a snapshot every so many blocks; 0: none.
            chunk_bytes: smaller chunks than the format's fit small states, in tests.
        """
        self._chunk_bytes = chunk_bytes
        self._folder = folder
        self._database = database
        self._every = every
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._begun = 0
        self._closing = False

    async def __aenter__(self) -> Snapshots:
        """Make the folder and drop what a kill left half written."""
        await asyncio.to_thread(self._prepare)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._closing = True
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.to_thread(thread.shutdown)

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for partial in self._folder.glob("*.partial"):
            partial.unlink()
        self._drop_old()

    async def committed(self, height: int) -> None:
        """Begin a snapshot if one is due at `height`, the block that was just committed.

        Returns when the state to be written is held fast: the next block may change it then. One
        that is due while the last is still being written is left out.
        """
        due = self._every and height and height % self._every == 0
        if not due or height == self._begun or self._thread is None:
            return
        if self._writing is not None and not self._writing.done():
            log.warning("snapshot_left_out", height=height)
            return
        self._begun = height
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.call_soon_threadsafe(lambda: held.done() or held.set_result(None))

        self._writing = self._thread.submit(self._write, height, tell)
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                await held
        except TimeoutError:  # it will find another height, and be left out
            log.warning("snapshot_left_out", height=height)

    async def finished(self) -> None:
        """Wait until no snapshot is being written."""
        if self._writing is not None:
            await asyncio.wrap_future(self._writing)

    async def list(self) -> list[Snapshot]:
        """Return the snapshots that can be loaded, the newest first."""
        return await asyncio.to_thread(self._list)

    async def load(self, height: int, format_: int, index: int) -> bytes:
        """Return a chunk, or raise `SnapshotUnknown`."""
        return await asyncio.to_thread(self._load, height, format_, index)

    # What follows runs in threads.

    def _list(self) -> list[Snapshot]:
        found: list[Snapshot] = []
        for path in self._folder.glob("*.pairs"):
            with contextlib.suppress(OSError):  # it was dropped meanwhile
                found.append(Snapshot(int(path.stem), path.with_suffix(".digests").read_bytes()))
        return sorted(found, key=lambda snapshot: snapshot.height, reverse=True)

    def _load(self, height: int, format_: int, index: int) -> bytes:
        try:
            with (self._folder / f"{height}.pairs").open("rb") as file:
                file.seek(index * self._chunk_bytes)
                chunk = file.read(self._chunk_bytes)
        except OSError:
            chunk = b""
        if not chunk or format_ != FORMAT:
            raise SnapshotUnknown(f"there is no such chunk of a snapshot {height}", height=height)
        return chunk

    def _write(self, height: int, tell: Callable[[], None]) -> None:
        started = time.perf_counter()
        try:
            with contextlib.closing(sqlite3.connect(self._database, isolation_level=None)) as read:
                held = self._hold(read, height)
                tell()
                snapshot = self._write_pairs(read, height) if held else None
            if snapshot is not None:
                self._drop_old()
        except (sqlite3.Error, OSError) as error:
            log.warning("snapshot_failed", height=height, cause=type(error).__name__)
            return
        finally:
            tell()
            (self._folder / f"{height}.partial").unlink(missing_ok=True)
        if snapshot is not None:
            metrics.SNAPSHOT_SECONDS.observe(time.perf_counter() - started)
            metrics.SNAPSHOT_HEIGHT.set(height)
            log.info("snapshot_made", height=height, chunks=snapshot.chunks)

    def _hold(self, read: sqlite3.Connection, height: int) -> bool:
        """Begin to read the committed state, which later commits leave as it is for us; say
        whether it is that of `height`.
        """
        read.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        read.execute("PRAGMA query_only = ON")
        read.execute("BEGIN")
        (found,) = read.execute("SELECT height FROM committed").fetchone()
        return found == height

    def _write_pairs(self, read: sqlite3.Connection, height: int) -> Snapshot | None:
        partial = self._folder / f"{height}.partial"
        digests: list[bytes] = []
        with partial.open("wb") as file:
            for chunk in read_chunks(read, self._chunk_bytes):
                if self._closing:
                    return None
                file.write(chunk)
                digests.append(hashlib.sha256(chunk).digest())
            file.flush()
            os.fsync(file.fileno())
        snapshot = Snapshot(height, b"".join(digests))
        write_atomically(self._folder / f"{height}.digests", snapshot.metadata)
        partial.rename(self._folder / f"{height}.pairs")
        sync_folder(self._folder)
        return snapshot

    def _drop_old(self) -> None:
        kept = {snapshot.height for snapshot in self._list()[:SNAPSHOTS_KEPT]}
        for path in (*self._folder.glob("*.pairs"), *self._folder.glob("*.digests")):
            if not path.stem.isdigit() or int(path.stem) not in kept:
                path.unlink()
