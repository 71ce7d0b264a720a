"""Which versions of a template the state holds."""

from __future__ import annotations

from typing import Protocol

# Versions of one template that a chain takes: all of them are looked at to find the newest.
VERSIONS_MAX = 64


class ScannableState(Protocol):
    """Where the documents are: the state."""

    def scan(self, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return the first `limit` pairs from `start` up to, not including, `end`."""
        ...


def versions_of(state: ScannableState, name: str) -> list[int]:
    """Return the versions of a template, in no order that means anything."""
    start = f"template/{name}/".encode()
    end = f"template/{name}0".encode()  # the character behind the slash
    return [int(key.removeprefix(start)) for key, _ in state.scan(start, end, VERSIONS_MAX)]
