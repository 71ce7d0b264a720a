"""Which member's ledger is asked: one's own, and while that one is away, another's.

Every ledger admits the same bytes under the same id, and no ledger is believed: what it answers
verifies against the trust root or is refused. So whose ledger it was does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cipherward_chain.endpoints import Endpoints

# How long one that was away is passed over: a restart takes seconds, an outage minutes.
AWAY_SECONDS = 10.0


def ledgers_of(endpoints: Endpoints) -> tuple[str, ...]:
    """Return the members that have a ledger."""
    return tuple(member for member, named in endpoints.by_member.items() if "ledger" in named)


class Ledgers:
    """The members that have a ledger, one's own first, and which of them were away just now."""

    def __init__(
        self, home: str, members: Sequence[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Describe them.

        Args:
            home: whose ledger is asked whenever it answers.
            members: all that have one.
            clock: seconds that only grow.
        """
        self._members = (home, *(member for member in members if member != home))
        self._away_until: dict[str, float] = {}
        self._clock = clock

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._members)

    def best(self) -> str:
        """Return the first that was not away just now; of all that were, the one longest ago."""
        now = self._clock()
        for member in self._members:
            if self._away_until.get(member, now) <= now:
                return member
        return min(self._members, key=lambda member: self._away_until[member])

    def away(self, member: str) -> None:
        """Pass over a member's ledger for a while."""
        self._away_until[member] = self._clock() + AWAY_SECONDS
