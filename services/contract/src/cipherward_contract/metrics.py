"""What this service measures of itself and of the state, besides its RPCs.

No label names a person, a record, a contract or a data set.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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
DECISIONS = Counter(
    "cipherward_contract_decisions",
    "Decisions on requests to open a record: permitted, or refused with the reason.",
    ["outcome", "reason"],
)
DISCLOSURES = Counter(
    "cipherward_contract_disclosures",
    "Permitted accesses that the custodian has reported on: done or failed.",
    ["outcome"],
)
NOTICES = Counter(
    "cipherward_contract_notices", "Notices given to members and owners, by kind.", ["kind"]
)
REVIEWS_OVERDUE = Gauge(
    "cipherward_contract_reviews_overdue",
    "Emergency accesses that nobody has reviewed in time, until they are handed over.",
)
TIMERS_DUE = Gauge(
    "cipherward_contract_timers_due",
    "Timers that the newest block's time has passed and that have not fired.",
)
TIMER_NEXT = Gauge(
    "cipherward_contract_timer_next_timestamp_seconds",
    "Unix time at which the next timer falls due; 0: none waits.",
)
# From the next second's block to an hour's outage of the chain; a tick takes some seconds.
TIMER_LATE = Histogram(
    "cipherward_contract_timer_late_seconds",
    "From a timer's due time to the time of the block that fired it.",
    buckets=(1, 2.5, 5, 10, 30, 60, 300, 3600),
)
BUDGET_LEAST_LEFT = Gauge(
    "cipherward_contract_budget_least_left_ratio",
    "The least that is left of any data set's budget, of releases or of noise, 0 to 1.",
)
