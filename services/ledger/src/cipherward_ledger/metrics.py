"""What Prometheus sees of the ledger."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

HEIGHT = Gauge("ledger_height", "Height of the newest committed block.")
PENDING = Gauge("ledger_pending_transactions", "Admitted transactions that are in no block.")
CONTRACT_WAIT = Gauge(
    "ledger_contract_wait_seconds", "How long the chain has been waiting for contract; 0: it works."
)
# From the few milliseconds between a block and its proof to three missed heartbeats of 10 s.
BLOCK_INTERVAL = Histogram(
    "ledger_block_interval_seconds",
    "From one block's time to the next one's.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 11, 30),
)
APPLY = Histogram(
    "ledger_apply_seconds",
    "Executing and committing one block on contract, waits included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
ADMISSIONS = Counter(
    "ledger_admissions",
    "Verdicts on submitted transactions; the reason is empty if admitted.",
    ["reason"],
)
VERIFICATIONS = Counter(
    "ledger_verifications",
    "Transactions held to the stateless checks: checked now, or remembered as valid.",
    ["how"],
)
COMMITTED = Counter("ledger_committed_transactions", "Transactions put in blocks.")
DROPPED = Counter(
    "ledger_dropped_transactions",
    "Admitted transactions that left the outbox without a block, by cause.",
    ["cause"],
)
CORRUPT = Counter("ledger_corrupt_reads", "Stored rows that did not read back as stored.")
STREAMS = Gauge("ledger_block_streams", "Open streams of blocks.")
