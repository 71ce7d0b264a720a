"""Encrypted columns of data keys, and proofs about them: by the digest of their octets.

Ciphertexts are some MB; each is taken and sent whole, and compared with its digest every time. The
chain alone ends them: the order that retires a data key refuses its id for ever, and what is kept
under it is deleted, a few parts at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.orders import Order
from cipherward_storage.errors import (
    ColumnCorrupt,
    ColumnMalformed,
    ColumnsBusy,
    ColumnStalled,
    ColumnUnknown,
    DigestDiffers,
    StoreAway,
)

RETIRE_KEY, DATA_KEY = "retire_key", "data-key"  # the instruction, and whose it must be
# A ciphertext of the product profile has 1.6 MB, the proof of eight of them 5.
COLUMN_BYTES_MAX = 8 << 20
PART_BYTES_MAX = 1 << 20  # of a message, and of what is stored as one
AT_ONCE_MAX = 8  # 64 MB in memory at most; whoever is refused asks again
# Between looks at what retired keys have left; the first is at the start.
SWEEP_SECONDS = 600.0
SWEEP_PARTS = 16  # deleted a transaction, so that others do not wait for long

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ColumnName:
    """Which octets: the data key that they are under, and their SHA-256."""

    data_key: bytes
    digest: bytes

    def check(self) -> None:
        """Raise `ColumnMalformed` unless both parts have their lengths."""
        if (len(self.data_key), len(self.digest)) != (ID_BYTES, DIGEST_BYTES):
            raise ColumnMalformed("a column is named by an instance id and a SHA-256")


class ColumnStore(Protocol):
    """Columns, and which data keys are over; `BlockEffects.retired_keys` adds to these."""

    async def put(self, name: ColumnName, octets: bytes) -> None:
        """Keep octets, all or nothing; the same again changes nothing.

        Raises:
            DataKeyRetired: the data key is over.
            DiskFull: there is no room; nothing is kept.
        """
        ...

    async def find(self, name: ColumnName) -> bytes | None:
        """Return what is kept under a name, or None; also once its data key is over."""
        ...

    async def names(self, after: ColumnName | None, limit: int) -> Sequence[ColumnName]:
        """Return up to `limit` names by ascending data key and digest, those after `after`."""
        ...

    async def sweep(self, limit: int) -> int:
        """Delete up to `limit` parts of data keys that are over; return how many."""
        ...


class Columns:
    """Takes and sends columns, and deletes those of keys that are over."""

    def __init__(self, store: ColumnStore, stall_seconds: float) -> None:
        """Describe the columns; `stall_seconds`: how long a sender may be silent."""
        self._store = store
        self._stall_seconds = stall_seconds
        self._busy = 0
        self._retired = asyncio.Event()
        self._retired.set()  # what an earlier run has left

    async def take(self, name: ColumnName, length: int, parts: AsyncIterator[bytes]) -> None:
        """Keep what `parts` have together.

        Raises:
            ColumnMalformed: the name or the length is out of form, or other octets come.
            DigestDiffers: they have another digest.
            ColumnStalled: the sender was silent for too long.
            ColumnsBusy: too many are under way.
            DataKeyRetired: the data key is over.
            DiskFull: there is no room.
        """
        name.check()
        if not 1 <= length <= COLUMN_BYTES_MAX:
            raise ColumnMalformed(f"a column has 1 to {COLUMN_BYTES_MAX} bytes")
        with self._turn():
            octets = await self._received(length, parts)
            if await asyncio.to_thread(_digest, octets) != name.digest:
                raise DigestDiffers("the column that arrived is not the one that was announced")
            await self._store.put(name, octets)

    async def send(self, name: ColumnName) -> AsyncGenerator[bytes]:
        """Yield a column in parts, once all of it was compared with its digest.

        Raises:
            ColumnMalformed: the name is out of form.
            ColumnUnknown: there is none, or not any more.
            ColumnCorrupt: it is not what was put there.
            ColumnsBusy: too many are under way.
        """
        name.check()
        with self._turn():
            octets = await self._store.find(name)
            if octets is None:
                raise ColumnUnknown("there is no such column here")
            if await asyncio.to_thread(_digest, octets) != name.digest:
                raise ColumnCorrupt("the stored column is damaged")
            for at in range(0, len(octets), PART_BYTES_MAX):
                yield octets[at : at + PART_BYTES_MAX]

    def wake(self) -> None:
        """Say that a block has retired a data key."""
        self._retired.set()

    async def run(self) -> None:
        """Delete what is over whenever a key was retired, and now and then, for ever."""
        while True:
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._retired.wait()
            except TimeoutError:
                pass
            self._retired.clear()
            try:
                while await self._store.sweep(SWEEP_PARTS):
                    pass
            except StoreAway:  # what is over stays over: the next sweep deletes it
                log.warning("column_sweep_put_off")

    async def _received(self, length: int, parts: AsyncIterator[bytes]) -> bytes:
        pieces: list[bytes] = []
        left = length
        while left:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    piece = await anext(parts, b"")
            except TimeoutError:
                raise ColumnStalled("the sender was silent for too long") from None
            left -= len(piece)
            if not piece or left < 0 or len(piece) > PART_BYTES_MAX:
                raise ColumnMalformed("the parts are not as long as was announced")
            pieces.append(piece)
        return b"".join(pieces)

    @contextmanager
    def _turn(self) -> Generator[None]:
        if self._busy >= AT_ONCE_MAX:
            raise ColumnsBusy("columns are being moved; try again", at_once_max=AT_ONCE_MAX)
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1


def retired_key(order: Order) -> bytes:
    """Return the data key that an order retires, or b"" if it is no such order."""
    if (order.instruction, order.template) != (RETIRE_KEY, DATA_KEY):
        return b""
    return order.instance


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
