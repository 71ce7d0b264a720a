"""A client's certificate is taken from its files as they change, and only when it fits."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from cipherward_kit.client_pair import ClientPair, PairUnusable
from cipherward_kit.devca import DevAuthority, save_identity
from cipherward_kit.testing import eventually
from cipherward_kit.tls import Identity

NAME = "storage.hospital-a.cipherward.internal"


@dataclass
class Server:
    """Asks whoever connects for a certificate; `seen` are the serial numbers of those it saw."""

    folder: Path
    authority: DevAuthority
    port: int = 0
    seen: list[int] = field(default_factory=list[int])

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / "client.pem", self.folder / "client.key"

    def context(self) -> ssl.SSLContext:
        """Return a client's context, with no certificate of its own yet."""
        return ssl.create_default_context(cadata=self.authority.certificate_pem.decode())

    def issue(self) -> Identity:
        issued = self.authority.issue("client")
        save_identity(issued, self.folder, "client")
        return issued

    async def met(self, context: ssl.SSLContext) -> int:
        """Connect, and return the number of the certificate that was shown."""
        before = len(self.seen)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=NAME
        )
        await eventually(lambda: len(self.seen) > before)
        writer.close()
        await writer.wait_closed()
        return self.seen[-1]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Server]:
    found = Server(tmp_path, DevAuthority.create("hospital-a"))
    save_identity(found.authority.issue("storage"), tmp_path, "storage")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "storage.pem", tmp_path / "storage.key")
    context.load_verify_locations(cadata=found.authority.certificate_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("ssl_object").getpeercert(True)
        found.seen.append(x509.load_der_x509_certificate(shown).serial_number)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context) as listening:
        found.port = listening.sockets[0].getsockname()[1]
        yield found


def number(identity: Identity) -> int:
    return identity.leaf().serial_number


async def test_new_connections_show_what_the_files_hold_now(server: Server) -> None:
    first, context = server.issue(), server.context()
    pair = ClientPair(context, *server.files)
    pair.load()
    assert await server.met(context) == number(first)
    async with pair.followed(seconds=0.01):
        second = server.issue()

        async def taken() -> bool:
            return await server.met(context) == number(second)

        await eventually(taken)


async def test_one_file_may_hold_both(server: Server) -> None:
    issued, context = server.issue(), server.context()
    both = server.folder / "both.pem"
    both.write_bytes(issued.private_key_pem + issued.certificate_pem)
    ClientPair(context, both).load()
    assert await server.met(context) == number(issued)


async def test_a_pair_that_does_not_fit_is_left_where_it_is_and_told_once(server: Server) -> None:
    first, context = server.issue(), server.context()
    certificate, private_key = server.files
    pair = ClientPair(context, *server.files)
    pair.load()
    second = server.authority.issue("client")
    with capture_logs() as logs:
        certificate.write_bytes(second.certificate_pem)  # half of a renewal
        for _ in range(2):
            pair.look()
        assert await server.met(context) == number(first)
        private_key.write_bytes(second.private_key_pem)
        pair.look()
        assert await server.met(context) == number(second)
        certificate.unlink()
        pair.look()
        assert await server.met(context) == number(second)
    told = [one["event"] for one in logs]
    assert told == [
        "client_certificate_not_taken",
        "client_certificate_taken",
        "client_certificate_not_taken",
    ]


def test_a_certificate_that_ran_out_is_not_taken(server: Server) -> None:
    first, context = server.issue(), server.context()
    pair = ClientPair(context, *server.files)
    pair.load()
    early = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
    old = server.authority.issue("client", days=5, starts=early)
    save_identity(old, server.folder, "client")
    with pytest.raises(PairUnusable, match="ran out"):
        pair.load()
    assert number(first) != number(old)


def test_files_are_read_again_only_when_they_are_others(server: Server) -> None:
    server.issue()
    pair = ClientPair(server.context(), *server.files)
    pair.load()
    with capture_logs() as logs:
        pair.look()
    assert logs == []
