"""What time the chain says it is, and whether it still speaks. Used on the event loop only."""

from __future__ import annotations

from typing import Protocol

from cipherward_chain import follower
from cipherward_chain.wire import NANOS
from cipherward_compute import metrics
from cipherward_compute.errors import ChainStale


class ChainView(Protocol):
    """How recent what is known here is; the chain library's `Follower` is one."""

    def require_fresh(self) -> None:
        """Raise the chain library's ChainStale unless the newest proven header is recent."""
        ...


class BlockTime:
    """The time of the newest proven header, which never goes back."""

    def __init__(self) -> None:
        self._newest_ns = 0

    def saw(self, time_ns: int) -> None:
        """Take the time of a certified header."""
        self._newest_ns = max(self._newest_ns, time_ns)
        metrics.PROVEN_TIME.set(self._newest_ns // NANOS)

    def seconds(self) -> int:
        """Return Unix seconds; 0 before the first block."""
        return self._newest_ns // NANOS


class Freshness:
    """Silence ends rights: nothing sensitive is done or shown while the chain is silent."""

    def __init__(self) -> None:
        self._view: ChainView | None = None

    def watch(self, view: ChainView) -> None:
        """Take the view: what it depends on is wired before it."""
        self._view = view

    def require(self) -> None:
        """Return if the newest proven header is recent.

        Raises:
            ChainStale: it is not, or none was seen.
        """
        if self._view is None:
            raise ChainStale("no proven block was seen yet")
        try:
            self._view.require_fresh()
        except follower.ChainStale as error:
            raise ChainStale(str(error)) from None
