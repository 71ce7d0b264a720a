"""A real Kafka broker for tests: KRaft, one node that is its own controller, on loopback."""

from __future__ import annotations

import asyncio
import base64
import selectors
import socket
import subprocess
import uuid
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, cast

import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, LeaderNotAvailableError
from aiokafka.helpers import create_ssl_context

from cipherward_client.alliance.ports import free_ports
from cipherward_kit.testing import eventually
from tests.servers.child import POLL_SECONDS, STOP_SECONDS, Child, ServerFailed
from tests.servers.kafka_settings import HOST, broker_settings, protocol_of
from tests.servers.pins import KAFKA_ARCHIVES, KAFKA_LIBRARIES
from tests.servers.tls import ServerTls

LOG_FILE: Final = "kafka.log"
DATA: Final = "data"
SETTINGS_FILE: Final = "server.properties"
MARK_FILE: Final = "meta.properties"  # what formatting leaves in the data folder
READINESS_TOPIC: Final = "readiness"
PROBE_SECONDS: Final = 5.0  # of one attempt
PARTING_SECONDS: Final = 10.0  # milliseconds, unless the machine is busy
FORMAT_SECONDS: Final = 60.0  # half a second on a quiet machine
RECORDING_SECONDS: Final = 60.0  # the archive, 50 MB, is written after the orderly stop
JVM: Final = ("-Djava.awt.headless=true", "-XX:+UseSerialGC")  # one collector thread, not many


class _Producer(Protocol):
    """What the probe uses of aiokafka's producer, whose own types are partial."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def send_and_wait(self, topic: str, value: bytes) -> object: ...


class KafkaServer:
    """A broker on one port with one data folder, started as often as it is killed."""

    def __init__(
        self,
        folder: Path,
        port: int,
        tls: ServerTls | None,
        users: Mapping[str, str],
        *,
        record: bool = False,
    ) -> None:
        self._record = record
        self._folder = folder
        self._port = port
        self._tls = tls
        self._users = dict(users)
        self._protocol = protocol_of(tls, self._users)
        archive = KAFKA_ARCHIVES / "broker.jsa"
        self._child = Child(
            (
                *java("-Xms128m", "-Xmx512m", _log_option(), archive=archive, record=record),
                "kafka.Kafka",
                str(folder / SETTINGS_FILE),
            ),
            folder / LOG_FILE,
            folder=folder,
        )

    @property
    def bootstrap(self) -> str:
        """Its address, host:port."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The id of the living process."""
        return self._child.pid

    def client_options(self) -> dict[str, Any]:
        """Return what aiokafka's clients take to reach it, as the first user if it has users."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self._protocol,
        }
        if self._tls is not None:
            options["ssl_context"] = create_ssl_context(
                cafile=str(self._tls.ca_file),
                certfile=str(self._tls.client_certificate_file),
                keyfile=str(self._tls.client_private_key_file),
            )
        if self._users:
            name, password = next(iter(self._users.items()))
            options["sasl_mechanism"] = "SCRAM-SHA-512"
            options["sasl_plain_username"] = name
            options["sasl_plain_password"] = password
        return options

    def start(self) -> None:
        """Start it and wait until it has acknowledged a message of an idempotent producer.

        Raises:
            ServerFailed: it ended, or was not ready in time.
        """
        self._format()
        self._child.start()
        try:
            self._child.wait_until_ready(self.probe, OSError, KafkaError)
        except BaseException:
            self._child.kill()
            raise

    def kill(self) -> None:
        """SIGKILL it, as a power cut would, and wait until it is gone."""
        self._child.kill()

    def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """Stop it in order; what was acknowledged stays in its folder."""
        self._child.stop(grace_seconds)

    async def parted(self) -> None:
        """Return when this process has no connection to it left; whoever ends a loop waits for it.

        aiokafka waits for the end of none that it began with, or that was refused. Over TLS that
        comes when the broker has said goodbye too, and a loop that is closed before leaves a socket
        open: an error of whichever test runs when it is collected.
        """

        def connections() -> list[object]:
            found = psutil.Process().net_connections("tcp")
            return [one for one in found if one.raddr and one.raddr.port == self._port]

        async def none() -> bool:
            return not await asyncio.to_thread(connections)

        await eventually(none, seconds=PARTING_SECONDS)
        # What the broker has cut is listed no more, while the loop has yet to hear of it.
        await asyncio.sleep(POLL_SECONDS)

    def _format(self) -> None:
        """Write its settings, and prepare the data folder unless an earlier start has."""
        settings = self._folder / SETTINGS_FILE
        text = broker_settings(self._folder / DATA, self._port, self._tls, self._users)
        settings.touch(mode=0o600)  # it may hold passwords
        settings.write_text(text)
        if (self._folder / DATA / MARK_FILE).exists():
            return
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        scram = [
            f"--add-scram=SCRAM-SHA-512=[name={name},password={password}]"
            for name, password in self._users.items()
        ]
        archive = KAFKA_ARCHIVES / "format.jsa"
        command = java("-XX:TieredStopAtLevel=1", archive=archive, record=self._record)
        with (self._folder / LOG_FILE).open("ab") as log:
            done = subprocess.run(
                [
                    *(*command, "kafka.tools.StorageTool", "format"),
                    # one word: an id that begins with a dash is no option of its own
                    *(f"--cluster-id={cluster}", "-c", settings, *scram),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                timeout=FORMAT_SECONDS,
            )
        if done.returncode != 0:
            raise ServerFailed(f"Kafka's folder was not prepared: see {self._folder / LOG_FILE}")

    def probe(self) -> None:
        """Raise OSError or KafkaError unless it acknowledges an idempotent producer's message."""
        with socket.create_connection((HOST, self._port), PROBE_SECONDS):
            pass  # the client library logs an error for each refused connection: ask first
        # A thread of its own: the caller may be on an event loop.
        with ThreadPoolExecutor(1, "kafka-probe") as executor:
            executor.submit(self._run_acknowledged).result()

    def _run_acknowledged(self) -> None:
        selector = selectors.DefaultSelector()
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
            runner.run(self._acknowledged(selector))

    async def _acknowledged(self, selector: selectors.BaseSelector) -> None:
        before = len(selector.get_map())
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._acknowledge(self.client_options())
        finally:
            # Not `parted`: others in this process are connected again when a broker is back.
            await eventually(lambda: len(selector.get_map()) == before, seconds=PARTING_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    async def _acknowledge(self, options: Mapping[str, Any]) -> None:
        admin = AIOKafkaAdminClient(**options)
        try:
            await admin.start()
            await admin.create_topics([NewTopic(READINESS_TOPIC, 1, 1)])  # again: no change
        except AttributeError as error:  # aiokafka's own: the metadata names no controller yet
            raise LeaderNotAvailableError from error
        finally:
            await admin.close()
        producer = cast("_Producer", AIOKafkaProducer(**options, enable_idempotence=True))
        try:
            await producer.start()
            await producer.send_and_wait(READINESS_TOPIC, b"ready")
        finally:
            await producer.stop()


@contextmanager
def running_kafka(
    folder: Path,
    *,
    tls: ServerTls | None = None,
    users: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Generator[KafkaServer]:
    """Run a broker whose data lies in `folder`; ready when the context opens.

    Args:
        folder: made if missing; a broker that ran in it before goes on with its data.
        tls: mutual TLS (the certificates of `ServerTls.make`); None is plaintext.
        users: passwords by name: SCRAM-SHA-512 or PLAIN over TLS, without client certificates.
            They are fixed when the folder is first used. Needs `tls`.
        port: default a free one.

    Raises:
        ServerFailed: it ended, or was not ready in time.
    """
    if users and tls is None:
        raise ServerFailed("passwords go over TLS only: give tls")
    folder.mkdir(parents=True, exist_ok=True)
    server = KafkaServer(folder, port or free_ports(1)[0], tls, users or {})
    try:
        server.start()
        yield server
    finally:
        server.stop()


def record_archives(folder: Path) -> None:
    """Run a broker in `folder` once and keep archives of the classes that it has loaded.

    Raises:
        ServerFailed: it did not run, or left no archives.
    """
    KAFKA_ARCHIVES.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True)
    server = KafkaServer(folder, free_ports(1)[0], None, {}, record=True)
    server.start()
    server.stop(RECORDING_SECONDS)
    if not all((KAFKA_ARCHIVES / name).exists() for name in ("broker.jsa", "format.jsa")):
        raise ServerFailed(f"Kafka recorded no class archives: see {folder / LOG_FILE}")


def java(*options: str, archive: Path, record: bool = False) -> tuple[str, ...]:
    """Return the command that runs a class of Kafka's, up to the class.

    `archive` is a class data archive, which halves the start: used if it is there and fits this
    JVM, or written at the process's end with `record`.
    """
    if record:
        options += (f"-XX:ArchiveClassesAtExit={archive}",)
    elif archive.exists():
        options += (f"-XX:SharedArchiveFile={archive}",)
    return ("java", *JVM, *options, "-cp", f"{KAFKA_LIBRARIES}/*")


def _log_option() -> str:
    return f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"
