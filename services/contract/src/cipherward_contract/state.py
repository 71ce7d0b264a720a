"""The state that a block sees: the committed pairs under the block's own writes.

A transaction's writes lie on top until it has succeeded: all of them are kept, or none. One inside
another is a part that may fail alone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class Committed(Protocol):
    """The committed pairs. Adapters: the store's table, and a dict in simulations and tests."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the pairs from `start` up to, not including, `end`, by ascending key."""
        ...


class State:
    """Reads through to the committed pairs; keeps a block's writes in memory."""

    def __init__(self, committed: Committed) -> None:
        self._committed = committed
        self._writes: dict[bytes, bytes | None] = {}
        self._tentative: dict[bytes, bytes | None] | None = None

    @property
    def writes(self) -> Mapping[bytes, bytes | None]:
        """What the block has written so far, the open transaction left out; None deletes."""
        return self._writes

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Keep the writes made inside if it ends well; if it raises, undo them and raise."""
        outer = self._tentative
        self._tentative = {} if outer is None else dict(outer)
        try:
            yield
            (self._writes if outer is None else outer).update(self._tentative)
        finally:
            self._tentative = outer

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None."""
        if self._tentative is not None and key in self._tentative:
            return self._tentative[key]
        if key in self._writes:
            return self._writes[key]
        return self._committed.get(key)

    def committed(self, key: bytes) -> bytes | None:
        """Return what was committed under `key` before this block, or None."""
        return self._committed.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a pair."""
        self._target()[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a pair, if it is there."""
        self._target()[key] = None

    def _target(self) -> dict[bytes, bytes | None]:
        return self._writes if self._tentative is None else self._tentative

    def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs from `start` up to, not including, `end`, by ascending
        key.
        """
        written = {**self._writes, **(self._tentative or {})}
        changed = {key: value for key, value in written.items() if start <= key < end}
        found = {key: value for key, value in changed.items() if value is not None}
        taken = 0
        for key, value in self._committed.scan(start, end):
            if key in changed:
                continue
            if taken == limit:  # what was written may come before it, so `limit` of each is enough
                break
            found[key] = value
            taken += 1
        return sorted(found.items())[:limit]
