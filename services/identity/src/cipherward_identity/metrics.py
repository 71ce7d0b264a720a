"""What operators see of the identity service; no label names a holder or a warrant."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

PRESENTATIONS = Counter(
    "cipherward_identity_presentations",
    "Presentations verified, by the verdict: valid or invalid.",
    ["outcome"],
)
# Up to the 256 presentations of one call.
BATCH_SIZE = Histogram(
    "cipherward_identity_batch_size",
    "Presentations of one call that were verified together.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
# From one presentation (some milliseconds) to the ledger's patience with a full batch.
VERIFY_SECONDS = Histogram(
    "cipherward_identity_verify_seconds",
    "Verifying one batch, the wait for a worker included.",
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
OPENING_SHARES = Counter(
    "cipherward_identity_opening_shares",
    "Warrants that named this member a guardian, by what came of them (made, refused).",
    ["outcome"],
)
