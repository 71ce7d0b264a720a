"""What this service measures of itself, besides its RPCs. No label names a person, a record or a
contract.
"""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram

HEIGHT = Gauge("cipherward_contract_height", "Height of the committed state.")
# From an empty block (0.2 ms) to one of 2 MiB of small acts (about 2 s).
BLOCK_SECONDS = Histogram(
    "cipherward_contract_block_seconds",
    "Time of executing and of committing a block, the disk's sync left out.",
    ["step"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
# From a few thousand pairs (20 ms) to some millions.
SNAPSHOT_SECONDS = Histogram(
    "cipherward_contract_snapshot_seconds",
    "Time of writing a snapshot of the state, beside the blocks.",
    buckets=(0.05, 0.25, 1, 5, 15, 60, 300),
)
SNAPSHOT_HEIGHT = Gauge("cipherward_contract_snapshot_height", "Height of the newest snapshot.")
TRANSACTIONS = Counter(
    "cipherward_contract_transactions",
    "Transactions executed, by the reason that they were refused for (empty: applied).",
    ["reason"],
)


def count_block(height: int, reasons: Sequence[str]) -> None:
    """Count a committed block and what became of its transactions."""
    HEIGHT.set(height)
    for reason, count in Counted(reasons).items():
        TRANSACTIONS.labels(reason).inc(count)
