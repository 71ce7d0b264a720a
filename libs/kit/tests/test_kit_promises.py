"""The check that services use to hold comments, code and tests to each other."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import grpc
import pytest

from cipherward.rpc_rules import RpcRule
from cipherward_kit.errors import ServiceError
from cipherward_kit.testing import (
    TestAlliance,
    assert_promises_kept,
    eventually,
    promises_last,
    seen_reasons,
    serve_in_process,
)

PACKAGE = "cipherward.demo.v1"
DOMAIN = "demo.cipherward"


def module_with(*reasons: str) -> ModuleType:
    module = ModuleType("demo_errors")
    for reason in reasons:
        body = {"code": grpc.StatusCode.NOT_FOUND, "reason": reason, "__module__": "demo_errors"}
        setattr(module, reason.title(), type(reason.title(), (ServiceError,), body))
    module.__dict__["ServiceError"] = ServiceError  # imported, not defined there
    return module


def rules(*errors: str) -> dict[str, RpcRule]:
    return {f"/{PACKAGE}.DemoService/Get": RpcRule("anyone", True, errors)}


def seen(*reasons: str) -> set[tuple[str, str]]:
    return {(DOMAIN, reason) for reason in reasons}


def test_promises_that_are_kept_pass() -> None:
    promised = rules("NOT_FOUND/GONE", "NOT_FOUND/LOST", "UNAVAILABLE/DRAINING")
    module = module_with("GONE", "LOST")
    assert_promises_kept(DOMAIN, [module], [PACKAGE], seen("GONE", "LOST"), rules=promised)
    assert_promises_kept(
        DOMAIN, [module], [f"{PACKAGE}.DemoService"], seen("GONE", "LOST"), rules=promised
    )


@pytest.mark.parametrize(
    ("defined", "promised", "provoked", "complaint"),
    [
        (["GONE", "LOST"], ["GONE"], ["GONE", "LOST"], "raised, not promised: .*LOST"),
        (["GONE"], ["GONE", "LOST"], ["GONE", "LOST"], "promised, not defined: .*LOST"),
        (["GONE", "LOST"], ["GONE", "LOST"], ["GONE"], "provoked by no test: .*LOST"),
        (["GONE"], [], ["GONE"], "promise no error"),
    ],
)
def test_each_broken_promise_is_named(
    defined: list[str], promised: list[str], provoked: list[str], complaint: str
) -> None:
    with pytest.raises(AssertionError, match=complaint):
        assert_promises_kept(
            DOMAIN,
            [module_with(*defined)],
            [PACKAGE],
            seen(*provoked),
            rules=rules(*(f"NOT_FOUND/{reason}" for reason in promised)),
        )


def test_another_code_is_another_promise() -> None:
    with pytest.raises(AssertionError, match="not promised"):
        assert_promises_kept(
            DOMAIN, [module_with("GONE")], [PACKAGE], seen("GONE"), rules=rules("ABORTED/GONE")
        )


async def test_reasons_are_seen_where_a_boundary_refused(
    echo: object, alliance: TestAlliance
) -> None:
    domain = "seen.cipherward"
    service = SimpleNamespace(register=getattr(echo, "register"))  # noqa: B009 - a fixture's
    async with serve_in_process(
        service.register, domain=domain, alliance=alliance, service="echo", rules={}
    ) as served:
        channel: object = served.holder_channel()
        method = getattr(channel, "unary_unary")("/cipherward.echo.v1.EchoService/Anyone")  # noqa: B009
        with pytest.raises(grpc.RpcError):
            await method(b"x")
    await eventually(lambda: (domain, "CALLER_REFUSED") in seen_reasons())


def test_the_promises_test_runs_last() -> None:
    items = [SimpleNamespace(name=name) for name in ("b", "test_every_promise_is_kept", "a")]
    promises_last(items)
    assert [item.name for item in items] == ["b", "a", "test_every_promise_is_kept"]
