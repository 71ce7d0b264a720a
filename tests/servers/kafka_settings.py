"""The settings of the tests' Kafka broker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cipherward_client.alliance.ports import free_ports
from tests.servers.tls import ServerTls

HOST: Final = "127.0.0.1"
# A topic's message is at most 8 MiB (a proven block); room for its envelope, and for tests that
# offer a block too large and want the reader, not the broker, to refuse it.
MESSAGE_BYTES_MAX: Final = 9 * 1024 * 1024

SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # One node: every internal topic has one replica.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "num.partitions": "1",
    "message.max.bytes": str(MESSAGE_BYTES_MAX),
    "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
    # A topic is made by whoever owns it, with its own retention.
    "auto.create.topics.enable": "false",
    # The first consumer need not wait for others.
    "group.initial.rebalance.delay.ms": "0",
    "log.segment.bytes": str(64 * 1024 * 1024),
    # The default, 128 MiB, is a quarter of this JVM's memory.
    "log.cleaner.dedupe.buffer.size": str(4 * 1024 * 1024),
    # How long a killed broker keeps its successor waiting; the default is 9 s, heartbeat 2 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


def protocol_of(tls: ServerTls | None, users: Mapping[str, str]) -> str:
    """Return Kafka's name of what clients speak."""
    if tls is None:
        return "PLAINTEXT"
    return "SASL_SSL" if users else "SSL"


def broker_settings(data: Path, port: int, tls: ServerTls | None, users: Mapping[str, str]) -> str:
    """Return the text of its server.properties; the controller takes any free port."""
    protocol, controller = protocol_of(tls, users), free_ports(1)[0]
    settings = {
        **SETTINGS,
        "listeners": f"{protocol}://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        # The quorum by setting, not by a record: the controller's port may differ next time.
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": f"{protocol}:{protocol},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": protocol,
        "log.dirs": str(data),
    }
    if tls is not None:
        settings |= _tls_settings(tls, "none" if users else "required")
    if users:
        settings |= _user_settings(users)
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _tls_settings(tls: ServerTls, client_certificates: str) -> dict[str, str]:
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(tls.server_chain_file),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tls.ca_file),
        "ssl.client.auth": client_certificates,
    }


def _user_settings(users: Mapping[str, str]) -> dict[str, str]:
    first, password = next(iter(users.items()))
    accounts = " ".join(f'user_{name}="{secret}"' for name, secret in users.items())
    own = f'username="{first}" password="{password}"'  # the broker's, towards itself
    security = "org.apache.kafka.common.security"
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            f"{security}.scram.ScramLoginModule required {own};"
        ),
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f"{security}.plain.PlainLoginModule required {own} {accounts};"
        ),
    }
