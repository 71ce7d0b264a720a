"""What the ledger's topic is made with."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cipherward_member.config import KafkaConfig


class PublishingConfig(KafkaConfig):
    """Settings of the ledger's publisher, besides how Kafka is reached; a topic that is there stays
    as it is.
    """

    kafka_compression: Literal["none", "gzip"] = Field(
        # The broker compresses, so the ledger's loop never does. With `none` it unpacks what others
        # may have packed; with `gzip` whoever may write can send what unpacks to gigabytes.
        default="none",
        description="How the broker stores blocks. Signatures hardly shrink; `gzip` saves a third.",
    )
    kafka_copies: int = Field(
        default=0,
        ge=0,
        le=9,
        description="Brokers that keep the topic; 0: three, or all if there are fewer.",
    )
    kafka_copies_acknowledged: int = Field(
        default=0,
        ge=0,
        le=9,
        description="Copies that a block is written to before it counts; 0: all but one.",
    )
    kafka_retention_hours: int = Field(
        # A service that was away for a week catches up from the topic; older blocks it gets from
        # the ledger. Blocks are pseudonymous personal data: they are not kept for longer than that.
        default=168,
        ge=1,
        le=24 * 366 * 10,
        description="How long blocks stay in the topic, counted by block time.",
    )
