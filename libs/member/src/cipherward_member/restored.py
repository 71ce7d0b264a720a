"""That a service's store was put back from a backup, and how high the chain was then.

The mark lies in the data folder for ever. What the service did after the backup was made is not in
its store, and orders up to that height come to it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cipherward_kit.datafolder import write_atomically
from cipherward_member.errors import CheckpointUnusable

FILE_NAME: Final = "restored-at-height"


def write_restored(folder: Path, height: int) -> None:
    """Mark a data folder: orders of blocks up to `height` may have been answered. Blocks."""
    write_atomically(folder / FILE_NAME, f"{height}\n".encode())


def read_restored(folder: Path) -> int:
    """Return the height that the folder is marked with; 0 if it never was restored. Blocks.

    Raises:
        CheckpointUnusable: the mark is damaged; without it shares might be given twice.
    """
    try:
        text = (folder / FILE_NAME).read_text(encoding="ascii").strip()
        height = int(text)
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):
        height = -1
    if height < 0:
        raise CheckpointUnusable(
            f"{folder / FILE_NAME} cannot be read: restore the folder again from its backup"
        )
    return height
