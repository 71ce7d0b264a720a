"""A storage that the deny canaries found leaking is not ready, until they find it tight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpc import aio

from cipherward.storage.v1 import storage_service_pb2 as pb
from cipherward_kit.errors import reason_of
from cipherward_member.canaries import CANARIES

if TYPE_CHECKING:
    from conftest import OpenWorld


async def test_a_leak_ends_readiness_until_a_later_round_is_refused_again(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        assert world.readiness.ready
        for leaking in (["record"], []):
            report = pb.ReportCanariesRequest(leaking=leaking)
            await world.stub.ReportCanaries(report, timeout=10)
            assert (CANARIES in world.readiness.missing()) == bool(leaking)
        assert world.readiness.ready


async def test_a_report_that_names_no_path_or_is_not_of_the_member_is_refused(
    open_embedded_world: OpenWorld,
) -> None:
    async with open_embedded_world() as world:
        report = pb.ReportCanariesRequest(leaking=["a record's id"])
        for stub, reason in (
            (world.stub, "CANARY_REPORT_MALFORMED"),
            (world.holder, "CALLER_REFUSED"),
        ):
            with pytest.raises(aio.AioRpcError) as refused:
                await stub.ReportCanaries(report, timeout=10)
            assert reason_of(refused.value) == reason
        assert world.readiness.ready
