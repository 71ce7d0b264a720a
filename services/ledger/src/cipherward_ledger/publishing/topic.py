"""What the ledger's topic is made with, and in which requests it is written."""

from __future__ import annotations

from typing import Final

from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_member.kafka_creation import TopicWanted
from cipherward_member.kafka_producer import Requests
from cipherward_member.kafka_topic import BATCH_BYTES_MAX

HOUR_MS: Final = 3_600_000
# What one request to the broker holds when many blocks are ready: some hundred small ones.
REQUESTS: Final = Requests(batch_bytes=1024 * 1024, largest_bytes=BATCH_BYTES_MAX)


def topic_wanted(topic: str, config: PublishingConfig) -> TopicWanted:
    """Return the topic, of one partition, as the settings say."""
    settings = {
        "cleanup.policy": "delete",
        "compression.type": "gzip" if config.kafka_compression == "gzip" else "uncompressed",
        "max.message.bytes": str(BATCH_BYTES_MAX),
        "retention.bytes": "-1",
        "retention.ms": str(config.kafka_retention_hours * HOUR_MS),
    }
    return TopicWanted(topic, 1, settings, config.kafka_copies, config.kafka_copies_acknowledged)
