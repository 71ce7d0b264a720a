"""The network between the members' consensus nodes, which a test cuts and heals.

Each node reaches each other one through a port of its own here, so that every pair can be parted
by itself, whichever of the two opened the connection, and without any right on the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import combinations

from cipherward_client.alliance.ports import HOST, free_ports

PIECE_BYTES = 64 * 1024


class Links:
    """Ports that hand everything on to the nodes, as long as the pair is not cut."""

    def __init__(self, nodes: Mapping[str, str], ports: Mapping[tuple[str, str], int]) -> None:
        """Describe them; `nodes` are host:port by member, `ports` by (from, to)."""
        self._nodes = nodes
        self._ports = ports
        self._cut: set[frozenset[str]] = set()
        self._open: dict[frozenset[str], set[asyncio.StreamWriter]] = {}

    def seen_by(self, member: str) -> dict[str, str]:
        """Return host:port of every node as `member` reaches it; its own as it is."""
        return {
            other: address if other == member else f"{HOST}:{self._ports[member, other]}"
            for other, address in self._nodes.items()
        }

    def part(self, *groups: Sequence[str]) -> None:
        """Cut every pair whose members are in different groups; connections break at once."""
        for left, right in combinations(groups, 2):
            for one in left:
                for other in right:
                    pair = frozenset((one, other))
                    self._cut.add(pair)
                    for writer in self._open.pop(pair, set()):
                        writer.transport.abort()

    def heal(self) -> None:
        """Let everybody reach everybody again."""
        self._cut.clear()

    async def serve(self, source: str, target: str) -> asyncio.Server:
        """Listen for what `source` sends to `target`."""
        pair = frozenset((source, target))

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if pair in self._cut:
                writer.transport.abort()
                return
            await self._carry(pair, self._nodes[target], reader, writer)

        return await asyncio.start_server(connected, HOST, self._ports[source, target])

    async def _carry(
        self,
        pair: frozenset[str],
        address: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        host, _, port = address.rpartition(":")
        try:
            back_reader, back_writer = await asyncio.open_connection(host, int(port))
        except OSError:  # the node is down
            writer.transport.abort()
            return
        ends = (writer, back_writer)
        self._open.setdefault(pair, set()).update(ends)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, back_writer, ends))
                group.create_task(_pour(back_reader, writer, ends))
        finally:
            self._open.get(pair, set()).difference_update(ends)


async def _pour(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    ends: tuple[asyncio.StreamWriter, ...],
) -> None:
    """Hand on until one side ends; then both are broken."""
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    for end in ends:
        end.transport.abort()


@asynccontextmanager
async def open_links(nodes: Mapping[str, str]) -> AsyncGenerator[Links]:
    """Listen for all pairs of the nodes (host:port by member) while the context is open."""
    pairs = [(one, other) for one in nodes for other in nodes if one != other]
    links = Links(nodes, dict(zip(pairs, free_ports(len(pairs)), strict=True)))
    async with AsyncExitStack() as stack:
        for source, target in pairs:
            server = await links.serve(source, target)
            stack.callback(server.close)
        stack.callback(links.part, *[(member,) for member in nodes])  # break what is open
        yield links
