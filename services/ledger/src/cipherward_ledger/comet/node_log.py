"""What the node says: kept in a bounded file, and searched for the sentence it ends with."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

# A node says little at the level `error`; two files of this size hold weeks of a bad link.
FILE_BYTES_MAX = 4 * 1024 * 1024
SENTENCE_CHARACTERS_MAX = 300

# The consensus routine is dead while the process lives on and answers: CometBFT issue 4054.
DEAD = re.compile(r'CONSENSUS FAILURE!!!.*?\berr="?(?P<why>[^"]+)')
# The state is not the chain's: no restart can help.
DISAGREES = re.compile(r"(?P<why>state\.AppHash does not match AppHash after replay)")
DIFFERS = re.compile(r"app ?hash|last ?results ?hash", re.IGNORECASE)
# CometBFT 0.40, consensus/state.go: a vote that verifies under this node's own key, for a height
# and round in which it voted for something else. Only who has the key can have made it.
SHARED = re.compile(r"(?P<why>found conflicting vote from ourselves)")
FAILED = re.compile(r"^(?:panic|ERROR): (?P<why>.+)")


class NodeLog:
    """The output of one node, a process at a time.

    sentence: why the process that writes now ended or must end, "" while it has not said.
    hopeless: whether it is certain that this process cannot go on.
    differs: whether it says that contract's state is not the chain's.
    shared: whether it has seen a vote of its own key that it has not made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self.sentence = ""
        self.hopeless = self.differs = self.shared = False

    def begin(self) -> None:
        """Forget what the process before said; the file goes on."""
        self.sentence, self.hopeless, self.differs, self.shared = "", False, False, False
        if self._file is None:
            self._open()

    def write(self, line: bytes) -> None:
        """Take one line; where the disk is full it is not kept, and the stores say why."""
        self._search(line.decode(errors="replace").strip())
        with suppress(OSError):
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        if self._file is None:
            self._open()
        if self._size + len(line) > FILE_BYTES_MAX:
            self.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._open()
        if self._file is not None:
            self._file.write(line)
            self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)
        self._size = self._file.tell()

    def _search(self, line: str) -> None:
        for form in (DEAD, DISAGREES, SHARED):
            found = form.search(line)
            if found is not None:
                self.hopeless = True
                self.sentence = found["why"].strip()[:SENTENCE_CHARACTERS_MAX]
                self.differs = bool(DIFFERS.search(self.sentence))
                self.shared = form is SHARED
                return
        found = FAILED.search(line)
        if found is not None and not self.sentence:
            self.sentence = found["why"].strip()[:SENTENCE_CHARACTERS_MAX]
