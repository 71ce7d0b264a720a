"""How a service gets in at the brokers: settings that fit, usable files, TLS that checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import ValidationError

from cipherward_kit.testing import TestAlliance
from cipherward_member.config import KafkaConfig
from cipherward_member.kafka_connection import KafkaConnection, KafkaUnusable
from cipherward_member.kafka_reader import KafkaAway, open_reader
from cipherward_member.kafka_topic import key_of
from tests.servers.blocks_topic import make_topic
from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.need import need
from tests.servers.tls import ServerTls

MakeConfig: TypeAlias = Callable[..., KafkaConfig]
Given: TypeAlias = dict[str, Any]


@pytest.fixture
def config(tmp_path: Path) -> MakeConfig:
    """Return a maker of settings for Kafka over those that every server needs."""
    settings = TestAlliance(tmp_path, ["hospital-a"]).settings("hospital-a", "identity")

    def make(**given: Any) -> KafkaConfig:
        merged: Given = {**settings, "feed": "kafka", "kafka_bootstrap": "a:1,b:2", **given}
        return KafkaConfig(**merged)

    return make


def test_plaintext_needs_addresses_only(config: MakeConfig) -> None:
    connection = KafkaConnection.read(config())
    assert connection == KafkaConnection(("a:1", "b:2"), "plaintext")
    assert connection.arguments()["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("text", ["", "a", "a:b", "a:99999", "a:1,", "a:1;b:2", "a:1, b:2"])
def test_addresses_out_of_form_are_refused(config: MakeConfig, text: str) -> None:
    with pytest.raises(ValidationError, match="kafka_bootstrap"):
        config(kafka_bootstrap=text)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"kafka_bootstrap": None}, "needs kafka_bootstrap"),
        ({"kafka_security": "ssl", "kafka_certificate": "c"}, "go together"),
        ({"kafka_security": "ssl", "kafka_private_key": "k"}, "go together"),
        ({"kafka_ca_file": "ca"}, "kafka_security is plaintext"),
        ({"kafka_security": "sasl_ssl", "kafka_username": "u"}, "needs kafka_username and"),
        ({"kafka_security": "ssl", "kafka_username": "u"}, "is not sasl_ssl"),
        ({"kafka_password_file": "p"}, "is not sasl_ssl"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    config: MakeConfig, given: Given, why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        config(**given)
    assert config(**{**given, "feed": "grpc"}).feed == "grpc"  # then nobody looks at them


def test_production_refuses_the_embedded_feed_and_plaintext(config: MakeConfig) -> None:
    with pytest.raises(ValidationError, match="feed: grpc is the embedded feed"):
        config(profile="production", feed="grpc")
    with pytest.raises(ValidationError, match="kafka_security: plaintext"):
        config(profile="production")
    with pytest.raises(ValidationError) as refused:
        config(profile="production", kafka_security="ssl")
    others = [line["msg"] for line in refused.value.errors()]  # of the certificate, for one
    assert others
    assert not any("kafka" in line or "feed" in line for line in others)


def secret(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    path = folder / "password"
    path.write_bytes(content)
    path.chmod(mode)
    return path


SASL: Given = {"kafka_security": "sasl_ssl", "kafka_username": "storage"}


def test_a_password_is_read_from_its_file_and_shown_nowhere(
    config: MakeConfig, tmp_path: Path
) -> None:
    path = secret(tmp_path, b"correct horse\n")
    connection = KafkaConnection.read(config(**SASL, kafka_password_file=path))
    assert connection.arguments()["sasl_plain_password"] == "correct horse"
    assert "horse" not in repr(connection)


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"known to all", 0o644, "open to others"),
        (b"", 0o600, "does not hold one line"),
        (b"two\nlines", 0o600, "does not hold one line"),
        (b"\xff\xfe", 0o600, "cannot be read as text"),
        (bytes(100_000), 0o600, "does not hold one line"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_refused(
    config: MakeConfig, tmp_path: Path, content: bytes, mode: int, why: str
) -> None:
    path = secret(tmp_path, content, mode)
    with pytest.raises(KafkaUnusable, match=why) as refused:
        KafkaConnection.read(config(**SASL, kafka_password_file=path))
    assert "CIPHERWARD_KAFKA_PASSWORD_FILE" in str(refused.value)


def test_files_that_are_no_certificates_are_refused(config: MakeConfig, tmp_path: Path) -> None:
    made = ServerTls.make(tmp_path / "tls")
    junk, missing = secret(tmp_path, b"junk"), tmp_path / "missing"
    cases: list[tuple[Given, str]] = [
        ({"kafka_ca_file": junk}, "KAFKA_CA_FILE"),
        ({"kafka_ca_file": missing}, "KAFKA_CA_FILE"),
        (
            {"kafka_certificate": junk, "kafka_private_key": made.client_private_key_file},
            "KAFKA_CERTIFICATE",
        ),
        (
            {
                "kafka_certificate": made.client_certificate_file,
                "kafka_private_key": made.server_private_key_file,
            },
            "KAFKA_PRIVATE_KEY",
        ),
    ]
    for given, setting in cases:
        with pytest.raises(KafkaUnusable, match=setting):
            KafkaConnection.read(config(kafka_security="ssl", **given))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    return ServerTls.make(tmp_path_factory.mktemp("kafka-certificates"))


@pytest.fixture(scope="module")
def guarded(tls: ServerTls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that lets in only whoever shows a certificate."""
    need("kafka")
    with running_kafka(tmp_path_factory.mktemp("kafka-tls"), tls=tls) as server:
        yield server


@pytest.mark.servers
@pytest.mark.slow
async def test_with_certificates_on_both_sides_blocks_go_through(
    config: MakeConfig, guarded: KafkaServer, tls: ServerTls
) -> None:
    given: Given = {
        "kafka_security": "ssl",
        "kafka_bootstrap": guarded.bootstrap,
        "kafka_ca_file": tls.ca_file,
        "kafka_certificate": tls.client_certificate_file,
        "kafka_private_key": tls.client_private_key_file,
    }
    topic = await make_topic(KafkaConnection.read(config(**given)))
    await topic.write((key_of(1), b"over TLS"))
    async with open_reader(topic.connection, topic.name) as reader:
        assert [one.value for one in await reader.read_at(0)] == [b"over TLS"]
    await guarded.parted()


@pytest.mark.servers
@pytest.mark.slow
async def test_a_certificate_that_a_broker_refuses_is_replaced_in_its_files_alone(
    config: MakeConfig, guarded: KafkaServer, tls: ServerTls, tmp_path: Path
) -> None:
    """As after its end: whoever was refused is let in with the next files, and nothing restarts."""
    files = ServerTls.make(tmp_path / "strangers")
    given: Given = {
        "kafka_security": "ssl",
        "kafka_bootstrap": guarded.bootstrap,
        "kafka_ca_file": tls.ca_file,
    }
    known = {
        "kafka_certificate": tls.client_certificate_file,
        "kafka_private_key": tls.client_private_key_file,
    }
    topic = await make_topic(KafkaConnection.read(config(**given, **known)))
    await topic.write((key_of(1), b"over TLS"))
    mine = {
        "kafka_certificate": files.client_certificate_file,
        "kafka_private_key": files.client_private_key_file,
    }
    connection = KafkaConnection.read(config(**given, **mine))
    with pytest.raises(KafkaAway):
        async with open_reader(connection, topic.name):
            pass
    files.client_certificate_file.write_bytes(tls.client_certificate_file.read_bytes())
    files.client_private_key_file.write_bytes(tls.client_private_key_file.read_bytes())
    async with open_reader(connection, topic.name) as reader:
        assert [one.value for one in await reader.read_at(0)] == [b"over TLS"]
    await guarded.parted()


@pytest.mark.servers
@pytest.mark.slow
async def test_a_broker_or_a_client_that_cannot_show_who_it_is_is_refused(
    config: MakeConfig, guarded: KafkaServer, tls: ServerTls, tmp_path: Path
) -> None:
    strangers = ServerTls.make(tmp_path / "strangers")
    mine: Given = {
        "kafka_certificate": tls.client_certificate_file,
        "kafka_private_key": tls.client_private_key_file,
    }
    address: Given = {"kafka_security": "ssl", "kafka_bootstrap": guarded.bootstrap}
    elsewhere = guarded.bootstrap.replace("localhost", "127.0.0.1")  # a name it does not bear
    refused: list[Given] = [
        {**address, "kafka_ca_file": tls.ca_file},  # no certificate
        {**address, **mine, "kafka_ca_file": strangers.ca_file},  # a broker of strangers
        {**address, **mine, "kafka_ca_file": tls.ca_file, "kafka_bootstrap": elsewhere},
        {"kafka_bootstrap": guarded.bootstrap},  # no TLS
    ]
    for given in refused:
        connection = KafkaConnection.read(config(**given))
        with pytest.raises(KafkaAway):
            async with open_reader(connection, "any"):
                pass
    await guarded.parted()


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_with_a_password_blocks_go_through_and_without_the_right_one_none_do(
    config: MakeConfig, tls: ServerTls, passwords: KafkaServer, tmp_path: Path, mechanism: str
) -> None:
    given: Given = {
        **SASL,
        "kafka_bootstrap": passwords.bootstrap,
        "kafka_ca_file": tls.ca_file,
        "kafka_sasl_mechanism": mechanism,
        "kafka_password_file": secret(tmp_path, b"correct horse\n"),
    }
    topic = await make_topic(KafkaConnection.read(config(**given)))
    await topic.write((key_of(1), b"with a password"))
    async with open_reader(topic.connection, topic.name) as reader:
        assert [one.value for one in await reader.read_at(0)] == [b"with a password"]
    secret(tmp_path, b"wrong horse\n")
    with pytest.raises(KafkaAway):
        async with open_reader(KafkaConnection.read(config(**given)), topic.name):
            pass
    await passwords.parted()


@pytest.fixture(scope="module")
def passwords(tls: ServerTls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that asks for a name and a password."""
    need("kafka")
    users = {"storage": "correct horse"}
    with running_kafka(tmp_path_factory.mktemp("kafka-sasl"), tls=tls, users=users) as server:
        yield server
