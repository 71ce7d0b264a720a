"""Making topics that are not there; those that operators have made stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from cipherward_member.kafka_connection import REQUEST_SECONDS, KafkaConnection
from cipherward_member.kafka_reader import KafkaAway, within

COPIES_WANTED: Final = 3  # one may be lost, and one be restarted, without losing a message
CREATED: Final = 0  # Kafka's code of success


@dataclass(frozen=True, slots=True)
class TopicWanted:
    """A topic as it is made.

    Attributes:
        copies: brokers that keep it; 0: COPIES_WANTED, or all if there are fewer.
        acknowledged: copies that a message is written to before it counts; 0: all but one; None:
            what the brokers are set to.
        settings: of the topic, by Kafka's names.
    """

    name: str
    partitions: int
    settings: Mapping[str, str]
    copies: int = 0
    acknowledged: int | None = None

    def made_on(self, brokers: int) -> NewTopic:
        """Return what the library makes it of, on so many brokers."""
        copies = self.copies or min(COPIES_WANTED, brokers)
        settings = dict(self.settings)
        if self.acknowledged is not None:
            settings["min.insync.replicas"] = str(self.acknowledged or max(1, copies - 1))
        return NewTopic(
            self.name,
            num_partitions=self.partitions,
            replication_factor=copies,
            topic_configs=settings,
        )


class _TopicsMade(Protocol):
    topic_errors: Sequence[Sequence[Any]]  # name, code and text


class _Admin(Protocol):
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def list_topics(self) -> list[str]: ...
    async def describe_cluster(self) -> Mapping[str, Any]: ...
    async def create_topics(self, new_topics: Sequence[NewTopic]) -> _TopicsMade: ...


async def ensure_topics(connection: KafkaConnection, wanted: Sequence[TopicWanted]) -> None:
    """Make the topics that are not there.

    Raises:
        KafkaAway: the brokers cannot be reached, or refuse to make them.
    """
    admin = cast("_Admin", AIOKafkaAdminClient(**connection.arguments()))
    async with connection.followed():
        try:
            await within(2 * REQUEST_SECONDS, admin.start())
            there = await within(REQUEST_SECONDS, admin.list_topics())
            missing = [topic for topic in wanted if topic.name not in there]
            if not missing:
                return
            cluster = await within(REQUEST_SECONDS, admin.describe_cluster())
            brokers = len(cluster["brokers"])
            made = await within(
                REQUEST_SECONDS, admin.create_topics([topic.made_on(brokers) for topic in missing])
            )
            for _, code, *_ in made.topic_errors:
                if code not in (CREATED, TopicAlreadyExistsError.errno):
                    raise KafkaAway(f"a topic cannot be made: {for_code(code).__name__}")
        finally:
            await admin.close()
