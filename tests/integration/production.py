"""The production parts on this machine: a consensus node a member, one Kafka, one MongoDB."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from cipherward_client.alliance.parts import COMETBFT, KAFKA, MONGO, Parts
from tests.servers.cometbft import cometbft_binary
from tests.servers.kafka import running_kafka
from tests.servers.mongo import running_mongo
from tests.servers.need import need


@contextmanager
def production_parts(folder: Path) -> Generator[Parts]:
    """Run the servers while the context is open; each member has its own topic and database.

    Skips, or fails where servers are required, when one of them cannot run here.
    """
    for name in ("cometbft", "kafka", "mongo"):
        need(name)
    with running_kafka(folder / "kafka") as kafka, running_mongo(folder / "mongo") as mongo:
        yield Parts(
            engine=COMETBFT,
            feed=KAFKA,
            store=MONGO,
            kafka=kafka.bootstrap,
            mongo=mongo.uri,
            cometbft=str(cometbft_binary()),
        )


def options(parts: Parts) -> list[str]:
    """Return the command line's options for these parts."""
    chosen = {
        "--engine": parts.engine,
        "--feed": parts.feed,
        "--store": parts.store,
        "--kafka": parts.kafka,
        "--mongo": parts.mongo,
        "--cometbft": parts.cometbft,
    }
    return [word for name, value in chosen.items() if value for word in (name, value)]
