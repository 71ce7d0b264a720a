"""What the canaries count. Labels are of the closed lists in `spots`: none names anybody."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

ASKED = Counter(
    "cipherward_canary_asked",
    "Questions that must be refused, by what came of them.",
    ["path", "case", "outcome"],
)
BREACHES = Counter(
    "cipherward_canary_breaches",
    "Questions that were answered although they must be refused.",
    ["path", "case"],
)
LEAKING = Gauge(
    "cipherward_canary_leaking",
    "Spots that leaked and were not refused since; the process is not ready above 0.",
)
LAST_ROUND = Gauge(
    "cipherward_canary_last_round_timestamp_seconds",
    "Unix time at which a round ended, by its kind: reads (every minute) or acts (every hour).",
    ["kind"],
)
