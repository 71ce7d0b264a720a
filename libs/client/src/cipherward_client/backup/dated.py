"""Archives that are made again and again into one folder: their names, and which are kept."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cipherward_client.backup.errors import ArchiveMissing
from cipherward_client.backup.stores import STORES

STAMP: Final = "%Y%m%dT%H%M%SZ"  # UTC: names sort as they were made
STAMP_FORM: Final = r"\d{8}T\d{6}Z"
JOINED: Final = "+"
# What a backup that was killed leaves; none takes as long.
LEFTOVER_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Series:
    """All archives of some stores of a member in one folder."""

    folder: Path
    member: str
    stores: tuple[str, ...]

    def next(self, now: float) -> Path:
        """Return the path of the archive that is made now; `now`: Unix seconds."""
        return self.folder / f"{self._begin}-{time.strftime(STAMP, time.gmtime(now))}.tar"

    def clear(self, now: float) -> None:
        """Delete what backups left that were killed a day ago or earlier. Blocks."""
        leftover = re.compile(rf"\.{re.escape(self._begin)}-{STAMP_FORM}\..+")
        for path in self.folder.iterdir():
            if leftover.fullmatch(path.name) and now - path.stat().st_mtime > LEFTOVER_SECONDS:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def drop_older(self, keep: int) -> int:
        """Delete all archives but the newest `keep`; return how many. Blocks."""
        whole = re.compile(rf"{re.escape(self._begin)}-{STAMP_FORM}\.tar")
        named = (path for path in self.folder.iterdir() if whole.fullmatch(path.name))
        older = sorted(named, key=lambda path: path.name)[:-keep]
        for path in older:
            path.unlink()
        return len(older)

    @property
    def _begin(self) -> str:
        return f"{self.member}-{JOINED.join(self.stores)}"


def newest_archive(folder: Path, member: str, stores: Sequence[str]) -> Path:
    """Return a member's newest archive in a folder that has these stores; by its name. Blocks.

    What is no folder is the archive itself.

    Raises:
        ArchiveMissing: there is none.
    """
    if not folder.is_dir():
        return folder
    form = re.compile(rf"{re.escape(member)}-(.+)-({STAMP_FORM})\.tar")
    found: list[tuple[str, Path]] = []
    for path in folder.iterdir():
        match = form.fullmatch(path.name)
        named = set(match[1].split(JOINED)) if match else set[str]()
        if match and named <= STORES.keys() and named >= set(stores):
            found.append((match[2], path))
    if not found:
        raise ArchiveMissing(f"{folder} has no archive of {', '.join(stores) or member}")
    return max(found)[1]
