"""Telling the member's own services what leaks: a service that gave too much is taken out."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.storage.v1 import storage_service_pb2 as storage_pb
from cipherward_client.sdk.hospital import Hospital

TELL_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def tell(hospital: Hospital, leaking: Sequence[str]) -> None:
    """Tell the member's storage, and its contract service if it runs one, which paths leak.

    Who is away is told after the next round, like whoever has restarted and forgotten.
    """
    alliance, member = hospital.alliance, hospital.member
    try:
        report = storage_pb.ReportCanariesRequest(leaking=leaking)
        await alliance.storage_of(member).ReportCanaries(report, timeout=TELL_SECONDS)
    except aio.AioRpcError:
        log.warning("canary_report_undelivered", service="storage")
    if "contract" not in alliance.endpoints.by_member.get(member, {}):
        return
    try:
        stub = ContractServiceStub(alliance.channel(member, "contract"))
        report = contract_pb.ReportCanariesRequest(leaking=leaking)
        await stub.ReportCanaries(report, timeout=TELL_SECONDS)
    except aio.AioRpcError:
        log.warning("canary_report_undelivered", service="contract")
