"""The page /metrics: Prometheus' text format over plaintext HTTP, on an address of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

# A scraper sends its request at once and is near; anything slower is not one.
SCRAPE_SECONDS = 5.0
REQUEST_BYTES_MAX = 16 * 1024
SCRAPES_MAX = 8  # Prometheus scrapes one at a time; a second one and a curious operator fit


@asynccontextmanager
async def metrics_page(host: str, port: int) -> AsyncGenerator[int]:
    """Serve /metrics while the context is open; yield the port.

    Raises:
        OSError: the address cannot be bound.
    """
    room = asyncio.Semaphore(SCRAPES_MAX)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SCRAPE_SECONDS), room:
                writer.write(await _response(reader))
                await writer.drain()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
            pass  # a scraper that gave up, or something that does not speak HTTP
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=REQUEST_BYTES_MAX)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _response(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return _http("431 Request Header Fields Too Large", "text/plain", b"")
    method, _, rest = head.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    if path != b"/metrics":
        return _http("404 Not Found", "text/plain", b"the page is /metrics\n")
    if method != b"GET":
        return _http("405 Method Not Allowed", "text/plain", b"")
    # Some milliseconds for hundreds of series: not on the event loop.
    return _http("200 OK", CONTENT_TYPE_LATEST, await asyncio.to_thread(generate_latest))


def _http(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
