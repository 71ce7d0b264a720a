"""The options that choose an alliance's parts, worded once, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from cipherward_client.alliance.create import COUNT_MAX, DEFAULT_COUNT
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import (
    COMETBFT,
    EMBEDDED,
    GRPC,
    KAFKA,
    MONGO,
    SOLO,
    Parts,
    PartsDiffer,
    Remembered,
)
from cipherward_client.alliance.requirements import find_cometbft, require
from cipherward_client.alliance.running import read_store_address

# Where `make servers` listens.
KAFKA_HERE = "127.0.0.1:19092"
MONGO_HERE = "mongodb://127.0.0.1:27317"

Engine = Annotated[
    Literal["solo", "cometbft"] | None,
    typer.Option("--engine", help="One ledger for all (solo), or a consensus node a member."),
]
Feed = Annotated[
    Literal["grpc", "kafka"] | None,
    typer.Option("--feed", help="How blocks reach the services: from the ledger, or by Kafka."),
]
Store = Annotated[
    Literal["embedded", "mongo"] | None,
    typer.Option("--store", help="Where records are kept: in files, or in MongoDB."),
]
Members = Annotated[
    int | None, typer.Option("--members", min=1, max=COUNT_MAX, help="Hospitals of a new alliance.")
]
KafkaAddress = Annotated[
    str | None,
    typer.Option("--kafka", metavar="HOST:PORT", help=f"The Kafka broker; {KAFKA_HERE}."),
]
MongoAddress = Annotated[
    str | None, typer.Option("--mongo", metavar="URI", help=f"The MongoDB server; {MONGO_HERE}.")
]
CometbftBinary = Annotated[
    Path | None,
    typer.Option(
        "--cometbft",
        metavar="PATH",
        envvar="CIPHERWARD_COMETBFT",
        help="The node's program; found in a checkout or on PATH if not given.",
    ),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say; None or "" where nothing was said."""

    engine: str | None = None
    feed: str | None = None
    store: str | None = None
    kafka: str | None = None
    mongo: str | None = None
    cometbft: Path | None = None


def chosen_parts(folder: AllianceFolder, asked: Asked) -> tuple[Parts, tuple[str, ...]]:
    """Return the parts to start with, each there, and the members that a folder remembers.

    What is not asked for is as the folder remembers it, and embedded in a new one.

    Raises:
        PartsDiffer, PartsMalformed: see `Remembered`.
        CometbftMissing, KafkaUnreachable, MongoUnreachable: see `require`.
    """
    known = Remembered.read(folder) or Remembered(SOLO, GRPC, EMBEDDED, "", ())
    engine, feed = asked.engine or known.engine, asked.feed or known.feed
    store = asked.store or known.store
    remembered_store = read_store_address(folder, known.members)
    parts = Parts(
        engine=engine,
        feed=feed,
        store=store,
        kafka=(asked.kafka or known.kafka or KAFKA_HERE) if feed == KAFKA else "",
        mongo=(asked.mongo or remembered_store or MONGO_HERE) if store == MONGO else "",
        cometbft=find_cometbft(asked.cometbft) if engine == COMETBFT else "",
    )
    if known.members:
        known.require(parts)
    require(parts)
    return parts, known.members


def count_of(members: int | None, known: tuple[str, ...]) -> int:
    """Return how many members run.

    Raises:
        PartsDiffer: the folder has another number than was asked for.
    """
    if known and members not in (None, len(known)):
        raise PartsDiffer(f"it has {len(known)} members, not {members}")
    return len(known) or members or DEFAULT_COUNT
