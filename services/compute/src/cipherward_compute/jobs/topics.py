"""The topics of a member's jobs: their names, and how they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_reader import KafkaAway, within

# As many replicas can share the queue at most: further ones would have no partition to read.
PARTITIONS: Final = 16
COPIES_WANTED: Final = 3  # a job that is lost is sent again: only waiting is saved
# A job is late after minutes; what lies in a topic after an hour is nobody's.
RETENTION_MS: Final = 3_600_000
CREATED: Final = 0  # Kafka's code of success


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


class _TopicsMade(Protocol):
    topic_errors: Sequence[Sequence[Any]]  # name, code and text


class _Admin(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def list_topics(self) -> list[str]: ...
    async def describe_cluster(self) -> Mapping[str, Any]: ...
    async def create_topics(self, new_topics: Sequence[NewTopic]) -> _TopicsMade: ...


async def ensure_topics(connection: KafkaConnection, topics: Topics) -> None:
    """Make the topics that are not there; topics that operators have made stay as they are.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse to make them.
    """
    admin = cast("_Admin", AIOKafkaAdminClient(**connection.arguments()))
    try:
        await within(2 * REQUEST_SECONDS, admin.start())
        there = await within(REQUEST_SECONDS, admin.list_topics())
        wanted = {topics.jobs: PARTITIONS, topics.replies: 1}
        missing = {name: count for name, count in wanted.items() if name not in there}
        if not missing:
            return
        cluster = await within(REQUEST_SECONDS, admin.describe_cluster())
        copies = min(COPIES_WANTED, len(cluster["brokers"]))
        made = await within(
            REQUEST_SECONDS,
            admin.create_topics([_topic(name, n, copies) for name, n in missing.items()]),
        )
        for _, code, *_ in made.topic_errors:
            if code not in (CREATED, TopicAlreadyExistsError.errno):
                raise KafkaAway(f"a topic cannot be made: {for_code(code).__name__}")
    finally:
        await admin.close()


def _topic(name: str, partitions: int, copies: int) -> NewTopic:
    settings = {"cleanup.policy": "delete", "retention.ms": str(RETENTION_MS)}
    return NewTopic(
        name, num_partitions=partitions, replication_factor=copies, topic_configs=settings
    )
