"""The transcripts of the ceremonies that run, kept at hand: rebuilding one costs some milliseconds.

A transcript changes as it is fed, and a block that changed it may be executed again, or its
transaction undone. So a transcript is kept under what it has come to (the digest over its log, and
the window that is open), is found only by who needs exactly that, and is taken out while it is
used. What is not found is rebuilt from the state, to the same.
"""

from __future__ import annotations

from collections import OrderedDict

from cipherward_contract.ceremonies.entries import Running
from cipherward_threshold.group.ceremony.transcript import Transcript

# One a purpose and a few that lead nowhere; the largest (32 members) takes about 1 MB.
KEPT_MAX = 8


class Transcripts:
    """Transcripts by what they have come to. Taking and keeping are atomic, so threads share it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[bytes, str], Transcript] = OrderedDict()

    def take(self, running: Running) -> Transcript | None:
        """Return the transcript of exactly this state, which is then its taker's alone."""
        return self._kept.pop((running.digest, running.phase), None)

    def keep(self, running: Running, transcript: Transcript) -> None:
        """Keep a transcript that has come to this state."""
        self._kept[running.digest, running.phase] = transcript
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
