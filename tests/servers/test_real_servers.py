from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol, cast

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from cipherward_client.alliance.ports import free_ports
from tests.servers.cometbft import cometbft_binary
from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.kafka_settings import MESSAGE_BYTES_MAX
from tests.servers.mongo import running_mongo
from tests.servers.need import need
from tests.servers.pins import COMETBFT_VERSION
from tests.servers.prometheus import running_prometheus
from tests.servers.tls import ServerTls

pytestmark = [pytest.mark.servers, pytest.mark.slow]

WAIT_SECONDS = 30.0
POLL_SECONDS = 0.1


class Producer(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def send_and_wait(self, topic: str, value: bytes) -> object: ...


class Message(Protocol):
    value: bytes


class Consumer(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def getone(self) -> Message: ...


def until(holds: Callable[[], bool], complaint: str) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < ends, complaint
        time.sleep(POLL_SECONDS)


async def make_topic(options: dict[str, Any], topic: str) -> None:
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def send(options: dict[str, Any], topic: str, value: bytes) -> None:
    # More than a broker takes, so that the refusal is the broker's.
    largest = 2 * MESSAGE_BYTES_MAX
    made = AIOKafkaProducer(**options, max_request_size=largest, request_timeout_ms=5_000)
    producer = cast(Producer, made)
    try:
        await producer.start()
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def first_message(options: dict[str, Any], topic: str) -> bytes:
    made = AIOKafkaConsumer(
        topic,
        **options,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
    )
    consumer = cast(Consumer, made)
    try:
        await consumer.start()
        return (await consumer.getone()).value
    finally:
        await consumer.stop()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    need("kafka")
    with running_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


async def test_what_kafka_acknowledged_survives_its_kill(kafka: KafkaServer) -> None:
    options = kafka.client_options()
    block = os.urandom(8 * 1024 * 1024)
    await make_topic(options, "kept")
    await send(options, "kept", block)
    before = kafka.pid
    kafka.kill()
    assert not psutil.pid_exists(before)
    kafka.start()
    assert kafka.client_options()["bootstrap_servers"] == options["bootstrap_servers"]
    assert await first_message(options, "kept") == block


async def test_kafka_refuses_a_message_too_large_and_makes_no_topic_by_itself(
    kafka: KafkaServer,
) -> None:
    options = kafka.client_options()
    await make_topic(options, "bounded")
    with pytest.raises(MessageSizeTooLargeError):
        await send(options, "bounded", bytes(MESSAGE_BYTES_MAX + 1))
    with pytest.raises(KafkaError):
        await send(options, "nobody-made-this", b"message")


async def test_kafka_with_mutual_tls_takes_only_a_client_with_a_certificate(tmp_path: Path) -> None:
    need("kafka")
    tls = ServerTls.make(tmp_path / "tls")
    with running_kafka(tmp_path / "kafka", tls=tls) as server:
        options = server.client_options()
        await make_topic(options, "guarded")
        await send(options, "guarded", b"message")
        assert await first_message(options, "guarded") == b"message"
        stranger = ssl.create_default_context(cafile=str(tls.ca_file))
        with pytest.raises(KafkaError):
            await send({**options, "ssl_context": stranger}, "guarded", b"message")
        with pytest.raises(KafkaError):
            await send({"bootstrap_servers": server.bootstrap}, "guarded", b"message")
        await server.parted()


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Generator[KafkaServer]:
    """A broker that asks for a name and a password."""
    need("kafka")
    folder = tmp_path_factory.mktemp("kafka-passwords")
    tls = ServerTls.make(folder / "tls")
    with running_kafka(folder / "kafka", tls=tls, users={"first": "one"}) as server:
        yield server


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_kafka_with_users_takes_only_the_right_password(
    mechanism: str, passwords: KafkaServer
) -> None:
    options = {**passwords.client_options(), "sasl_mechanism": mechanism}
    topic = f"guarded-{mechanism}"
    await make_topic(options, topic)
    await send(options, topic, b"message")
    with pytest.raises(KafkaError):
        await send({**options, "sasl_plain_password": "two"}, topic, b"message")
    await passwords.parted()


async def test_a_broker_is_ready_while_others_of_this_process_are_connected(
    passwords: KafkaServer,
) -> None:
    host, port = passwords.bootstrap.split(":")
    with socket.create_connection((host, int(port))):
        await asyncio.to_thread(passwords.probe)


def connected(uri: str, options: dict[str, Any]) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, serverSelectionTimeoutMS=2_000, **options)


def test_what_mongo_acknowledged_survives_its_kill_and_an_aborted_transaction_leaves_nothing(
    tmp_path: Path,
) -> None:
    need("mongo")
    with running_mongo(tmp_path) as server:
        uri = server.uri
        with connected(uri, {}) as client:
            beds = client["ward"]["beds"]
            beds.insert_one({"_id": 1})
            with client.start_session() as session:
                with session.start_transaction():
                    beds.insert_one({"_id": 2}, session=session)
                with session.start_transaction():
                    beds.insert_one({"_id": 3}, session=session)
                    session.abort_transaction()
        server.kill()
        server.start()
        assert server.uri == uri
        with connected(uri, {}) as client:
            assert [bed["_id"] for bed in client["ward"]["beds"].find()] == [1, 2]


def test_mongo_takes_only_a_client_with_its_certificate_and_password(tmp_path: Path) -> None:
    need("mongo")
    tls = ServerTls.make(tmp_path / "tls")
    with running_mongo(tmp_path / "mongo", auth=True, tls=tls) as server:
        options = server.client_options()
        with connected(server.uri, options) as client:
            client["ward"]["beds"].insert_one({"_id": 1})
        account, address = server.uri.removeprefix("mongodb://").split("@")
        nameless, other = f"mongodb://{address}", f"mongodb://{account}-wrong@{address}"
        for uri in (nameless, other):
            with connected(uri, options) as client, pytest.raises(OperationFailure):
                client["ward"]["beds"].insert_one({"_id": 2})
        del options["tlsCertificateKeyFile"]
        with connected(server.uri, options) as client, pytest.raises(PyMongoError):
            client["ward"]["beds"].insert_one({"_id": 3})


def up(url: str) -> dict[str, str]:
    """Return "1" or "0" by the address of each target that was scraped."""
    query = urllib.parse.urlencode({"query": "up"})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=5) as response:
        found = json.load(response)["data"]["result"]
    return {each["metric"]["instance"]: each["value"][1] for each in found}


def test_prometheus_scrapes_its_targets_and_then_others(tmp_path: Path) -> None:
    need("prometheus")
    port = free_ports(1)[0]
    itself, nobody = f"127.0.0.1:{port}", f"127.0.0.1:{free_ports(1)[0]}"
    with running_prometheus(tmp_path, {itself: {}}, port=port) as server:
        until(lambda: up(server.url) == {itself: "1"}, "it was not scraped")
        server.scrape({itself: {}, nobody: {}})
        until(lambda: up(server.url) == {itself: "1", nobody: "0"}, "the new one was not scraped")


def test_cometbft_is_the_pinned_version() -> None:
    need("cometbft")
    # Go writes the module's version into the program; its own `version` says 0.39.0.
    built_from = f"mod\tgithub.com/cometbft/cometbft\t{COMETBFT_VERSION}\t".encode()
    assert built_from in cometbft_binary().read_bytes()
    subprocess.run([cometbft_binary(), "version"], check=True, stdout=subprocess.DEVNULL)


def test_a_server_dies_with_the_process_that_runs_it(tmp_path: Path) -> None:
    need("prometheus")
    script = (
        "import pathlib, sys\n"
        "from tests.servers.prometheus import running_prometheus\n"
        "with running_prometheus(pathlib.Path(sys.argv[1]), {}) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert server.name() == "prometheus"
        parent.kill()
    until(lambda: not server.is_running(), "the server outlived its parent")


def test_the_development_servers_follow_the_alliance_and_stop_at_sigterm(tmp_path: Path) -> None:
    for name in ("kafka", "mongo", "prometheus"):
        need(name)
    ports = free_ports(3)
    alliance, url = tmp_path / "alliance", f"http://127.0.0.1:{ports[2]}"
    script = (
        "import pathlib, sys\n"
        "from tests.servers.development import Ports, run\n"
        f"sys.exit(run(pathlib.Path({str(alliance)!r}), Ports{tuple(ports)},"
        f" pathlib.Path({str(tmp_path / 'data')!r})))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(4)]
        assert f"127.0.0.1:{ports[0]}" in lines[0]
        assert f"mongodb://127.0.0.1:{ports[1]}" in lines[1]
        assert url in lines[2]
        children = psutil.Process(running.pid).children()
        assert len(children) == 3
        alliance.mkdir()
        service = {"listen": "127.0.0.1:1", "metrics": f"127.0.0.1:{ports[2]}"}
        document = {
            "chain_id": "chain",
            "ledger_member": "hospital-a",
            "endpoints": {"hospital-a": {"ledger": service}},
        }
        (alliance / "alliance.json").write_text(json.dumps(document))
        until(lambda: up(url) == {service["metrics"]: "1"}, "the alliance was not scraped")
        running.send_signal(signal.SIGTERM)
        assert running.wait(WAIT_SECONDS) == 0
    assert not any(child.is_running() for child in children)
