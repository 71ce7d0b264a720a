"""What operators see of the compute service besides the boundary's figures."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

HEIGHT = Gauge("cipherward_compute_height", "Newest block whose orders are taken.")
PROVEN_TIME = Gauge(
    "cipherward_compute_proven_time_seconds",
    "Unix time of the newest proven header; 0 before the first.",
)
ORDERS_WAITING = Gauge("cipherward_compute_orders_waiting", "Orders taken and not carried out.")
REPORTS_PENDING = Gauge("cipherward_compute_reports_pending", "Reports that no block holds yet.")
USES_UNORDERED = Gauge(
    "cipherward_compute_uses_unordered", "Uses of risk scores that no block has ordered yet."
)
STEP_SECONDS = Histogram(
    "cipherward_compute_step_seconds",
    "Wall time of one step of a study, waiting for peers included.",
    ["step", "outcome"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
