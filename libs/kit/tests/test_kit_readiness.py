"""Health follows named conditions, for probes that ask and for those that watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from cipherward_kit.readiness import Readiness, UnknownCondition
from cipherward_kit.testing import Served, TestAlliance, serve_in_process

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture
async def served(echo: Any, alliance: TestAlliance) -> AsyncIterator[Served]:
    async with serve_in_process(
        echo.register,
        domain=echo.domain,
        alliance=alliance,
        service="echo",
        rules=echo.rules,
        readiness=Readiness("chain", "store"),
    ) as served:
        yield served


@pytest.fixture
async def health(served: Served) -> AsyncIterator[Any]:
    async with aio.insecure_channel(f"127.0.0.1:{served.ports.health}") as channel:
        stub: Any = health_pb2_grpc.HealthStub
        yield stub(channel)


ASK = health_pb2.HealthCheckRequest()


async def test_a_process_is_ready_when_every_condition_is_true(served: Served, health: Any) -> None:
    assert (await health.Check(ASK)).status == NOT_SERVING
    served.readiness.set("chain", True)
    assert (await health.Check(ASK)).status == NOT_SERVING
    assert served.readiness.missing() == {"store": "starting"}
    served.readiness.set("store", True)
    assert (await health.Check(ASK)).status == SERVING
    served.readiness.set("chain", False, "no block for 40 s")
    assert (await health.Check(ASK)).status == NOT_SERVING
    assert served.readiness.missing() == {"chain": "no block for 40 s"}


async def test_why_a_process_is_not_ready_is_one_line_of_its_log_from_the_start_on() -> None:
    readiness = Readiness("store")
    with capture_logs() as lines:
        for why in ("the database does not answer", "the database has not answered for 7 s"):
            readiness.set("store", False, why)
        readiness.set("store", True)
    told = [(line["condition"], line["ready"], line["why"]) for line in lines]
    assert told == [("store", False, "the database does not answer"), ("store", True, "")]


async def test_a_watcher_sees_every_turn_and_nothing_twice(served: Served, health: Any) -> None:
    watch = health.Watch(ASK)
    assert (await watch.read()).status == NOT_SERVING
    served.readiness.set("chain", True)  # no turn yet
    served.readiness.set("store", True)
    assert (await watch.read()).status == SERVING
    served.readiness.stop()
    assert (await watch.read()).status == NOT_SERVING
    served.readiness.set("store", False)
    served.readiness.set("store", True)  # draining: it does not come back
    assert (await health.Check(ASK)).status == NOT_SERVING
    watch.cancel()


async def test_a_watcher_that_does_not_read_holds_nobody_up(served: Served, health: Any) -> None:
    lazy = health.Watch(ASK)
    await lazy.initial_metadata()
    for turn in range(50):
        served.readiness.set("chain", turn % 2 == 0)
        served.readiness.set("store", True)
    served.readiness.set("chain", True)
    assert (await health.Check(ASK, timeout=5)).status == SERVING
    lazy.cancel()


async def test_a_condition_is_asked_for_by_its_name(served: Served, health: Any) -> None:
    chain = health_pb2.HealthCheckRequest(service="chain")
    watch = health.Watch(chain)
    assert (await watch.read()).status == NOT_SERVING
    served.readiness.set("chain", True)
    assert (await watch.read()).status == SERVING
    assert (await health.Check(chain)).status == SERVING
    assert (await health.Check(ASK)).status == NOT_SERVING  # the store is still away
    served.readiness.stop()
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_a_process_is_live_while_it_is_not_ready_and_while_it_drains(
    served: Served, health: Any
) -> None:
    live = health_pb2.HealthCheckRequest(service="live")
    assert (await health.Check(ASK)).status == NOT_SERVING
    assert (await health.Check(live)).status == SERVING
    served.readiness.stop()
    assert (await health.Check(live)).status == SERVING


async def test_other_service_names_are_unknown(health: Any) -> None:
    request = health_pb2.HealthCheckRequest(service="other")
    with pytest.raises(aio.AioRpcError) as caught:
        await health.Check(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = health.Watch(request)
    assert (await watch.read()).status == SERVICE_UNKNOWN
    watch.cancel()


async def test_the_health_port_serves_nothing_else(served: Served) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{served.ports.health}") as channel:
        method: Any = getattr(channel, "unary_unary")  # noqa: B009 - untyped on purpose
        with pytest.raises(aio.AioRpcError) as caught:
            await method("/cipherward.echo.v1.EchoService/Anyone")(b"x", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_one_can_wait_until_it_is_ready() -> None:
    readiness = Readiness("chain")
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(readiness.wait())
        readiness.set("chain", True)


def test_the_gauge_follows() -> None:
    readiness = Readiness("gauge-test")
    labels = {"condition": "gauge-test"}
    assert REGISTRY.get_sample_value("cipherward_service_ready", labels) == 0
    readiness.set("gauge-test", True)
    assert REGISTRY.get_sample_value("cipherward_service_ready", labels) == 1


def test_a_condition_nobody_declared_is_an_error() -> None:
    with pytest.raises(UnknownCondition):
        Readiness("chain").set("chian", True)
