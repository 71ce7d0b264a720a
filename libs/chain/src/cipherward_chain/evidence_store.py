"""Evidence of forks on disk: a folder of files, each complete and readable by its owner alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cipherward_chain.evidence import EVIDENCE_BYTES_MAX, EvidenceMalformed, ForkEvidence

SUFFIX: Final = ".evidence"
# One fork is enough to stop for; a liar with a third of the power can make any number of them.
FILES_MAX: Final = 64


def _ignore(_count: int) -> None:
    """Tell nobody."""


class EvidenceStore:
    """The folder of one service, made on first use. Blocks on the disk: not for the event loop.

    Args:
        folder: of this service alone.
        counted: told how many files there are, at `files` and after `save`; a metric's setter.
    """

    def __init__(self, folder: Path, counted: Callable[[int], None] = _ignore) -> None:
        self.folder = folder
        self._counted = counted

    def files(self) -> Sequence[Path]:
        """Return the files, in the order of their names."""
        found = sorted(self.folder.glob(f"*{SUFFIX}"))
        self._counted(len(found))
        return found

    def save(self, evidence: ForkEvidence) -> Path | None:
        """Keep evidence across a power cut; return its file, or None if the folder is full.

        The same evidence again is the same file. The first ones stay: they came before anybody
        could have made more to hide them.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{evidence.digest.hex()[:32]}{SUFFIX}"
        if not path.exists():
            if len(self.files()) >= FILES_MAX:
                return None
            self._write(path, evidence.to_bytes())
        self.files()
        return path

    def _write(self, path: Path, content: bytes) -> None:
        number, name = tempfile.mkstemp(".partial", ".", self.folder)  # made with mode 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(number)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_evidence(path: Path) -> ForkEvidence:
    """Return the evidence in a file.

    Raises:
        OSError: it cannot be read.
        EvidenceMalformed: it is none.
    """
    with path.open("rb") as file:
        raw = file.read(EVIDENCE_BYTES_MAX + 1)
    if not raw:
        raise EvidenceMalformed("the file is empty")
    return ForkEvidence.from_bytes(raw)
