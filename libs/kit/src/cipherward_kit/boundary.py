"""The RPC boundary: who may call, and where exceptions become statuses, log lines and metrics.

Every server of ours may answer these, besides what the comment of an RPC promises:

| status | reason | meaning | the caller |
|---|---|---|---|
| UNAUTHENTICATED | PEER_NOT_TRUSTED | the certificate does not prove its name | fixes it |
| PERMISSION_DENIED | CALLER_REFUSED | the method is for others, or not on this port | gives up |
| INVALID_ARGUMENT | DEADLINE_MISSING | one request, one response and no deadline | sets one |
| RESOURCE_EXHAUSTED | SERVER_BUSY | too many calls (or streams) in flight here | backs off |
| RESOURCE_EXHAUSTED | DISK_RESERVED | nothing that needs room is taken | comes back later |
| UNAVAILABLE | DRAINING | the server goes away, so an endless stream ends | reopens it |
| UNAVAILABLE | DEPENDENCY_AWAY | a service that this one needs does not answer | tries later |
| INTERNAL | (none, empty details) | our bug; the log has it | learns nothing |
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn, TypeAlias, cast

import grpc
import structlog
from grpc import aio
from prometheus_client import Counter, Histogram

from cipherward_kit.access import Access, CallerRefused, PeerRefused, current_caller
from cipherward_kit.disk import DiskReserve, DiskReserved
from cipherward_kit.drain import CALL_AGAIN, Draining
from cipherward_kit.errors import DETAILS_KEY, ServiceError, clipped
from cipherward_kit.tracing import begin_served, end_served

# Quoted: these generics exist in the stubs only, not at run time.
Context: TypeAlias = "aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Names, labels and methods without their first slash: as gRPC's proposal A66 says.
RPC_STARTED = Counter(
    "grpc_server_call_started", "RPCs begun, refused ones included.", ["grpc_method"]
)
# Buckets from 0.5 ms (a cached read) to 30 s (the unary deadline).
RPC_SECONDS = Histogram(
    "grpc_server_call_duration_seconds",
    "Wall time of one RPC.",
    ["grpc_method", "grpc_status"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RPC_REFUSALS = Counter(
    "cipherward_rpc_refusals",
    "RPCs refused, by the reason that the caller got.",
    ["grpc_method", "domain", "reason"],
)


class DeadlineMissing(ServiceError):
    """A call with one request and one response has no deadline."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "DEADLINE_MISSING"


class ServerBusy(ServiceError):
    """As many calls as this port allows are in flight."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "SERVER_BUSY"


class DependencyAway(ServiceError):
    """A call of ours to another service was not answered; raised by the boundary itself."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "DEPENDENCY_AWAY"


# What a call to a service that is down, starting or overloaded ends with.
AWAY = frozenset(
    (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,  # by the server, which has ended: we cancel by asyncio's error
    )
)

BOUNDARY_ERRORS: tuple[type[ServiceError], ...] = (
    PeerRefused,
    CallerRefused,
    DeadlineMissing,
    ServerBusy,
    DiskReserved,
    Draining,
    DependencyAway,
)


class RpcBoundary(aio.ServerInterceptor):
    """Wraps every handler of one port, so that no handler logs, times or maps errors itself."""

    def __init__(
        self,
        *,
        domain: str,
        member: str,
        access: Access,
        rpcs_max: int,
        disk: DiskReserve | None = None,
    ) -> None:
        """Guard a port.

        Args:
            domain: of every `ErrorInfo`, such as "storage.cipherward".
            member: whose server it is; only its own services are asked which trace a call is in.
            access: who may call.
            rpcs_max: calls in flight at once, and apart from them streams in flight at once, so
                that subscribers do not starve calls.
            disk: refuses what would grow the state when there is no room; None: nothing does.
        """
        self._domain = domain
        self._member = member
        self._access = access
        self._rpcs_max = rpcs_max
        self._disk = disk
        # Those in flight, by: is it a stream.
        self._calls: dict[bool, set[asyncio.Task[Any]]] = {False: set(), True: set()}
        self._ended = False
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the guarded handler of a known method; grpc asks for every RPC."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:  # unknown method: grpc answers UNIMPLEMENTED
                return None
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def end_calls(self) -> None:
        """Refuse the calls in flight as `Draining`; gRPC by itself would say CANCELLED."""
        self._ended = True
        for call in self._calls[False] | self._calls[True]:
            call.cancel()

    def _wrap(self, method: str, handler: Handler) -> Handler:
        # Exactly one of the four is set; the stubs type them for sync servers.
        inner: Any = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        is_stream = bool(handler.request_streaming or handler.response_streaming)

        async def unary(request: Any, context: Context) -> Any:
            async with self._guard(method, context, is_stream):
                return await inner(request, context)

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._guard(method, context, is_stream):
                responses = inner(request, context)
                if inspect.iscoroutine(responses):  # it calls context.write, as grpc's Watch does
                    await responses
                    return
                async with aclosing(responses):  # also when the client goes away at the yield
                    async for response in responses:
                        yield response
                        self._require_room(method)  # a stream may take something in for hours

        build: Any = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[bool(handler.request_streaming), bool(handler.response_streaming)]
        behavior = stream if handler.response_streaming else unary
        return build(behavior, handler.request_deserializer, handler.response_serializer)

    def _admit(self, method: str, context: Context, is_stream: bool) -> None:
        self._access.admit(method, context)
        # The stub says float; without a deadline grpc answers None.
        if not is_stream and cast("float | None", context.time_remaining()) is None:
            raise DeadlineMissing(f"{method} needs a deadline", method=method)
        if len(self._calls[is_stream]) > self._rpcs_max:
            raise ServerBusy(f"more than {self._rpcs_max} calls in flight", rpcs_max=self._rpcs_max)
        self._require_room(method)

    def _require_room(self, method: str) -> None:
        if self._disk is not None:
            self._disk.admit(method)

    @asynccontextmanager
    async def _guard(self, method: str, context: Context, is_stream: bool) -> AsyncGenerator[None]:
        started = time.perf_counter()
        code, reason, span, name = "OK", "", None, method.removeprefix("/")
        came_ns, call = time.time_ns(), cast("asyncio.Task[Any]", asyncio.current_task())
        RPC_STARTED.labels(name).inc()
        self._calls[is_stream].add(call)
        try:
            self._admit(method, context, is_stream)
            told = context.invocation_metadata() or ()
            span = begin_served(name, current_caller(), self._member, told, came_ns)
            yield
        except ServiceError as error:
            code, reason = error.code.name, error.reason
            await self._refuse(method, context, error)
        except aio.AbortError:  # grpc's own servicers abort by hand
            code = cast("Any", context).code().name  # the stub has no such method
            raise
        except Exception as error:
            if isinstance(error, aio.AioRpcError) and error.code() in AWAY:
                code, reason = DependencyAway.code.name, DependencyAway.reason
                log.warning("dependency_away", method=method, status=error.code().name)
                await self._refuse(method, context, DependencyAway("a service needed is away"))
            code, reason = "INTERNAL", ""
            log.exception("rpc_crashed", method=method)
            await context.abort(grpc.StatusCode.INTERNAL, "internal error")
        except asyncio.CancelledError:
            if not self._ended or context.done():  # the client went away
                code = "CANCELLED"
                raise
            call.uncancel()
            code, reason = Draining.code.name, Draining.reason
            await self._refuse(method, context, Draining(CALL_AGAIN))
        except BaseException:  # a stream whose client went away
            code = "CANCELLED"
            raise
        finally:
            self._calls[is_stream].discard(call)
            RPC_SECONDS.labels(name, code).observe(time.perf_counter() - started)
            if span is not None:
                end_served(span, code, reason)

    async def _refuse(self, method: str, context: Context, error: ServiceError) -> NoReturn:
        RPC_REFUSALS.labels(method.removeprefix("/"), self._domain, error.reason).inc()
        log.info("rpc_refused", method=method, reason=error.reason, metadata=error.metadata)
        trailers = ((DETAILS_KEY, error.details(self._domain)),)
        await context.abort(error.code, clipped(str(error)), trailing_metadata=trailers)
