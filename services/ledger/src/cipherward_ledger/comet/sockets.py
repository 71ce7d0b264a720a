"""Unix sockets whose path may be longer than the 107 bytes that a socket's address holds.

The folder is opened and the socket is named through the open folder, /proc/self/fd/N/NAME. Linux
only, as the rest of the supervision is. The node itself runs in the folder and uses bare names.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_path(path: Path) -> Generator[str]:
    """Name `path` in few bytes while the context is open; its folder must exist."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
