"""A real broker for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.need import need


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    need("kafka")
    with running_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server
