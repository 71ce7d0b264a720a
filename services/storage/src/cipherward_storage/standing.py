"""Whether a right still stands: not revoked, not over, and the chain not silent."""

from __future__ import annotations

from cipherward_member.following import ChainProgress
from cipherward_storage.effects import Release
from cipherward_storage.errors import ReleaseEnded


class Standing:
    """Judges releases by the newest proven header and the local clock, which may only refuse."""

    def __init__(self, progress: ChainProgress) -> None:
        self._progress = progress

    @property
    def fresh(self) -> bool:
        """Whether the newest proven header is recent enough for sensitive acts."""
        return self._progress.fresh

    def require(self, release: Release) -> None:
        """Refuse a release that does not stand now.

        Raises:
            ChainStale: the newest proven header is too old: silence ends rights.
            ReleaseEnded: revoked, or its end has come by block time or by the local clock.
        """
        self._progress.require_fresh()
        if release.revoked:
            raise ReleaseEnded("the right was revoked")
        if self._progress.latest_seconds() >= release.ends:
            raise ReleaseEnded("the right is over")
