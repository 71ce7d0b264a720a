"""The disk reserve: a service stops accepting before what it has accepted cannot be written down.

Below the reserve nothing is taken in that would grow its state; reading, ending a right and
following the chain go on, and use the reserve.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import grpc

from cipherward_kit.errors import ServiceError
from cipherward_kit.readiness import Readiness

DISK: Final = "disk"  # the condition of readiness
LOOK_SECONDS: Final = 1.0  # others fill a disk by some 100 MB in that time, less than the reserve
# Once short, so many parts of the reserve must be free again: else it would flap with every log.
AGAIN_ENOUGH: Final = 1.25


class DiskReserved(ServiceError):
    """The disk is full down to the reserve of this service."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "DISK_RESERVED"


class DiskReserve:
    """What a data folder's disk must keep free, as of the newest look."""

    def __init__(
        self,
        folder: Path,
        reserve_bytes: int,
        growing: Collection[str],
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        """Describe it.

        Args:
            folder: of the service's own state.
            reserve_bytes: what stays free; 0: all may be used.
            growing: names of the methods that make the state grow, without their service's.
            free_bytes: says how much is free; by default the file system does.
        """
        self._folder = folder
        self._reserve = reserve_bytes
        self._growing = frozenset(growing)
        self._free_bytes = free_bytes or free_on
        self._short = False

    def admit(self, method: str) -> None:
        """Return unless the method makes the state grow and the disk is short.

        Raises:
            DiskReserved: it does, and it is.
        """
        if self._short and method.rpartition("/")[2] in self._growing:
            raise DiskReserved(
                "the disk is full down to its reserve; nothing new is taken until there is room",
                reserve_bytes=self._reserve,
            )

    def look(self, readiness: Readiness) -> None:
        """Look how much is free, and keep the condition of readiness equal to it."""
        free = self._free_bytes(self._folder)
        wanted = self._reserve * (AGAIN_ENOUGH if self._short else 1)
        self._short = free < wanted
        readiness.set(DISK, not self._short, "the disk is full down to its reserve")

    @asynccontextmanager
    async def watched(self, readiness: Readiness) -> AsyncGenerator[None]:
        """Look now, and then again and again while the context is open."""
        readiness.add(DISK)
        self.look(readiness)
        watching = asyncio.create_task(self._watch(readiness), name="disk-reserve")
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, readiness: Readiness) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look(readiness)


def free_on(folder: Path) -> int:
    """Return what this user may still write where a folder is, or will be, in bytes.

    One system call, answered from memory.
    """
    for place in (folder, *folder.parents):
        with suppress(FileNotFoundError):
            found = os.statvfs(place)
            return found.f_bavail * found.f_frsize
    raise FileNotFoundError(folder)  # not even its file system is there
