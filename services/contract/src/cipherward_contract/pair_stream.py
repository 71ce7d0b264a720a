"""A state as one stream of bytes: the same pairs, the same bytes, the same chunks.

Every pair by ascending key, each as two lengths (4 bytes, big-endian), key and value; the stream is
cut every CHUNK_BYTES. Nothing is compressed: two versions of a compressor would make two streams of
one state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

CHUNK_BYTES = 4 * 1024 * 1024  # fits a message of CometBFT's state sync (16 MiB) with room
HEAD_BYTES = 8  # the two lengths before a pair
KEY_BYTES_MAX = 1_024  # several times the longest key: a scope and a pseudonym
# Pairs that SQLite renders in one step: about 100 kB, 1 ms of the interpreter to unpack.
ROWS_AT_ONCE = 512

_RENDERED = """
    SELECT group_concat(
        printf('%08x%08x', length(key), length(value)) || hex(key) || hex(value), ''
    ), max(key)
    FROM (SELECT key, value FROM state WHERE key > ? ORDER BY key LIMIT ?)
"""


def read_chunks(read: sqlite3.Connection, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the stream of the pairs of a state, cut every `chunk_bytes`."""
    pending, last = bytearray(), b""
    while True:
        # The inner select gives the rows in order, and the aggregate takes them as they come; a
        # reader refuses pairs out of order, so that a wrong stream could not be restored.
        text, last = read.execute(_RENDERED, (last, ROWS_AT_ONCE)).fetchone()
        pending += bytes.fromhex(text or "")
        while len(pending) >= chunk_bytes or (text is None and pending):
            yield bytes(pending[:chunk_bytes])
            del pending[:chunk_bytes]
        if text is None:
            return


class PairsMalformed(ValueError):
    """A stream is not what a snapshot's chunks hold."""


class PairReader:
    """Reads the stream chunk by chunk; what a chunk leaves unfinished waits for the next one."""

    def __init__(self) -> None:
        self._rest = b""
        self._last = b""

    def read(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """Return the pairs that `chunk` completes, or raise `PairsMalformed`."""
        octets, at = self._rest + chunk, 0
        found: list[tuple[bytes, bytes]] = []
        while len(octets) - at >= HEAD_BYTES:
            start = at + HEAD_BYTES
            key_bytes = int.from_bytes(octets[at : at + 4], "big")
            value_bytes = int.from_bytes(octets[at + 4 : start], "big")
            if key_bytes > KEY_BYTES_MAX or value_bytes > CHUNK_BYTES:
                raise PairsMalformed("a pair is longer than any")
            end = start + key_bytes + value_bytes
            if end > len(octets):
                break
            key = octets[start : start + key_bytes]
            if key <= self._last:
                raise PairsMalformed("keys are not ascending")
            found.append((key, octets[start + key_bytes : end]))
            self._last, at = key, end
        self._rest = octets[at:]
        return found

    def end(self) -> None:
        """Raise `PairsMalformed` unless the stream ends here."""
        if self._rest:
            raise PairsMalformed("the stream ends inside a pair")
