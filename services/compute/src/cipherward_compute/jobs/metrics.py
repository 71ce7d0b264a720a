"""What operators see of the jobs, the owner's and the worker replicas'."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# outcome: done, crashed, poisoned, worker_lost, workers_away, workers_busy, cancelled.
JOBS = Counter(
    "cipherward_compute_jobs", "Jobs that ended, by kind and outcome.", ["kind", "outcome"]
)
WAITING = Gauge("cipherward_compute_jobs_waiting", "Jobs in the queue that no worker has taken.")
TAKEN = Gauge("cipherward_compute_jobs_taken", "Jobs that a worker has taken and not ended.")
REDELIVERED = Counter("cipherward_compute_jobs_redelivered", "Jobs sent again: a worker was lost.")
REFUSED = Counter(
    "cipherward_compute_job_messages_refused",
    "Messages in the queue that are not ours, damaged, repeated or late.",
    ["reason"],
)
ON_QUEUE = Gauge("cipherward_compute_queue_connected", "1 while the brokers of the queue answer.")
JOB_SECONDS = Histogram(
    "cipherward_compute_job_seconds",
    "Wall time of a job that was done: for its owner with the way and the wait.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
