"""What an alliance on this machine is put together from: its engine, its feed and its store.

The first start decides; a file in the folder remembers it, because a chain keeps its engine and
records stay where they were put. Where a broker or a database listens may change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_kit.datafolder import write_atomically

SOLO, COMETBFT = "solo", "cometbft"
GRPC, KAFKA = "grpc", "kafka"
EMBEDDED, MONGO = "embedded", "mongo"
ENGINES, FEEDS, STORES = (SOLO, COMETBFT), (GRPC, KAFKA), (EMBEDDED, MONGO)


class PartsDiffer(ValueError):
    """The folder's alliance is put together from other parts than were asked for."""

    reason = "PARTS_DIFFER"


class PartsMalformed(ValueError):
    """The file that remembers the parts is damaged."""

    reason = "PARTS_MALFORMED"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an alliance.

    `kafka` is host:port of a broker, `mongo` a connection string (which may hold a password),
    `cometbft` the path of the node's program; each is "" where the part is not used.
    """

    engine: str = SOLO
    feed: str = GRPC
    store: str = EMBEDDED
    kafka: str = ""
    mongo: str = field(default="", repr=False)
    cometbft: str = ""

    @property
    def kinds(self) -> tuple[str, str, str]:
        """Engine, feed and store: what never changes in a folder."""
        return self.engine, self.feed, self.store


ALL_EMBEDDED = Parts()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a folder says: its parts, but for passwords, and the members whose processes run here.

    `kafka` is where the broker was at the last start.
    """

    engine: str
    feed: str
    store: str
    kafka: str
    members: tuple[str, ...]

    @classmethod
    def read(cls, folder: AllianceFolder) -> Remembered | None:
        """Return what the folder says; None when it says nothing.

        Raises:
            PartsMalformed: the file is damaged.
        """
        try:
            raw = folder.parts_file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            fields = JsonFields.parse(raw, "parts")
            found = cls(
                fields.text("engine"),
                fields.text("feed"),
                fields.text("store"),
                fields.text("kafka"),
                fields.texts("members"),
            )
            fields.end()
        except JsonMalformed as error:
            raise PartsMalformed(f"{folder.parts_file}: {error}") from error
        known = found.engine in ENGINES and found.feed in FEEDS and found.store in STORES
        if not known or not found.members:
            raise PartsMalformed(f"{folder.parts_file} names unknown parts or no member")
        return found

    def require(self, parts: Parts) -> None:
        """Raise `PartsDiffer` unless these are the folder's parts."""
        if (self.engine, self.feed, self.store) != parts.kinds:
            own = ", ".join((self.engine, self.feed, self.store))
            raise PartsDiffer(f"it runs on {own}, not on {', '.join(parts.kinds)}")


def remember(folder: AllianceFolder, parts: Parts, members: Sequence[str]) -> None:
    """Write what `Remembered.read` reads."""
    document = {
        "engine": parts.engine,
        "feed": parts.feed,
        "store": parts.store,
        "kafka": parts.kafka,
        "members": list(members),
    }
    write_atomically(folder.parts_file, json.dumps(document, indent=1).encode() + b"\n")
