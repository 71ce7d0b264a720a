"""A real server of MongoDB's wire protocol for tests: SecantusDB, a process on loopback."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from cipherward_client.alliance.ports import free_ports
from tests.servers.child import Child
from tests.servers.pins import MONGO_PROGRAM
from tests.servers.tls import ServerTls

HOST: Final = "127.0.0.1"
LOG_FILE: Final = "mongo.log"
USER: Final = "cipherward"
PASSWORD: Final = "for-tests-only"
PROBE_MILLISECONDS: Final = 2_000  # of one attempt
# The default, 1 GB, is for a machine of its own.
CACHE_SIZE: Final = "128M"


class MongoServer:
    """A server on one port with one data folder, started as often as it is killed."""

    def __init__(self, folder: Path, port: int, tls: ServerTls | None, *, auth: bool) -> None:
        self._folder = folder
        self._port = port
        self._tls = tls
        self._auth = auth
        self._child = self._process(guarded=True)

    @property
    def uri(self) -> str:
        """Its connection string, with the user and password if it asks for them."""
        return self._uri(guarded=True)

    @property
    def pid(self) -> int:
        """The id of the living process."""
        return self._child.pid

    def client_options(self) -> dict[str, Any]:
        """Return what a client takes besides the connection string."""
        if self._tls is None:
            return {}
        return {
            "tls": True,
            "tlsCAFile": str(self._tls.ca_file),
            "tlsCertificateKeyFile": str(self._tls.client_chain_file),
        }

    def start(self) -> None:
        """Start it and wait until it answers a ping.

        Raises:
            ServerFailed: it ended, or was not ready in time.
        """
        self._start(self._child, self.uri)

    def kill(self) -> None:
        """SIGKILL it, as a power cut would, and wait until it is gone."""
        self._child.kill()

    def stop(self) -> None:
        """Stop it in order."""
        self._child.stop()

    def add_user(self) -> None:
        """Start it once without passwords to make the user; a second time changes nothing."""
        marker = self._folder / "user"
        if marker.exists():
            return
        child = self._process(guarded=False)
        try:
            self._start(child, self._uri(guarded=False))
            with self._client(self._uri(guarded=False)) as client:
                client.admin.command("createUser", USER, pwd=PASSWORD, roles=["root"])
        finally:
            child.stop()
        marker.touch()

    def _uri(self, *, guarded: bool) -> str:
        account = f"{USER}:{PASSWORD}@" if self._auth and guarded else ""
        return f"mongodb://{account}{HOST}:{self._port}/"

    def _process(self, *, guarded: bool) -> Child:
        options = ["--host", HOST, "--port", str(self._port), "--cache-size", CACHE_SIZE]
        options += ["--storage-path", str(self._folder / "data"), "--log-level", "WARNING"]
        # What MongoDB does by default (majority, hence journaled): an acknowledged write, also the
        # commit of a transaction, survives a kill. Without it this server keeps them in memory.
        options.append("--sync-on-commit")
        if self._auth and guarded:
            options.append("--auth")
        if self._tls is not None:
            options += ["--tls-cert-file", str(self._tls.server_certificate_file)]
            options += ["--tls-key-file", str(self._tls.server_private_key_file)]
            options += ["--tls-ca-file", str(self._tls.ca_file), "--tls-require-client-cert"]
        # In its folder, where it finds no settings of somebody else's.
        command = [str(MONGO_PROGRAM), *options]
        return Child(command, self._folder / LOG_FILE, folder=self._folder)

    def _start(self, child: Child, uri: str) -> None:
        def ping() -> None:
            with self._client(uri) as client:
                client.admin.command("ping")

        child.start()
        try:
            # With a real client, never a bare connection: the server makes TLS handshakes one
            # after the other, and one that never comes keeps all others waiting for seconds.
            child.wait_until_ready(ping, PyMongoError)
        except BaseException:
            child.kill()
            raise

    def _client(self, uri: str) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            uri, serverSelectionTimeoutMS=PROBE_MILLISECONDS, **self.client_options()
        )


@contextmanager
def running_mongo(
    folder: Path, *, auth: bool = False, tls: ServerTls | None = None, port: int | None = None
) -> Generator[MongoServer]:
    """Run a server whose data lies in `folder`; ready when the context opens.

    It says that it is the primary of a replica set of one, so that transactions work. It shows
    what a driver does, not how fast: it inserts some 500 documents a second.

    Args:
        folder: made if missing; a server that ran in it before goes on with its data.
        auth: ask for a password; `uri` then holds the user's.
        tls: mutual TLS; None is plaintext.
        port: default a free one.

    Raises:
        ServerFailed: it ended, or was not ready in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    server = MongoServer(folder, port or free_ports(1)[0], tls, auth=auth)
    if auth:
        server.add_user()
    try:
        server.start()
        yield server
    finally:
        server.stop()
