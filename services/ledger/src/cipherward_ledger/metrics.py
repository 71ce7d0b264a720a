"""What Prometheus sees of the ledger."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.wire import NANOS
from cipherward_member.height import HEIGHT

BLOCK_TIME = Gauge(
    "cipherward_ledger_block_timestamp_seconds", "Unix time of the newest committed block."
)
MEMPOOL_TRANSACTIONS = Gauge(
    "cipherward_ledger_mempool_transactions", "Admitted transactions that are in no block."
)
MEMPOOL_BYTES = Gauge("cipherward_ledger_mempool_bytes", "Their size.")
VALIDATORS = Gauge("cipherward_ledger_validators", "Validators of the newest committed block.")
VALIDATORS_MISSING = Gauge(
    "cipherward_ledger_validators_missing",
    "Validators of the newest committed block whose vote is not in its commit.",
)
CONTRACT_WAIT = Gauge(
    "cipherward_ledger_contract_wait_seconds",
    "How long the chain has been waiting for contract; 0: it works.",
)
# From the few milliseconds between a block and its proof to three missed heartbeats of 10 s.
BLOCK_INTERVAL = Histogram(
    "cipherward_ledger_block_interval_seconds",
    "From one block's time to the next one's.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 11, 30),
)
APPLY = Histogram(
    "cipherward_ledger_apply_seconds",
    "Executing and committing one block on contract, waits included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
ADMISSIONS = Counter(
    "cipherward_ledger_admissions",
    "Verdicts on submitted transactions; the reason is empty if admitted.",
    ["reason"],
)
VERIFICATIONS = Counter(
    "cipherward_ledger_verifications",
    "Transactions held to the stateless checks: checked now, or remembered as valid.",
    ["outcome"],
)
COMMITTED = Counter("cipherward_ledger_committed_transactions", "Transactions put in blocks.")
DROPPED = Counter(
    "cipherward_ledger_dropped_transactions",
    "Admitted transactions that left the outbox without a block, by reason.",
    ["reason"],
)
CORRUPT = Counter(
    "cipherward_ledger_corrupt_reads", "Stored rows that did not read back as stored."
)
STREAMS = Gauge("cipherward_ledger_block_streams", "Open streams of blocks.")


def show_tip(height: int, time_ns: int, commit: bytes) -> None:
    """Show the newest committed block.

    Args:
        commit: its own, serialised; it has an entry for every validator.
    """
    HEIGHT.set(height)
    BLOCK_TIME.set(time_ns / NANOS)
    votes = [one.block_id_flag for one in comet.Commit.FromString(commit).signatures]
    VALIDATORS.set(len(votes))
    VALIDATORS_MISSING.set(len(votes) - votes.count(comet.BLOCK_ID_FLAG_COMMIT))
