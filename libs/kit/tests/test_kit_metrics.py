"""The page that Prometheus scrapes, and what else may knock there."""

from __future__ import annotations

import asyncio

import pytest

from cipherward_kit.metrics import REQUEST_BYTES_MAX, metrics_page


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if not request.endswith(b"\r\n\r\n"):
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"GET /metrics?name=x HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"garbage\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"x" * (2 * REQUEST_BYTES_MAX) + b"\r\n\r\n", b"HTTP/1.1 431"),
        (b"GET /metrics", b""),
    ],
)
async def test_the_page_answers_scrapes_and_nothing_else(
    request_bytes: bytes, status: bytes
) -> None:
    async with asyncio.timeout(10), metrics_page("127.0.0.1", 0) as port:
        answer = await ask(port, request_bytes)
    assert answer.startswith(status)
    if b"200" in status:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"# TYPE grpc_server_call_duration_seconds histogram" in body
        assert f"Content-Length: {len(body)}".encode() in head
    else:
        assert b"# TYPE" not in answer
