"""The application's end of the node's socket (ABCI 2.0, CometBFT 0.38 to 0.40).

The node opens four connections (consensus, mempool, queries, snapshots) and expects the answers of
each in the order of its questions. Questions are read ahead, so that a run of CheckTx is checked
together; every other question is answered one at a time, as the node asks them.

A question that cannot be answered is answered by an exception, upon which the node stops, and the
ledger stops with the cause: an application that guesses would leave the chain's one state.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog
from google.protobuf.message import DecodeError

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward_ledger.comet.framing import FrameMalformed, Unframer, framed
from cipherward_ledger.comet.sockets import short_path

READ_BYTES = 256 * 1024  # a socket's buffer is smaller; a block comes in a few pieces
# Questions read ahead: as many as the node's client queues before it waits itself.
AHEAD_MAX = 256
# CheckTx answered together: a dozen milliseconds of two threads, so that Flush waits no longer.
CHECKED_TOGETHER_MAX = 256
# Four of the node, and four of a node that has just been killed and is not gone yet.
CONNECTIONS_MAX = 8
SOCKET_MODE = 0o600

FLUSHED = framed(abci.Response(flush=abci.ResponseFlush()).SerializeToString())

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class RequestUnknown(Exception):
    """The node asks what this application does not know: another version, or another protocol."""


class Application(Protocol):
    """Who answers. Adapters: the ledger's, and the echo of the server's own tests."""

    async def check(self, contents: Sequence[bytes]) -> list[abci.ResponseCheckTx]:
        """Answer CheckTx for several transactions, in order."""
        ...

    async def answer(self, request: abci.Request) -> abci.Response:
        """Answer any other question but Echo and Flush."""
        ...


@asynccontextmanager
async def serve_application(path: Path, application: Application) -> AsyncGenerator[None]:
    """Listen on the socket `path` while the context is open; only this user may connect.

    Raises:
        ExceptionGroup: with what a question's answering raised; the body is cancelled.
    """
    async with asyncio.TaskGroup() as group:
        conversations: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(conversations) >= CONNECTIONS_MAX:
                log.warning("application_connection_refused", open=len(conversations))
                writer.close()
                return
            task = group.create_task(_Conversation(reader, writer, application).run())
            conversations.add(task)
            task.add_done_callback(conversations.discard)

        with short_path(path) as name:
            # asyncio removes the socket that a killed process left; the data folder is ours alone.
            server = await asyncio.start_unix_server(connected, name, limit=READ_BYTES)
            os.chmod(name, SOCKET_MODE)
            try:
                yield
            finally:
                server.close()
                for task in conversations:
                    task.cancel()


class _Conversation:
    """One connection: a task that reads ahead, and one that answers."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        application: Application,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._application = application
        self._asked: asyncio.Queue[abci.Request | None] = asyncio.Queue(AHEAD_MAX)
        self._next: abci.Request | None = None  # was taken while CheckTx were gathered

    async def run(self) -> None:
        """Answer until the node goes away; what is then left unanswered is forgotten."""
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read())
                try:
                    await self._answer_all()
                except ConnectionError:  # it went away before it had its answer
                    pass
                finally:
                    reading.cancel()
        finally:
            self._writer.close()

    async def _read(self) -> None:
        unframer = Unframer()
        try:
            while octets := await self._reader.read(READ_BYTES):
                for message in unframer.feed(octets):
                    await self._asked.put(abci.Request.FromString(message))
        except (ConnectionError, DecodeError, FrameMalformed) as error:
            log.warning("application_connection_broken", error=type(error).__name__)
        await self._asked.put(None)

    async def _answer_all(self) -> None:
        while (request := self._next or await self._asked.get()) is not None:
            self._next = None
            match request.WhichOneof("value"):
                case "flush":
                    self._writer.write(FLUSHED)
                    await self._writer.drain()
                case "check_tx":
                    if not await self._check(request):
                        return
                case "echo":
                    echo = abci.ResponseEcho(message=request.echo.message)
                    self._write(abci.Response(echo=echo))
                case None:
                    unknown = RequestUnknown("the node asks what is not known here")
                    await self._fail(unknown)
                    raise unknown
                case _:
                    self._write(await self._answer(request))

    async def _check(self, first: abci.Request) -> bool:
        """Answer a run of CheckTx; return whether the connection goes on."""
        contents = [first.check_tx.tx]
        going_on = True
        while len(contents) < CHECKED_TOGETHER_MAX and not self._asked.empty():
            request = self._asked.get_nowait()
            if request is None:
                going_on = False
                break
            if request.WhichOneof("value") != "check_tx":
                self._next = request
                break
            contents.append(request.check_tx.tx)
        try:
            verdicts = await self._application.check(contents)
        except Exception as error:
            await self._fail(error)
            raise
        # In one write: a system call for each answer was a tenth of the ledger's loop under load.
        self._writer.write(b"".join(map(_framed_check, verdicts)))
        await self._writer.drain()
        return going_on

    async def _answer(self, request: abci.Request) -> abci.Response:
        try:
            return await self._application.answer(request)
        except Exception as error:
            await self._fail(error)
            raise

    async def _fail(self, error: Exception) -> None:
        """Tell the node that there is no answer; the cause then stops the ledger."""
        failed = abci.ResponseException(error=type(error).__name__)
        try:
            self._write(abci.Response(exception=failed))
            await self._writer.drain()
        except ConnectionError:  # it has gone: nobody to tell
            return

    def _write(self, response: abci.Response) -> None:
        self._writer.write(framed(response.SerializeToString()))


def _framed_check(verdict: abci.ResponseCheckTx) -> bytes:
    return framed(abci.Response(check_tx=verdict).SerializeToString())
