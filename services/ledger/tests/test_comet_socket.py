"""The application's end of the socket: framing, order, and what ends a conversation."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward_chain.wire import varint
from cipherward_ledger.comet.abci_server import (
    CONNECTIONS_MAX,
    RequestUnknown,
    serve_application,
)
from cipherward_ledger.comet.framing import FRAME_BYTES_MAX, FrameMalformed, Unframer, framed
from cipherward_ledger.comet.sockets import short_path

SECONDS = 10


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[bytes], piece: int
) -> None:
    octets = b"".join(framed(message) for message in messages)
    unframer = Unframer()
    found: list[bytes] = []
    for at in range(0, len(octets), piece):
        found += unframer.feed(octets[at : at + piece])
    assert found == messages


@pytest.mark.parametrize("octets", [b"\xff\xff\xff\xff\x01", b"\xff\xff\xff\x7f", b"\xff" * 9])
def test_a_length_that_is_none_is_refused(octets: bytes) -> None:
    with pytest.raises(FrameMalformed):
        Unframer().feed(octets)


def test_a_message_of_the_bound_may_be_announced() -> None:
    assert Unframer().feed(varint(FRAME_BYTES_MAX)) == []
    with pytest.raises(FrameMalformed):
        Unframer().feed(varint(FRAME_BYTES_MAX + 1))


@dataclass
class Echo:
    """An application that answers what it is asked, and remembers how it was asked."""

    together: list[int] = field(default_factory=list[int])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    async def check(self, contents: Sequence[bytes]) -> list[abci.ResponseCheckTx]:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.together.append(len(contents))
        return [abci.ResponseCheckTx(log=content.decode()) for content in contents]

    async def answer(self, request: abci.Request) -> abci.Response:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return abci.Response(query=abci.ResponseQuery(log=request.query.path))


@dataclass
class Asker:
    """The node's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    unframer: Unframer = field(default_factory=Unframer)
    found: list[abci.Response] = field(default_factory=list[abci.Response])

    def ask(self, *requests: abci.Request) -> None:
        self.writer.write(b"".join(framed(one.SerializeToString()) for one in requests))

    async def answers(self, count: int) -> list[abci.Response]:
        async with asyncio.timeout(SECONDS):
            while len(self.found) < count:
                octets = await self.reader.read(65_536)
                assert octets, "the connection has ended"
                self.found += map(abci.Response.FromString, self.unframer.feed(octets))
        taken, self.found = self.found[:count], self.found[count:]
        return taken

    async def ended(self) -> bool:
        async with asyncio.timeout(SECONDS):
            return await self.reader.read() == b""


@asynccontextmanager
async def asking(path: Path) -> AsyncGenerator[Asker]:
    with short_path(path) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    try:
        yield Asker(reader, writer)
    finally:
        writer.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / ("long" * 40)  # longer than a socket's address
    folder.mkdir()
    return folder / "application.sock"


def check(content: str) -> abci.Request:
    return abci.Request(check_tx=abci.RequestCheckTx(tx=content.encode()))


def query(path: str) -> abci.Request:
    return abci.Request(query=abci.RequestQuery(path=path))


FLUSH = abci.Request(flush=abci.RequestFlush())


async def test_answers_come_in_the_order_of_the_questions(path: Path) -> None:
    application = Echo()
    application.gate.set()
    echo = abci.Request(echo=abci.RequestEcho(message="hello"))
    async with serve_application(path, application), asking(path) as node:
        node.ask(check("a"), check("b"), query("c"), FLUSH, check("d"), echo, FLUSH)
        answers = await node.answers(7)
    kinds = [one.WhichOneof("value") for one in answers]
    assert kinds == ["check_tx", "check_tx", "query", "flush", "check_tx", "echo", "flush"]
    assert [answers[at].check_tx.log for at in (0, 1, 4)] == ["a", "b", "d"]
    assert (answers[2].query.log, answers[5].echo.message) == ("c", "hello")


async def test_checks_that_wait_are_checked_together(path: Path) -> None:
    application = Echo()
    async with serve_application(path, application), asking(path) as node:
        node.ask(check("0"))
        node.ask(*(check(str(at)) for at in range(1, 100)), FLUSH)
        await node.writer.drain()
        await asyncio.sleep(0)  # whatever has come in by now waits behind the gate
        application.gate.set()
        answers = await node.answers(101)
    assert [one.check_tx.log for one in answers[:100]] == [str(at) for at in range(100)]
    assert sum(application.together) == 100
    assert len(application.together) < 100


async def test_a_question_that_waits_does_not_hold_up_another_connection(path: Path) -> None:
    application = Echo()
    async with (
        serve_application(path, application),
        asking(path) as waiting,
        asking(path) as other,
    ):
        waiting.ask(query("slow"))
        other.ask(FLUSH)
        assert (await other.answers(1))[0].WhichOneof("value") == "flush"
        application.gate.set()
        assert (await waiting.answers(1))[0].query.log == "slow"


async def fail(path: Path, application: Echo, asked: abci.Request, told: str) -> None:
    """Ask what cannot be answered; the server then cancels whatever runs beside it."""
    async with serve_application(path, application), asking(path) as node:
        node.ask(asked)
        (answer,) = await node.answers(1)
        assert answer.exception.error == told
        await asyncio.sleep(SECONDS)


@pytest.mark.parametrize("asked", [query("x"), check("x")])
async def test_a_failure_is_told_to_the_node_and_stops_the_server(
    path: Path, asked: abci.Request
) -> None:
    application = Echo(failure=ValueError("the cause, which the node need not know"))
    application.gate.set()
    with pytest.raises(ExceptionGroup) as stopped:
        await fail(path, application, asked, "ValueError")
    assert stopped.group_contains(ValueError, match="the cause")


async def test_an_unknown_question_stops_the_server(path: Path) -> None:
    application = Echo()
    with pytest.raises(ExceptionGroup) as stopped:
        await fail(path, application, abci.Request(), "RequestUnknown")
    assert stopped.group_contains(RequestUnknown)


@pytest.mark.parametrize("garbage", [b"\xff" * 20, framed(b"\xff\xff\xff")])
async def test_garbage_ends_its_own_connection_only(path: Path, garbage: bytes) -> None:
    application = Echo()
    async with serve_application(path, application), asking(path) as other:
        async with asking(path) as bad:
            bad.writer.write(garbage)
            assert await bad.ended()
        other.ask(FLUSH)
        assert len(await other.answers(1)) == 1


async def test_a_node_that_goes_away_in_the_middle_is_forgotten(path: Path) -> None:
    application = Echo()
    async with serve_application(path, application):
        async with asking(path) as gone:
            gone.ask(query("never answered"), check("neither"))
            await gone.writer.drain()
        application.gate.set()
        async with asking(path) as again:
            again.ask(query("here"))
            assert (await again.answers(1))[0].query.log == "here"


async def test_only_so_many_connections_are_taken(path: Path) -> None:
    application = Echo()
    async with serve_application(path, application), AsyncExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            one = await stack.enter_async_context(asking(path))
            one.ask(FLUSH)
            await one.answers(1)
        one_too_many = await stack.enter_async_context(asking(path))
        assert await one_too_many.ended()


async def test_only_the_user_may_connect_and_an_old_socket_is_replaced(path: Path) -> None:
    application = Echo()
    for _ in range(2):  # the second finds what the first left
        async with serve_application(path, application):
            mode = (await asyncio.to_thread(path.stat)).st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o600
