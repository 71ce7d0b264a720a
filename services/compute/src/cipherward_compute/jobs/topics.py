"""The topics of a member's jobs: their names, and what they are made with."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cipherward_member.kafka_creation import TopicWanted

# As many replicas can share the queue at most: further ones would have no partition to read.
PARTITIONS: Final = 16
# A job is late after minutes; what lies in a topic after an hour is nobody's.
RETENTION_MS: Final = 3_600_000
# A job that is lost is sent again, so how many copies acknowledge it is left to the brokers.
SETTINGS: Final = MappingProxyType({"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS)})


@dataclass(frozen=True, slots=True)
class Topics:
    """The queue of one member's jobs on one chain.

    jobs: read by the group of its workers. replies: one partition, read by the owner.
    """

    jobs: str
    replies: str
    group: str

    @classmethod
    def of(cls, chain_id: str, member: str) -> Topics:
        """Return the names for a member."""
        jobs = f"cipherward.{chain_id}.{member}.jobs"
        return cls(jobs, f"{jobs}.replies", f"{jobs}.workers")

    @property
    def wanted(self) -> tuple[TopicWanted, ...]:
        """The topics as they are made."""
        return (
            TopicWanted(self.jobs, PARTITIONS, SETTINGS),
            TopicWanted(self.replies, 1, SETTINGS),
        )
