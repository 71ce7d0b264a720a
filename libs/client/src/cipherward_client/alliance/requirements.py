"""What the parts of an alliance need of this machine, looked for before any process starts."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

from cipherward_client.alliance.parts import COMETBFT, KAFKA, MONGO, Parts

CONNECT_SECONDS = 3.0  # a server on this machine or beside it answers in milliseconds
MONGO_PORT = 27017  # of a connection string that names none
# Where `make servers` puts the node's program in a checkout; elsewhere the path does not exist.
CHECKOUT_BINARY = Path(__file__).resolve().parents[5] / ".servers" / "bin" / "cometbft"


class CometbftMissing(ValueError):
    """The program of the consensus node is not there, or is no program."""

    reason = "COMETBFT_MISSING"


class KafkaUnreachable(ValueError):
    """Nobody listens where the Kafka broker should."""

    reason = "KAFKA_UNREACHABLE"


class MongoUnreachable(ValueError):
    """Nobody listens where the MongoDB server should, or the connection string is none."""

    reason = "MONGO_UNREACHABLE"


def find_cometbft(given: Path | None) -> str:
    """Return the path of the node's program: the one given, the checkout's, or that on PATH.

    Raises:
        CometbftMissing: there is none.
    """
    if given is not None:
        if not (given.is_file() and os.access(given, os.X_OK)):
            raise CometbftMissing(f"{given} is no program")
        return str(given.resolve())
    if CHECKOUT_BINARY.is_file():
        return str(CHECKOUT_BINARY)
    found = shutil.which("cometbft")
    if found is None:
        raise CometbftMissing("no cometbft on PATH")
    return found


def require(parts: Parts) -> None:
    """Check that what the parts need is there; blocks for some seconds at most.

    Raises:
        CometbftMissing, KafkaUnreachable, MongoUnreachable: the first that is not.
    """
    if parts.engine == COMETBFT:
        find_cometbft(Path(parts.cometbft))
    if parts.feed == KAFKA and not any(map(_listens, parts.kafka.split(","))):
        raise KafkaUnreachable(f"nobody listens at {parts.kafka}")
    if parts.store == MONGO:
        hosts = _mongo_hosts(parts.mongo)
        if hosts and not any(map(_listens, hosts)):
            raise MongoUnreachable(f"nobody listens at {', '.join(hosts)}")


def _listens(address: str) -> bool:
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _mongo_hosts(uri: str) -> list[str]:
    """Return host:port of every server in a connection string; none where DNS lists them."""
    scheme, _, rest = uri.partition("://")
    if scheme not in ("mongodb", "mongodb+srv") or not rest:
        raise MongoUnreachable("a connection string begins with mongodb://")
    if scheme == "mongodb+srv":
        return []
    servers = rest.split("/", 1)[0].rpartition("@")[2].split(",")
    return [_with_port(server) for server in servers]


def _with_port(server: str) -> str:
    try:
        found = urlsplit(f"//{server}")
        return f"{found.hostname}:{found.port or MONGO_PORT}"
    except ValueError:
        raise MongoUnreachable("the connection string names no host") from None
