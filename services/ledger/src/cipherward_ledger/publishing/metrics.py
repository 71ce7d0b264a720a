"""What Prometheus sees of the ledger's topic."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FEED_HEIGHT = Gauge(
    "cipherward_ledger_feed_height", "Height of the newest block in the topic, as we know it."
)
FEED_LAG = Gauge(
    "cipherward_ledger_feed_lag_blocks", "Proven blocks that are not in the topic yet."
)
FEED_CONNECTED = Gauge("cipherward_ledger_feed_connected", "1 while the brokers take our blocks.")
FEED_FAILURES = Counter(
    "cipherward_ledger_feed_failures",
    "Times publishing broke off and began again, by reason.",
    ["reason"],
)
FEED_FOREIGN = Counter(
    "cipherward_ledger_feed_foreign_messages",
    "Messages at the topic's end, seen when publishing began, that are not blocks of this ledger.",
)
FEED_REFUSED = Counter(
    "cipherward_ledger_feed_refused_blocks",
    "Blocks that no message holds; followers ask the ledger for them.",
)
