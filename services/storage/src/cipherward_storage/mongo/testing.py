"""A line to MongoDB that is cut at will: before a command is done, or before its answer comes."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import bson

from cipherward_storage.mongo.settings import MongoSettings

MEBIBYTE = 1024 * 1024
OP_MSG = 2013  # MongoDB's wire protocol
DRIVERS_OWN = frozenset(("hello", "ismaster", "isMaster", "ping", "endSessions"))


class CuttingProxy:
    """Stands between a client and the server, and cuts the line at a chosen command.

    Commands are counted over all connections; the driver's own (hello, ping, endSessions) are not.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0  # known once it listens
        self.commands: list[str] = []
        self._server_port = server_port
        self._left: int | None = None  # commands until the cut
        self._loses_answer = False
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._mute: set[asyncio.StreamWriter] = set()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    @property
    def down(self) -> bool:
        return self._down

    @property
    def open_lines(self) -> int:
        return len(self._writers)

    def cut_at(self, command: int, *, loses_answer: bool) -> None:
        """Cut all lines at the command with this number, from 0: before the server gets it, or
        before the client gets the answer."""
        self._left, self._loses_answer = command, loses_answer
        self.commands.clear()

    def cut(self) -> None:
        """Cut all lines, and take no new ones until `mend`."""
        self._down, self._left = True, None
        for writer in tuple(self._writers):
            writer.transport.abort()

    def mend(self) -> None:
        self._down, self._left = False, None
        self._mute.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commands(reader, back, writer))
                group.create_task(self._answers(there, writer))
        finally:
            for one in (writer, back):
                self._writers.discard(one)
                one.transport.abort()

    async def _commands(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        try:
            while True:
                head = await reader.readexactly(16)
                body = await reader.readexactly(int.from_bytes(head[:4], "little") - 16)
                if self._is_last(head, body):
                    if not self._loses_answer:
                        self.cut()
                        return
                    self._mute.add(client)
                server.write(head + body)
                await server.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            server.transport.abort()

    async def _answers(self, there: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            while octets := await there.read(65536):
                if client in self._mute:  # the server has done it, and nobody will know
                    self.cut()
                    return
                client.write(octets)
                await client.drain()
        except ConnectionError:
            pass
        client.transport.abort()

    def _is_last(self, head: bytes, body: bytes) -> bool:
        if int.from_bytes(head[12:16], "little") != OP_MSG:
            return False
        document = body[5 : 5 + int.from_bytes(body[5:9], "little")]
        message: dict[str, Any] = bson.decode(document)  # pyright: ignore[reportUnknownMemberType] - bson leaves the codec's type open
        command = next(iter(message))
        if command in DRIVERS_OWN:
            return False
        self.commands.append(command)
        return self._left is not None and len(self.commands) > self._left


def mongo_settings(uri: str, **changes: Any) -> MongoSettings:
    """Settings of a database that nobody else has, at `uri`."""
    name = f"test-{secrets.token_hex(8)}"
    return replace(MongoSettings(uri, name, None, None, 8, 5.0), **changes)
