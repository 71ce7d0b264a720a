"""Whether a right still stands: not revoked, not over, and the chain not silent."""

from __future__ import annotations

from cipherward_kit.readiness import Readiness
from cipherward_storage.errors import ChainStale, ReleaseEnded
from cipherward_storage.progress import ChainProgress
from cipherward_storage.records import Release

# A silent chain is noticed this much late in the health of the process; rights look at every use.
LOOK_SECONDS = 1.0


class Standing:
    """Judges releases by the newest proven header and the local clock, which may only refuse."""

    def __init__(self, progress: ChainProgress, fresh_seconds: float) -> None:
        """Describe the judgement.

        Args:
            progress: of the chain.
            fresh_seconds: the age of the newest proven header beyond which rights end.
        """
        self._progress = progress
        self._fresh_seconds = fresh_seconds

    @property
    def fresh(self) -> bool:
        """Whether the newest proven header is recent enough for sensitive acts."""
        return self._progress.age_seconds() <= self._fresh_seconds

    def require(self, release: Release) -> None:
        """Refuse a release that does not stand now.

        Raises:
            ChainStale: the newest proven header is too old: silence ends rights.
            ReleaseEnded: revoked, or its end has come by block time or by the local clock.
        """
        if not self.fresh:
            raise ChainStale(
                f"no proven block for more than {self._fresh_seconds:g} s",
                fresh_seconds=int(self._fresh_seconds),
            )
        if release.revoked:
            raise ReleaseEnded("the right was revoked")
        if self._progress.latest_seconds() >= release.ends:
            raise ReleaseEnded("the right is over")


async def watch_freshness(
    standing: Standing, progress: ChainProgress, readiness: Readiness, condition: str
) -> None:
    """Keep a condition of readiness equal to whether the chain is fresh, for ever."""
    while True:
        readiness.set(condition, standing.fresh, "no recent proven block")
        await progress.moves(LOOK_SECONDS)
