"""Readiness: health that follows real state, as named conditions that must all be true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health_pb2
from prometheus_client import Gauge

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

# What a liveness probe asks for: the loop answers. A dependency that is away is no reason to
# restart a process, so no condition counts.
LIVE = "live"
STARTING = "starting"  # why a condition is false that nothing has been said about

READY = Gauge(
    "cipherward_service_ready", "1 while the condition for serving is true.", ["condition"]
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class UnknownCondition(KeyError):
    """A condition was set that this readiness was not made with."""


class Readiness:
    """Named conditions, all false until they are set; the process is ready when all are true."""

    def __init__(self, *conditions: str) -> None:
        self._why = dict.fromkeys(conditions, STARTING)
        self._stopped = ""
        self._changed = asyncio.Event()
        for condition in conditions:
            READY.labels(condition).set(0)

    def add(self, condition: str) -> None:
        """Make readiness depend on one more condition, false until it is set."""
        self._why[condition] = STARTING
        READY.labels(condition).set(0)
        self._tell()

    @property
    def ready(self) -> bool:
        """Whether every condition is true and the server does not stop."""
        return not self._stopped and not any(self._why.values())

    def missing(self) -> dict[str, str]:
        """Return why each condition that is not true is not."""
        return {condition: why for condition, why in self._why.items() if why}

    def set(self, condition: str, ok: bool, why: str = "") -> None:
        """Say whether a condition is true, and if not, why. Call it from the event loop.

        Raises:
            UnknownCondition: this readiness was not made with it.
        """
        if condition not in self._why:
            raise UnknownCondition(condition)
        reason = "" if ok else why or "not yet"
        if self._why[condition] == reason:
            return
        # A reason that changes, such as one with a time in it, is told once.
        if bool(self._why[condition]) != bool(reason) or self._why[condition] == STARTING:
            log.info("readiness", condition=condition, ready=ok, why=reason)
        self._why[condition] = reason
        READY.labels(condition).set(int(ok))
        self._tell()

    def stop(self) -> None:
        """Be not ready from now on, whatever the conditions: the server drains."""
        self._stopped = "draining"
        self._tell()

    def holds(self, name: str) -> bool | None:
        """Return whether a condition is true; None if this readiness was not made with it."""
        return None if name not in self._why else not self._stopped and not self._why[name]

    async def wait(self) -> None:
        """Return when the process is ready."""
        while not self.ready:
            await self._changed.wait()

    async def changes(self) -> AsyncIterator[bool]:
        """Yield whether the process is ready: now, and whenever something changed. Never ends."""
        while True:
            changed = self._changed
            yield self.ready
            await changed.wait()

    def _tell(self) -> None:
        self._changed.set()  # wakes those who wait on this one; later ones wait on the next
        self._changed = asyncio.Event()


class HealthService:
    """grpc.health.v1 over a `Readiness`, for the plaintext port of probes.

    The empty service name is the process as a whole, a condition's name that condition alone, and
    `LIVE` is SERVING as long as the process answers, also while it drains.

    grpc's own servicer is not used: it says SERVING until told otherwise, and a watcher that
    does not read its stream blocks every later change there.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        """Answer for the process as a whole, for one condition, or for `LIVE`."""
        serving = self._serving(request.service)
        if serving is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, "ask for the empty service name, live, or a condition"
            )
        return health_pb2.HealthCheckResponse(status=self._status(bool(serving)))

    async def watch(
        self, request: health_pb2.HealthCheckRequest, _context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Stream every change of the status."""
        if self._serving(request.service) is None:
            yield health_pb2.HealthCheckResponse(status=SERVICE_UNKNOWN)
            await asyncio.get_running_loop().create_future()  # as the protocol asks: never ends
        last: bool | None = None
        async for _ in self._readiness.changes():
            serving = bool(self._serving(request.service))
            if serving is not last:
                last = serving
                yield health_pb2.HealthCheckResponse(status=self._status(serving))

    def _serving(self, service: str) -> bool | None:
        if service == LIVE:
            return True
        return self._readiness.holds(service) if service else self._readiness.ready

    def _status(self, ready: bool) -> Any:
        return SERVING if ready else NOT_SERVING

    def generic_handler(self) -> grpc.GenericRpcHandler:
        """Return what a grpc server registers."""
        decode: Any = health_pb2.HealthCheckRequest.FromString
        encode: Any = health_pb2.HealthCheckResponse.SerializeToString
        check: Any = self.check  # the stubs type handlers for sync servers
        watch: Any = self.watch
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(check, decode, encode),
                "Watch": grpc.unary_stream_rpc_method_handler(watch, decode, encode),
            },
        )
