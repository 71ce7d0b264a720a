"""`serve`: the whole life of a gRPC process, from its ports to its graceful exit."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from grpc import aio

from cipherward_kit.access import ALL_RULES, Access, Rules
from cipherward_kit.boundary import RpcBoundary
from cipherward_kit.config import ProcessConfig, ServerConfig, env_name
from cipherward_kit.connection_age import CONNECTION_AGE, ConnectionAge
from cipherward_kit.credentials import holder_credentials, server_credentials
from cipherward_kit.datafolder import write_atomically
from cipherward_kit.disk import DiskReserve
from cipherward_kit.drain import Drain
from cipherward_kit.errors import CannotStart
from cipherward_kit.metrics import metrics_page
from cipherward_kit.readiness import HealthService, Readiness
from cipherward_kit.tls import Presented, TrustRegistry

Register = Callable[[aio.Server], None]

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Probes and scrapes are small and few.
HEALTH_RPCS_MAX = 64
# The part of their grace after which calls in flight are refused: the answers must still leave.
CALLS_SHARE = 0.8
HEALTH_BYTES_MAX = 64 * 1024  # of a message of theirs: the name of a service, or a word
# A dead peer is noticed in 30 s + 10 s; clients of ours may ping as often as every 10 s.
KEEPALIVE_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class PortInUse(CannotStart):
    """An address cannot be bound."""

    exit_status = 3


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that were bound; `holder` is None when holders are not served, `listen` 0 when
    nobody is.
    """

    listen: int
    holder: int | None
    health: int
    metrics: int


@dataclass(frozen=True, slots=True)
class Surface:
    """What a process serves: the same servicers on the services' and on the holders' port.

    domain: of every `ErrorInfo`, such as "storage.cipherward".
    also_own: members that "own" means besides this server's; in a solo alliance, all.
    growing: names of the methods that make the state grow: refused when the disk is short.
    age: of a caller's connection.
    """

    domain: str
    register: Register
    registry: TrustRegistry
    also_own: frozenset[str]
    rules: Rules
    age: ConnectionAge = CONNECTION_AGE
    growing: frozenset[str] = frozenset()


async def serve(
    config: ServerConfig,
    *,
    domain: str,
    identity: Presented,
    registry: TrustRegistry,
    register: Register,
    readiness: Readiness,
    drain: Drain | None = None,
    also_own: Collection[str] = (),
    rules: Rules = ALL_RULES,
    growing: Collection[str] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    The order is the contract with Kubernetes: health turns NOT_SERVING and endless streams end,
    we wait `drain_seconds` for endpoints to notice (calls are still served), then the calls in
    flight get `grace_seconds`. Resources are closed by the caller's `async with`, after.

    Args:
        config: addresses, limits.
        domain: of every `ErrorInfo`, such as "storage.cipherward".
        identity: what both ports show; each handshake shows what it is then.
        registry: the members' certificate authorities.
        register: adds the servicers to a server; called once for each of the two ports.
        readiness: what health follows.
        drain: begun when draining begins; give the one that the endless streams use.
        also_own: members that "own" means besides `config.member`.
        rules: who may call which method.
        growing: names of the methods that are refused when the disk is full down to its reserve.

    Raises:
        PortInUse: an address cannot be bound.
    """
    own, grows = frozenset(also_own), frozenset(growing)
    surface = Surface(domain, register, registry, own, rules, growing=grows)
    bound = listening(config, identity, surface, readiness)
    await _live(config, domain, readiness, drain or Drain(), bound)


async def serve_probes(
    config: ProcessConfig, *, domain: str, readiness: Readiness, drain: Drain
) -> None:
    """Live as `serve` does, for a process that asks others and serves only probes and scrapers.

    Args:
        config: addresses of health and metrics; those for callers are not bound.
        domain: its name in the log.
        readiness: what health follows.
        drain: begun when draining begins.

    Raises:
        PortInUse: an address cannot be bound.
    """
    await _live(config, domain, readiness, drain, probing(config, readiness))


async def _live(
    config: ProcessConfig,
    domain: str,
    readiness: Readiness,
    drain: Drain,
    bound: AbstractAsyncContextManager[Ports],
) -> None:
    with _signals() as stop:
        async with bound as ports:
            if config.ready_file is not None:
                await asyncio.to_thread(_announce, config.ready_file, ports)
            log.info("serving", domain=domain, **asdict(ports))
            await stop.wait()
            log.info("draining", drain_seconds=config.drain_seconds)
            readiness.stop()
            drain.begin()
            await asyncio.sleep(config.drain_seconds)
    log.info("stopped")


@asynccontextmanager
async def probing(config: ProcessConfig, readiness: Readiness) -> AsyncGenerator[Ports]:
    """Serve health and metrics while the context is open."""
    async with AsyncExitStack() as stack:
        host, _, number = config.metrics_listen.rpartition(":")
        with _binding("metrics_listen", config.metrics_listen):
            metrics = await stack.enter_async_context(metrics_page(host.strip("[]"), int(number)))
        health = aio.server(
            maximum_concurrent_rpcs=HEALTH_RPCS_MAX, options=_options(HEALTH_BYTES_MAX)
        )
        health.add_generic_rpc_handlers((HealthService(readiness).generic_handler(),))
        with _binding("health_listen", config.health_listen):
            health_port = health.add_insecure_port(config.health_listen)
        # Watchers of health never hang up: they get no grace.
        stack.push_async_callback(health.stop, None)
        await health.start()
        yield Ports(0, None, health_port, metrics)


@asynccontextmanager
async def listening(
    config: ServerConfig, identity: Presented, surface: Surface, readiness: Readiness
) -> AsyncGenerator[Ports]:
    """Bind and serve every port while the context is open; at its end calls get their grace."""
    async with AsyncExitStack() as stack:
        probes = await stack.enter_async_context(probing(config, readiness))
        disk = DiskReserve(config.data_dir, config.log_reserve_bytes, surface.growing)
        await stack.enter_async_context(disk.watched(readiness))
        services, boundary = _server(config, surface, surface.registry, disk)
        with _binding("listen", config.listen):
            port = services.add_secure_port(
                config.listen, server_credentials(identity, surface.registry)
            )
        servers = {services: boundary}
        holder_port = None
        if config.holder_listen is not None:
            holders, boundary = _server(config, surface, None, disk)
            with _binding("holder_listen", config.holder_listen):
                holder_port = holders.add_secure_port(
                    config.holder_listen, holder_credentials(identity)
                )
            servers[holders] = boundary
        stack.push_async_callback(_stop_all, servers, config.grace_seconds)
        for server in servers:
            await server.start()
        yield Ports(port, holder_port, probes.health, probes.metrics)


def _options(message_bytes_max: int) -> list[tuple[str, int]]:
    return [
        # Without this two processes may share a port and each serve half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", message_bytes_max),
        ("grpc.max_send_message_length", message_bytes_max),
        *KEEPALIVE_OPTIONS,
    ]


def _server(
    config: ServerConfig, surface: Surface, registry: TrustRegistry | None, disk: DiskReserve
) -> tuple[aio.Server, RpcBoundary]:
    """Make the server of one port; without a registry it is the holders'."""
    access = Access(surface.rules, surface.also_own | {config.member}, registry)
    boundary = RpcBoundary(
        domain=surface.domain,
        member=config.member,
        access=access,
        rpcs_max=config.rpcs_max,
        disk=disk,
    )
    server = aio.server(
        interceptors=[boundary],
        options=_options(config.message_bytes_max) + surface.age.options(),
        # The boundary refuses with a reason long before; this bounds even the refusals.
        maximum_concurrent_rpcs=4 * config.rpcs_max,
    )
    surface.register(server)
    return server, boundary


@contextmanager
def _binding(setting: str, address: str) -> Generator[None]:
    """Turn every way in which binding `address` fails into `PortInUse`."""
    try:
        _try_to_bind(address)  # gRPC's own message does not say why, and it logs a line by itself
        yield
    except (RuntimeError, OSError) as error:  # RuntimeError is gRPC's
        cause = error.strerror if isinstance(error, OSError) else "taken just now"
        raise PortInUse(
            f"cannot bind {address} ({env_name(setting)}): {cause}; "
            "stop the process that uses it or give another address"
        ) from None


def _try_to_bind(address: str) -> None:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, int(port)), family=family).close()


async def _stop_all(servers: Mapping[aio.Server, RpcBoundary], grace_seconds: float) -> None:
    def end_calls() -> None:
        for boundary in servers.values():
            boundary.end_calls()

    ending = asyncio.get_running_loop().call_later(CALLS_SHARE * grace_seconds, end_calls)
    try:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.stop(grace_seconds))
    finally:
        ending.cancel()


@contextmanager
def _signals() -> Generator[asyncio.Event]:
    """Turn SIGTERM and SIGINT into an event while the context is open."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    try:
        yield stop
    finally:
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)


def _announce(ready_file: Path, ports: Ports) -> None:
    """Write the bound ports where whoever started this process waits for them."""
    content = json.dumps({**asdict(ports), "pid": os.getpid()})
    write_atomically(ready_file, content.encode())
