"""Erasure of a record (GDPR article 17): ordered, carried out by every member, and proven twice.

The first receipt proves the order: from its block on no key of the record is released. The others
prove each member's signed statement that it has destroyed what it had. They do not prove that
nobody kept a copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import encode
from cipherward_chain.fields import Fields
from cipherward_chain.transactions import transaction_id
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contract_acts import begin
from cipherward_client.sdk.contract_reads import read_contract
from cipherward_client.sdk.credentials import owners_signer
from cipherward_client.sdk.errors import CheckFailed, explained, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.proven_contracts import proven_contract
from cipherward_client.sdk.proven_orders import OrderDiffers, block_at, orders_of
from cipherward_client.sdk.questions import Asker
from cipherward_client.wallet.wallet import Wallet

TEMPLATE, VERSION = "erasure", 1
ORDERED, OVERDUE, ERASED = "ordered", "overdue", "erased"
POLL_SECONDS = 0.5  # the custodian's statement comes with its next slot key, days later
BLOCKS_AT_ONCE = 16  # a ledger answers one in a millisecond


class ErasureUnfinished(CheckFailed):
    """Not all members have erased what they had, and their time is over."""

    reason = "ERASURE_UNFINISHED"


class StatementMissing(CheckFailed):
    """The chain says that a member has reported the erasure, and no block has its report."""

    reason = "STATEMENT_MISSING"


@dataclass(frozen=True, slots=True)
class OrderedErasure:
    """An erasure on the chain: its contract, and the act that ordered it."""

    erasure_id: bytes
    record_id: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class Statement:
    """A member's report that it has erased the record: the digest (32 bytes) of what it signed, and
    the report's act with its receipt.
    """

    member: str
    digest: bytes
    act: ProvenAct


@dataclass(frozen=True, slots=True)
class ErasureState:
    """How far an erasure is: ordered, overdue, erased or unfinished, and since which block."""

    state: str
    changed_height: int


async def erase_record(
    alliance: Alliance, wallet: Wallet, record_id: bytes, ground: str = "consent-withdrawn"
) -> OrderedErasure:
    """Have a record of this wallet erased; when it returns, no key is released any more.

    Args:
        ground: of the template's closed list.

    Raises:
        ActRefused: it is erased already.
        ClientError: the record is not this wallet's.
    """
    with explaining():
        signer = await owners_signer(alliance, wallet, record_id)
        return await _erase(alliance, signer, record_id, ground)


async def erase_unclaimed(hospital: Hospital, record_id: bytes, ground: str) -> OrderedErasure:
    """Have a record erased that this hospital wrote and nobody owns.

    Raises:
        ActRefused: it has an owner, another author, or is erased already.
    """
    with explaining():
        return await _erase(hospital.alliance, hospital.signer, record_id, ground)


async def _erase(
    alliance: Alliance, signer: Signer, record_id: bytes, ground: str
) -> OrderedErasure:
    terms = encode({"record": record_id, "ground": ground})
    erasure_id, act = await begin(alliance, signer, TEMPLATE, VERSION, terms)
    return OrderedErasure(erasure_id, record_id, act)


async def erasure_state(
    alliance: Alliance, asker: Wallet | Hospital, erasure: OrderedErasure
) -> ErasureState:
    """Return how far an erasure is.

    Args:
        asker: the record's owner, or a member.

    Raises:
        ClientError: the asker may not know.
    """
    with explaining():
        who = await _asker(alliance, asker, erasure)
        found = await read_contract(who, erasure.erasure_id)
        return ErasureState(found.state, found.changed_height)


async def _asker(alliance: Alliance, asker: Wallet | Hospital, erasure: OrderedErasure) -> Asker:
    if isinstance(asker, Hospital):
        return Asker.member(asker)
    return await Asker.owner(alliance, asker, erasure.record_id)


async def wait_erased(
    alliance: Alliance, asker: Wallet | Hospital, erasure: OrderedErasure, *, seconds: float
) -> Mapping[str, Statement]:
    """Return every member's statement, proven, as soon as the erasure is complete.

    Raises:
        ClientError: DEADLINE_EXCEEDED: it is not complete in that time; or it ended unfinished.
    """
    with explaining():
        async with asyncio.timeout(seconds):
            while True:
                found = await erasure_state(alliance, asker, erasure)
                if found.state not in (ORDERED, OVERDUE):
                    break
                await asyncio.sleep(POLL_SECONDS)
        if found.state != ERASED:
            raise ErasureUnfinished(f"the erasure is {found.state}")
    return await erasure_statements(alliance, asker, erasure)


async def erasure_statements(
    alliance: Alliance, asker: Wallet | Hospital, erasure: OrderedErasure
) -> Mapping[str, Statement]:
    """Return the members' statements by member, each with its verified receipt.

    All that count: who reports after the block that completed the erasure is refused. The contract,
    as the chain proves it, says whose they are; they are looked for in the blocks between.

    Args:
        asker: the record's owner, or a member.

    Raises:
        ClientError: the erasure is not complete, a ledger does not answer, a receipt does not
            verify, or STATEMENT_MISSING: a ledger's blocks lack a report.
    """
    with explaining():
        orders = await orders_of(alliance, erasure.act)
        order = next((one for one in orders if one.instruction == "erase_record"), None)
        if order is None:
            raise OrderDiffers("the act has erased nothing")
        contract = await proven_contract(await _asker(alliance, asker, erasure), erasure.erasure_id)
        if contract.state != ERASED:
            raise ErasureUnfinished(f"the erasure is {contract.state}")
        wanted = Fields(contract.variables).mapping("statements")
        found: dict[str, Statement] = {}
        for heights in from_both_ends(order.height + 1, contract.changed_height):
            for one in await _reports_among(alliance, heights, (order.height, order.index)):
                if wanted.get(one.member) == one.digest:
                    found[one.member] = one
            if len(found) == len(wanted):
                return found
        missing = ", ".join(sorted(set(wanted) - set(found)))
        raise StatementMissing(f"no block has the report of {missing}")


def from_both_ends(first: int, last: int) -> Iterator[range]:
    """Yield the heights from first to last in runs of at most BLOCKS_AT_ONCE, each height once.

    By turns from the front, where guardians report, and from the back, where the custodian
    completes it: days of other blocks may lie between.
    """
    while first <= last:
        end = min(first + BLOCKS_AT_ONCE - 1, last)
        yield range(first, end + 1)
        first = end + 1
        begin = max(last - BLOCKS_AT_ONCE + 1, first)
        if begin <= last:
            yield range(begin, last + 1)
        last = begin - 1


async def _reports_among(
    alliance: Alliance, heights: range, order: tuple[int, int]
) -> list[Statement]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_reports_in(alliance, one, order)) for one in heights]
    except ExceptionGroup as failures:
        raise explained(failures) from failures
    return [one for task in tasks for one in task.result()]


async def _reports_in(alliance: Alliance, height: int, order: tuple[int, int]) -> list[Statement]:
    """Return the reports about an order that a block holds, as their receipts prove them."""
    found: list[Statement] = []
    for raw in (await block_at(alliance, height)).transactions:
        transaction = chain_pb.Transaction.FromString(raw)
        body = chain_pb.TransactionBody.FromString(transaction.body)
        for act in body.acts:
            named = (act.report.order.height, act.report.order.index)
            if act.WhichOneof("act") != "report" or named != order:
                continue
            proven = await Submitter(alliance).receipt(transaction_id(transaction.body))
            if proven.result.applied and act.report.outcome == chain_pb.OUTCOME_DONE:
                signed = chain_pb.Authorization.FromString(transaction.authorization).member
                found.append(Statement(signed.member_id, act.report.digest, proven))
    return found
