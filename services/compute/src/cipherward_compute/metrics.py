"""What operators see of the compute service besides the boundary's figures."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

STUDIES = Gauge(
    "cipherward_compute_studies",
    "Studies, data keys and scores that this member has followed, by the state they are in.",
    ["state"],
)
ORDERS_WAITING = Gauge("cipherward_compute_orders_waiting", "Orders taken and not carried out.")
USES_UNORDERED = Gauge(
    "cipherward_compute_uses_unordered", "Uses of risk scores that no block has ordered yet."
)
STEPS_RUNNING = Gauge(
    "cipherward_compute_steps_running", "Steps that are being carried out.", ["step"]
)
STEP_BEGUN = Gauge(
    "cipherward_compute_step_begun_timestamp_seconds",
    "Unix time since when the oldest running step of the kind runs; 0: none does.",
    ["step"],
)
STEP_SECONDS = Histogram(
    "cipherward_compute_step_seconds",
    "Wall time of one step of a study, waiting for peers included.",
    ["step", "outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
SHARES = Counter(
    "cipherward_compute_shares",
    "Shares of decryptions that orders asked this member for, of counts or of a result: made, or "
    "repeated from its log.",
    ["kind", "outcome"],
)
SCRUBBED = Counter(
    "cipherward_compute_scrub_pieces",
    "Sealed pieces that were opened again, as they were put there or not: intact or corrupt.",
    ["kind", "outcome"],
)
SCRUB_COMPLETED = Gauge(
    "cipherward_compute_scrub_completed_timestamp_seconds",
    "Unix time at which the last scrub of all sealed pieces was finished; 0: none was.",
)
SCRUB_CORRUPT = Gauge(
    "cipherward_compute_scrub_corrupt",
    "Sealed pieces that did not open in the last finished scrub.",
    ["kind"],
)
