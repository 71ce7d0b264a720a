"""A contract service that the member's deny canaries found leaking is not ready meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_kit.errors import reason_of
from cipherward_member.canaries import CANARIES

if TYPE_CHECKING:
    from conftest import ServedStory


async def test_a_leak_ends_readiness_until_a_later_round_is_refused_again(
    serving: ServedStory,
) -> None:
    stub, readiness = serving.stub(service="client"), serving.served.readiness
    for leaking in (["decide"], []):
        await stub.ReportCanaries(pb.ReportCanariesRequest(leaking=leaking), timeout=10)
        assert (CANARIES in readiness.missing()) == bool(leaking)


async def test_a_report_that_names_no_path_or_is_not_of_the_member_is_refused(
    serving: ServedStory,
) -> None:
    report = pb.ReportCanariesRequest(leaking=["DECIDE"])
    for stub, reason in (
        (serving.stub(service="client"), "CANARY_REPORT_MALFORMED"),
        (serving.stub("hospital-b", "client"), "CALLER_REFUSED"),
        (serving.holder(), "CALLER_REFUSED"),
    ):
        with pytest.raises(aio.AioRpcError) as refused:
            await stub.ReportCanaries(report, timeout=10)
        assert reason_of(refused.value) == reason
    assert CANARIES not in serving.served.readiness.missing()
