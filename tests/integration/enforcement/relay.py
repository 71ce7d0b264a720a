"""A line that can be cut: octets go through, or they do not, and nobody is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tests.integration.enforcement.town import CUSTODIAN, Town

READ_BYTES = 1 << 16


class Relay:
    """Passes connections on to one address; `cut` holds everything back, `mend` lets it go on."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._passes = asyncio.Event()
        self._passes.set()
        self._lines: set[asyncio.Task[None]] = set()
        self.address = ""

    def cut(self) -> None:
        """Hold back whatever comes, in both directions."""
        self._passes.clear()

    def mend(self) -> None:
        """Let through what was held back, and what comes."""
        self._passes.set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        try:
            await self._passes.wait()
            others, other = await asyncio.open_connection(*self._target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, other))
                    group.create_task(self._pass(others, writer))
            finally:
                other.close()
        except* OSError:
            pass
        finally:
            writer.close()
            self._lines.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(READ_BYTES):
            await self._passes.wait()
            writer.write(octets)
            await writer.drain()
        writer.close()

    async def close(self) -> None:
        """End every connection."""
        for line in list(self._lines):
            line.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._lines, return_exceptions=True)


@asynccontextmanager
async def cuttable_custodian(town: Town, folder: Path) -> AsyncGenerator[Relay]:
    """Let the custodian's storage reach its ledger through a relay, for as long as it is open."""
    ledger = town.running.endpoints.of(CUSTODIAN, "ledger")
    host, port = ledger.listen.rsplit(":", 1)
    relay = Relay(host, int(port))
    server = await asyncio.start_server(relay.connect, "127.0.0.1", 0)
    relay.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    plan = town.running.deployment.process_plan(
        (CUSTODIAN, "storage"), town.running.endpoints.of(CUSTODIAN, "storage")
    )
    document = json.loads(town.folder.endpoints_file.read_bytes())
    document["endpoints"][CUSTODIAN]["ledger"]["listen"] = relay.address
    file = folder / "alliance.json"
    await asyncio.to_thread(file.write_text, json.dumps(document))
    environment = {**plan.environment, "CIPHERWARD_ENDPOINTS_FILE": str(file)}
    try:
        await town.replace(replace(plan, environment=environment))
        yield relay
    finally:
        relay.mend()
        await town.replace(plan)
        await relay.close()
        server.close()
        await server.wait_closed()
