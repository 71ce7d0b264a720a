"""What operators see of the ceremonies of one purpose: how many run, and whether one is stuck."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Gauge

RUNNING = Gauge(
    "cipherward_ceremony_running", "Ceremonies of shared keys that are under way.", ["purpose"]
)
PHASE = Gauge(
    "cipherward_ceremony_phase",
    "1 for the phase that the oldest ceremony under way is in.",
    ["purpose", "phase"],
)
PHASE_BEGUN = Gauge(
    "cipherward_ceremony_phase_begun_timestamp_seconds",
    "Since when the oldest ceremony is in its phase, as seen by this process; 0: none runs.",
    ["purpose"],
)
ENDED = Counter(
    "cipherward_ceremony_ended",
    "Ceremonies that ended, by what this member got: share, none (not a member, or it could not "
    "take part), lost (it took part and has no share), failed (nobody has one).",
    ["purpose", "outcome"],
)


class CeremonyFigures:
    """Follows the ceremonies of one purpose."""

    def __init__(self, purpose: str, clock: Callable[[], float] = time.time) -> None:
        """Show that none runs.

        Args:
            purpose: of cipherward_chain.group_keys.
            clock: Unix seconds now.
        """
        self._purpose = purpose
        self._clock = clock
        self._oldest: tuple[bytes, str] | None = None
        self.show([])

    def show(self, running: Sequence[tuple[bytes, str]]) -> None:
        """Show the ceremonies that run, each by its id and its phase, oldest first."""
        RUNNING.labels(self._purpose).set(len(running))
        oldest = running[0] if running else None
        if oldest is not None and oldest == self._oldest:
            return
        self._oldest = oldest
        PHASE.remove_by_labels({"purpose": self._purpose})
        PHASE_BEGUN.labels(self._purpose).set(0 if oldest is None else self._clock())
        if oldest is not None:
            PHASE.labels(self._purpose, oldest[1]).set(1)

    def ended(self, outcome: str) -> None:
        """Count a ceremony that ended, by what this member got."""
        ENDED.labels(self._purpose, outcome).inc()
