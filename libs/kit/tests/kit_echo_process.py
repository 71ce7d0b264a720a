"""A service process for the tests of its life: run as a script, configured by its environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio
from pydantic import Field

from cipherward.rpc_rules import RpcRule
from cipherward_kit.config import ServerConfig
from cipherward_kit.datafolder import DataFolder
from cipherward_kit.drain import Drain
from cipherward_kit.own_identity import follow_identity
from cipherward_kit.process import run_service
from cipherward_kit.readiness import Readiness
from cipherward_kit.server import serve
from cipherward_kit.tls import TrustRegistry

SERVICE = "cipherward.echo.v1.EchoService"


class EchoConfig(ServerConfig):
    """The echo's settings."""

    crash: bool = Field(default=False, description="Crash at the start.")
    workers_seen: int = Field(default=0, ge=0, description="Unused; shows a service's own field.")

    def faults(self) -> list[str]:
        """Refuse crashing in production."""
        return [*super().faults(), *(["crash: is for tests"] if self.crash else [])]


async def serve_echo(config: EchoConfig) -> None:
    """Wire the echo."""
    if config.crash:
        passphrase = os.urandom(8).hex()
        raise KeyError(passphrase)
    drain, readiness = Drain(), Readiness("chain")
    readiness.set("chain", True)

    async def slow(request: bytes, _context: Any) -> bytes:
        await asyncio.sleep(float(request))  # how long the call is in flight is what is tested
        return b"done"

    async def forever(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        async def never() -> AsyncIterator[bytes]:
            yield b"first"
            await asyncio.get_running_loop().create_future()

        async for item in drain.until(never()):
            yield item

    def register(server: aio.Server) -> None:
        one: Any = slow
        out: Any = forever
        handlers: dict[str, Any] = {
            "Slow": grpc.unary_unary_rpc_method_handler(one),
            "Forever": grpc.unary_stream_rpc_method_handler(out),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    authority = await asyncio.to_thread(config.genesis_file.read_bytes)
    registry = TrustRegistry({config.member: authority})
    with DataFolder(config.data_dir, "test-chain", b"genesis"):
        async with follow_identity(config, registry, readiness) as identity:
            await serve(
                config,
                domain="echo.cipherward",
                identity=identity,
                registry=registry,
                register=register,
                readiness=readiness,
                drain=drain,
                rules={
                    f"/{SERVICE}/{name}": RpcRule("anyone", False, ())
                    for name in ("Slow", "Forever")
                },
            )


if __name__ == "__main__":
    run_service("echo", EchoConfig, serve_echo)
