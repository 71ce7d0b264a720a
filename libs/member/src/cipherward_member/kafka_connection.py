"""How the brokers are reached: TLS and who we are, from settings and the files that they name."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cipherward_kit.client_pair import ClientPair, PairUnusable
from cipherward_kit.config import env_name
from cipherward_kit.errors import CannotStart
from cipherward_member.config import BrokersConfig

OTHERS: Final = 0o077  # permission bits of group and others
PASSWORD_BYTES_MAX: Final = 4096  # a path given by mistake may be of anything
PROTOCOLS: Final = {"plaintext": "PLAINTEXT", "ssl": "SSL", "sasl_ssl": "SASL_SSL"}

# An answer that takes longer will not come: the brokers are near. Two of these, to connect and to
# ask, pass within the silence that rights survive.
REQUEST_SECONDS: Final = 5.0
# What one client waits between two attempts at a broker that is away.
RETRY_SECONDS: Final = 0.5


class KafkaUnusable(CannotStart):
    """A certificate, key or password for the brokers is missing, malformed or open to others."""

    exit_status = 18


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """What a client of Kafka needs to be let in; the password shows in no text of it."""

    bootstrap: tuple[str, ...]
    security: str
    context: ssl.SSLContext | None = field(default=None, repr=False)
    pair: ClientPair | None = field(default=None, repr=False)
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def read(cls, config: BrokersConfig) -> KafkaConnection:
        """Return what the settings say; reads the files that they name.

        Raises:
            KafkaUnusable: a file cannot be read or used.
        """
        bootstrap = tuple((config.kafka_bootstrap or "").split(","))
        if config.kafka_security == "plaintext":
            return cls(bootstrap, "plaintext")
        context = _context(config)
        pair = _pair(config, context)
        if config.kafka_security == "ssl":
            return cls(bootstrap, "ssl", context, pair)
        path = config.kafka_password_file
        return cls(
            bootstrap,
            "sasl_ssl",
            context,
            pair,
            config.kafka_sasl_mechanism,
            config.kafka_username or "",
            _password(path) if path is not None else "",
        )

    @asynccontextmanager
    async def followed(self) -> AsyncGenerator[None]:
        """Follow the files of our certificate, if we have one, while the context is open: from
        before a client connects, since the last one may have been refused, until it has ended.
        """
        if self.pair is None:
            yield
            return
        async with self.pair.followed():
            yield

    def arguments(self) -> dict[str, Any]:
        """Return what every aiokafka client takes."""
        found: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap),
            "security_protocol": PROTOCOLS[self.security],
            "ssl_context": self.context,
            "request_timeout_ms": int(REQUEST_SECONDS * 1000),
            "retry_backoff_ms": int(RETRY_SECONDS * 1000),
        }
        if self.security == "sasl_ssl":
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return found


def _context(config: BrokersConfig) -> ssl.SSLContext:
    """Return TLS that checks the broker's name."""
    try:
        # The default for clients: TLS 1.2 at least, a certificate, and the name that was dialled.
        context = ssl.create_default_context(cafile=config.kafka_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise KafkaUnusable(
            f"{env_name('kafka_ca_file')}: {config.kafka_ca_file} cannot be used: {_why(error)}"
        ) from None
    return context


def _pair(config: BrokersConfig, context: ssl.SSLContext) -> ClientPair | None:
    """Return our certificate, shown by the context; None if there is none."""
    if config.kafka_certificate is None:
        return None
    pair = ClientPair(context, config.kafka_certificate, config.kafka_private_key)
    try:
        pair.load()
    except (OSError, PairUnusable) as error:
        why = str(error) if isinstance(error, PairUnusable) else _why(error)
        raise KafkaUnusable(
            f"{env_name('kafka_certificate')} or {env_name('kafka_private_key')} cannot be "
            f"used: {why}"
        ) from None
    return pair


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _password(path: Path) -> str:
    setting = env_name("kafka_password_file")
    try:
        open_to_others = path.stat().st_mode & OTHERS
        with path.open("rb") as file:
            text = file.read(PASSWORD_BYTES_MAX + 1).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise KafkaUnusable(f"{setting}: {path} cannot be read as text") from None
    if open_to_others:
        raise KafkaUnusable(f"{setting}: {path} is open to others; chmod 600 it")
    if not 0 < len(text) <= PASSWORD_BYTES_MAX or "\n" in text:
        raise KafkaUnusable(f"{setting}: {path} does not hold one line")
    return text
