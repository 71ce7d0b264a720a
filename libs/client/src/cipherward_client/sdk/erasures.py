"""Erasure of a record (GDPR article 17): ordered, carried out by every member, and proven twice.

The first receipt proves the order: from its block on no key of the record is released. The others
prove each member's signed statement that it has destroyed what it had. They do not prove that
nobody kept a copy.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.acts import ID_BYTES
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import encode
from cipherward_chain.transactions import transaction_id
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import register_pseudonym
from cipherward_client.sdk.errors import CheckFailed, explained, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.proven_orders import OrderDiffers, block_at, orders_of
from cipherward_client.sdk.questions import Asker, ask
from cipherward_client.wallet.scopes import record_scope
from cipherward_client.wallet.wallet import Wallet

TEMPLATE, VERSION = "erasure", 1
ORDERED, OVERDUE, ERASED = "ordered", "overdue", "erased"
GET_CONTRACT = "/cipherward.contract.v1.ContractService/GetContract"
POLL_SECONDS = 0.5  # the custodian's statement comes with its next slot key, days later
BLOCKS_AT_ONCE = 16
# Guardians report within a few blocks of the order, the custodian in the block that completes the
# erasure: blocks between them are of other matters.
NEAR_BLOCKS = 200


class ErasureUnfinished(CheckFailed):
    """Not all members have erased what they had, and their time is over."""

    reason = "ERASURE_UNFINISHED"


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
        wallet.require_chain(alliance.chain_id)
        scope = record_scope(wallet.record(record_id).record_id)
        await register_pseudonym(alliance, wallet, scope)
        return await _erase(alliance, wallet.signer(scope), record_id, ground)


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
    erasure_id = secrets.token_bytes(ID_BYTES)
    start = chain_pb.Instantiate(
        template=TEMPLATE,
        version=VERSION,
        instance_id=erasure_id,
        terms=encode({"record": record_id, "ground": ground}),
    )
    act = await Submitter(alliance).submit([chain_pb.Act(instantiate=start)], signer)
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
        if isinstance(asker, Hospital):
            who = Asker.member(asker)
        else:
            who = await Asker.owner(alliance, asker, erasure.record_id)
        contract = who.alliance.contract
        answer = await ask(
            who,
            GET_CONTRACT,
            erasure.erasure_id,
            lambda read, left: contract.GetContract(pb.GetContractRequest(read=read), timeout=left),
        )
        return ErasureState(answer.contract.state, answer.contract.changed_height)


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
    return await erasure_statements(alliance, erasure, found.changed_height)


async def erasure_statements(
    alliance: Alliance, erasure: OrderedErasure, completed_height: int
) -> Mapping[str, Statement]:
    """Return the members' statements by member, each with its verified receipt.

    Args:
        completed_height: the block that completed the erasure.

    Raises:
        ClientError: a ledger does not answer, or a receipt does not verify.
    """
    with explaining():
        orders = await orders_of(alliance, erasure.act)
        order = next((one for one in orders if one.instruction == "erase_record"), None)
        if order is None:
            raise OrderDiffers("the act has erased nothing")
        near = min(completed_height, erasure.act.height + NEAR_BLOCKS)
        heights = sorted({*range(erasure.act.height + 1, near + 1), completed_height})
        places = asyncio.Semaphore(BLOCKS_AT_ONCE)

        async def reports_in(height: int) -> list[Statement]:
            async with places:
                return await _reports_in(alliance, height, (order.height, order.index))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(reports_in(height)) for height in heights]
        except ExceptionGroup as failures:
            raise explained(failures) from failures
        return {one.member: one for task in tasks for one in task.result()}


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
