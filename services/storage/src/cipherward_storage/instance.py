"""Which of several storages of a member this one is: a name that survives its restarts.

Storages that share a database tell each other's leases apart by it; one that was killed goes on
with its own at once. It says nothing to anybody else.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cipherward_kit.datafolder import write_atomically

FILE_NAME = "instance"


def read_instance(folder: Path) -> str:
    """Return the name of the storage with this data folder, drawn at its first start. Blocks."""
    path = folder / FILE_NAME
    if not path.exists():
        write_atomically(path, secrets.token_hex(16).encode())
    return path.read_text(encoding="ascii")
