"""The node's log of consensus rounds (cs.wal), which would grow to a gigabyte.

After a kill the node reads what came after the newest block in it, and nothing older. It writes
files of 10 MB and finds them by listing the folder, so the oldest may go while it runs.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

FOLDER = Path("data") / "cs.wal"
FILE = re.compile(r"wal\.\d+")  # one that is full; the newest is called `wal`
# A height that takes many rounds fills some; 100 MB is days of them.
FILES_KEPT = 10
LOOK_SECONDS = 60.0


def drop_old_rounds(node: Path) -> int:
    """Remove all but the newest full files of the node in a folder; return how many."""
    full = [path for path in (node / FOLDER).glob("wal.*") if FILE.fullmatch(path.name)]
    old = sorted(full, key=lambda path: int(path.suffix[1:]))[:-FILES_KEPT]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


async def keep_rounds_short(node: Path) -> None:
    """Remove old files now and then, for ever."""
    while True:
        await asyncio.to_thread(drop_old_rounds, node)
        await asyncio.sleep(LOOK_SECONDS)
