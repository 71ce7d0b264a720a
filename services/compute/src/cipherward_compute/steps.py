"""What a step of a study leaves behind when it is taken."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from cipherward_compute.store import Write


def nothing(_connection: sqlite3.Connection) -> None:
    """The effect of a step whose bytes are stored already."""


def all_of(*writes: Write) -> Write:
    """Return several effects as one."""

    def write(connection: sqlite3.Connection) -> None:
        for one in writes:
            one(connection)

    return write


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was taken.

    digest: what the chain is told, 32 bytes. write: its effect, in the transaction that ends the
    order. reported: whether the chain waits for it.
    """

    digest: bytes
    write: Write = nothing
    reported: bool = True
