"""What operators see of the contracts: what a committed block did, and what waits in the state."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import Final

from cipherward_chain.canonical import encode
from cipherward_chain.wire import NANOS
from cipherward_contract import metrics
from cipherward_contract.chain_rules import ChainRules
from cipherward_contract.entries import TIMER, TIMER_END
from cipherward_contract.executor import Outcome
from cipherward_contract.index_rows import AccessAsked, AccessReported, NoticeGiven
from cipherward_contract.loading import Loaded
from cipherward_contract.marks import BUDGET, BUDGET_END, budget_spent
from cipherward_member.height import HEIGHT

# An emergency access whose review was missed waits for this transition of its template.
HAND_OVER: Final = encode({"transition": "hand_over"})
# For so long at most: seven days after the opening, of which 72 hours were for the review.
HAND_OVER_SECONDS: Final = 4 * 86_400
# Of block time between two counts of overdue reviews, which read some days of timers: a heartbeat,
# while alerts wait for minutes.
REVIEWS_SECONDS: Final = 10
NOISE: Final = "/rho"  # how the name of a data set's budget of noise ends


class Figures:
    """Follows the committed state. Every method runs in the database's thread."""

    def __init__(self) -> None:
        """Show a state without blocks."""
        self._reviews_at = 0  # block time, Unix seconds, of the newest count
        metrics.BUDGET_LEAST_LEFT.set(1)

    def begin(self, connection: sqlite3.Connection, loaded: Loaded) -> None:
        """Show a state that was loaded or restored."""
        self._reviews_at = 0
        self._show(connection, loaded)
        metrics.BUDGET_LEAST_LEFT.set(least_left(_budgets(connection), loaded.rules))

    def committed(self, connection: sqlite3.Connection, loaded: Loaded, outcome: Outcome) -> None:
        """Count what a block did, once, and show the state after it."""
        for reason, count in Counter(result.reason for result in outcome.results).items():
            metrics.TRANSACTIONS.labels(reason).inc(count)
        for row in outcome.rows:
            if isinstance(row, AccessAsked):
                decided = "permitted" if row.order else "refused"
                metrics.DECISIONS.labels(decided, row.reason).inc()
            elif isinstance(row, AccessReported):
                metrics.DISCLOSURES.labels("done" if row.done else "failed").inc()
            elif isinstance(row, NoticeGiven):
                metrics.NOTICES.labels(row.kind).inc()
        now = loaded.head.time_ns // NANOS
        for key, value in outcome.writes.items():
            # What is due and goes has fired: timers are the first that a block carries out.
            if value is None and key.startswith(TIMER) and _due(key) <= now:
                metrics.TIMER_LATE.observe(now - _due(key))
        self._show(connection, loaded)
        if any(key.startswith(BUDGET) for key in outcome.writes):
            metrics.BUDGET_LEAST_LEFT.set(least_left(_budgets(connection), loaded.rules))

    def _show(self, connection: sqlite3.Connection, loaded: Loaded) -> None:
        now = loaded.head.time_ns // NANOS
        HEIGHT.set(loaded.head.height)
        first = connection.execute(
            "SELECT min(key) FROM state WHERE key >= ? AND key < ?", (TIMER, TIMER_END)
        ).fetchone()[0]
        metrics.TIMER_NEXT.set(_due(first) if first else 0)
        due = connection.execute(
            "SELECT count(*) FROM state WHERE key >= ? AND key < ?", (TIMER, _timers_to(now))
        )
        metrics.TIMERS_DUE.set(due.fetchone()[0])
        if now - self._reviews_at >= REVIEWS_SECONDS:
            self._reviews_at = now
            overdue = connection.execute(
                "SELECT count(*) FROM state WHERE key >= ? AND key < ? AND value = ?",
                (TIMER, _timers_to(now + HAND_OVER_SECONDS), HAND_OVER),
            )
            metrics.REVIEWS_OVERDUE.set(overdue.fetchone()[0])


def least_left(budgets: Iterable[tuple[str, int]], rules: ChainRules) -> float:
    """Return the least part, 0 to 1, that is left of any data set's budget of releases or noise.

    Budgets of permits, keys and studies have slashes in their names and are left out. A study's own
    noise looks like a data set's; it is never more than what the data set has spent.

    Args:
        budgets: name and what is spent.
    """
    least = 1.0
    for name, spent in budgets:
        is_noise = name.endswith(NOISE)
        limit = rules.data_set_rho_max if is_noise else rules.data_set_releases_max
        if limit > 0 and "/" not in name.removesuffix(NOISE):
            least = min(least, 1 - spent / limit)
    return max(0.0, least)


def _budgets(connection: sqlite3.Connection) -> Iterable[tuple[str, int]]:
    found = connection.execute(
        "SELECT key, value FROM state WHERE key >= ? AND key < ?", (BUDGET, BUDGET_END)
    )
    return ((key.removeprefix(BUDGET).decode(), budget_spent(value)) for key, value in found)


def _due(key: bytes) -> int:
    """Return when, in Unix seconds, the timer under a key falls due."""
    return int.from_bytes(key[len(TIMER) : len(TIMER) + 8], "big")


def _timers_to(due: int) -> bytes:
    """Return the first key behind those of the timers that are due at a Unix time."""
    return TIMER + (due + 1).to_bytes(8, "big")
