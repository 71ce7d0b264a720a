"""Who saw a record: every access that went through the chain, each with its proof.

The list comes from the contract's index; every row is believed only as far as its receipts prove
it. An access that a custodian gave without the chain cannot be seen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import Value, decode_map
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.transactions import ParsedTransaction
from cipherward_chain.wire import timestamp_ns
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.emergencies import PURPOSE
from cipherward_client.sdk.emergencies import TEMPLATE as EMERGENCY_ACCESS
from cipherward_client.sdk.errors import CheckFailed, explained, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import RECEIPTS_AT_ONCE, ProvenAct, Submitter
from cipherward_client.sdk.questions import Asker, ask, every_page
from cipherward_client.wallet.wallet import Wallet

METHOD = "/cipherward.contract.v1.ContractService/ListDisclosures"
PAGE_ROWS = 100  # the most that a page has
REFUSED, ORDERED, CARRIED_OUT, FAILED = "refused", "ordered", "carried out", "failed"
_STAGES = {
    pb.DISCLOSURE_STAGE_REFUSED: REFUSED,
    pb.DISCLOSURE_STAGE_ORDERED: ORDERED,
    pb.DISCLOSURE_STAGE_CARRIED_OUT: CARRIED_OUT,
    pb.DISCLOSURE_STAGE_FAILED: FAILED,
}


class DisclosureDiffers(CheckFailed):
    """A receipt proves something else than the row that it belongs to says."""

    reason = "DISCLOSURE_DIFFERS"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One access, or one refused attempt.

    `stage` is refused, ordered, carried out or failed; `reason` says why it was refused. `member`
    and `role` are who asked. `receipt` proves the act, `report_receipt` (or empty) the custodian's
    signed word that it was carried out or failed.
    """

    time_seconds: int
    member: str
    role: str
    purpose: str
    stage: str
    reason: str
    grant_id: bytes
    height: int
    receipt: bytes = field(repr=False)
    report_receipt: bytes = field(repr=False)


async def audit_record(
    alliance: Alliance, asker: Wallet | Hospital, record_id: bytes
) -> list[AuditRow]:
    """Return every access to a record, oldest first, with all receipts verified.

    Args:
        asker: the record's owner, or its author or custodian.

    Raises:
        ClientError: the asker may not know, or a receipt does not prove its row.
    """
    with explaining():
        if isinstance(asker, Hospital):
            who = Asker.member(asker)
        else:
            who = await Asker.owner(alliance, asker, asker.record(record_id).record_id)
        rows = await _disclosures(who, record_id)
        checks = asyncio.Semaphore(RECEIPTS_AT_ONCE)

        async def checked(row: pb.Disclosure) -> AuditRow:
            async with checks:
                return await _row(alliance, row)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(checked(row)) for row in rows]
        except BaseExceptionGroup as failures:
            raise explained(failures) from failures
        return [task.result() for task in tasks]


async def _disclosures(asker: Asker, record_id: bytes) -> Sequence[pb.Disclosure]:
    def page(token: str) -> Awaitable[pb.ListDisclosuresResponse]:
        return ask(
            asker,
            METHOD,
            record_id,
            lambda read, left: asker.alliance.contract.ListDisclosures(
                pb.ListDisclosuresRequest(read=read, page_size=PAGE_ROWS, page_token=token),
                timeout=left,
            ),
        )

    return [row async for found in every_page(page) for row in found.disclosures]


async def _row(alliance: Alliance, row: pb.Disclosure) -> AuditRow:
    stage = _STAGES.get(row.stage)
    if stage is None:
        raise DisclosureDiffers("a row has no stage")
    submitter = Submitter(alliance)
    act = await submitter.receipt(row.transaction_id)
    _check_act(alliance, act, row)
    report = b""
    if row.report_transaction_id:
        proven = await submitter.receipt(row.report_transaction_id)
        _check_report(alliance, proven, row)
        report = proven.receipt
    elif stage in (CARRIED_OUT, FAILED):
        raise DisclosureDiffers("a row says what no report proves")
    return AuditRow(
        time_seconds=act.time_seconds,
        member=row.member,
        role=row.role,
        purpose=row.purpose,
        stage=stage,
        reason=row.reason,
        grant_id=row.instance_id,
        height=act.height,
        receipt=act.receipt,
        report_receipt=report,
    )


def _check_act(alliance: Alliance, act: ProvenAct, row: pb.Disclosure) -> None:
    """The receipt proves that act, at that time, with that outcome, by somebody of that member."""
    verified = verify_receipt(act.receipt, alliance.trust_root)
    refused = row.stage == pb.DISCLOSURE_STAGE_REFUSED
    same = (
        (act.height, verified.time_ns) == (row.height, timestamp_ns(row.time))
        and act.result.applied == (not refused)
        and act.result.reason == row.reason
    )
    if not same or not _opens(verified.transaction, row.instance_id, row.purpose):
        raise DisclosureDiffers("a receipt does not prove its row")
    if not refused:
        first, count = act.result.first_order, act.result.order_count
        if row.order.height != act.height or not 0 <= row.order.index - first < count:
            raise DisclosureDiffers("a row names an order that its act did not make")


def _opens(transaction: ParsedTransaction, instance_id: bytes, purpose: str) -> bool:
    """Say whether a transaction asks that contract to open, for that purpose."""
    return any(_asks(act, instance_id) == purpose for act in transaction.body.acts)


def _asks(act: chain_pb.Act, instance_id: bytes) -> Value | None:
    """Return the purpose for which an act asks a contract to open; None if it does not ask it."""
    kind = act.WhichOneof("act")
    if kind == "transition" and act.transition.instance_id == instance_id:
        return decode_map(act.transition.arguments).get("purpose", "")
    if kind == "instantiate" and act.instantiate.instance_id == instance_id:
        # An emergency opens by beginning, and has one purpose.
        return PURPOSE if act.instantiate.template == EMERGENCY_ACCESS else None
    return None


def _check_report(alliance: Alliance, report: ProvenAct, row: pb.Disclosure) -> None:
    """The report is a member's, about that order, with that outcome."""
    verified = verify_receipt(report.receipt, alliance.trust_root)
    authorization = verified.transaction.authorization
    member = alliance.members.get(authorization.member.member_id)
    wanted = (
        chain_pb.OUTCOME_DONE
        if row.stage == pb.DISCLOSURE_STAGE_CARRIED_OUT
        else chain_pb.OUTCOME_FAILED
    )
    named = any(
        act.WhichOneof("act") == "report"
        and act.report.order == row.order
        and act.report.outcome == wanted
        for act in verified.transaction.body.acts
    )
    signed = member is not None and member.public_key == authorization.member.public_key
    if not (named and signed and report.result.applied):
        raise DisclosureDiffers("a report does not prove its row")
