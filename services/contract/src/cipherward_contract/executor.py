"""Executing a block: from its transactions to results, orders and writes. Pure: nothing is stored.

In a non-empty block, in this order: ids that have expired are forgotten, due timers fire, each
transaction is applied or refused, and the entry that proves the orders is written. An empty block
changes nothing, so that its app hash is the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.orders import ORDERS_KEY, OrdersEntry
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import (
    ParsedTransaction,
    TransactionMalformed,
    TransactionTooLarge,
    parse_transaction,
)
from cipherward_chain.wire import NANOS
from cipherward_contract.actors import Actor, actor_of
from cipherward_contract.acts import perform
from cipherward_contract.blocks import Block
from cipherward_contract.catalogue import asks_for_access
from cipherward_contract.entries import TIMER, TIMER_END, TRANSACTION, transaction_entry
from cipherward_contract.index_rows import AccessAsked, Asker, IndexRow
from cipherward_contract.machine import open_case
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.steps import fire_timers
from cipherward_contract.templates.values import FieldType

# Ids forgotten in one block: more than a block of 2 MiB of the smallest transactions (about 180
# bytes) brings, so that they never pile up.
FORGOTTEN_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a block comes to: results, serialised orders, the state's writes, index rows."""

    results: Sequence[TransactionResult]
    orders: Sequence[bytes]
    writes: Mapping[bytes, bytes | None]
    rows: Sequence[IndexRow]


def execute(block: Block, transactions: Sequence[bytes], expired: Sequence[bytes]) -> Outcome:
    """Execute a block that has no writes yet.

    Args:
        transactions: as decided; what cannot be parsed is refused like any other.
        expired: the ids to forget, at most FORGOTTEN_MAX.
    """
    results: list[TransactionResult] = []
    if transactions:
        for transaction_id in expired:
            block.state.delete(TRANSACTION + transaction_id)
        fire_timers(block)
        for raw in transactions:
            results.append(_apply(block, raw))
        entry = OrdersEntry.of(block.height, block.orders)
        block.state.put(ORDERS_KEY, entry.to_bytes())
    return Outcome(results, block.orders, block.state.writes, block.rows)


def next_timer(block: Block) -> int | None:
    """Return when, in Unix seconds, the next timer falls due; None when none waits."""
    first = block.state.scan(TIMER, TIMER_END, 1)
    return int.from_bytes(first[0][0][len(TIMER) : len(TIMER) + 8], "big") if first else None


def _apply(block: Block, raw: bytes) -> TransactionResult:
    try:
        transaction = parse_transaction(raw)
        _check_new(block, transaction)
    except TransactionTooLarge as error:
        return _refused(Refused(Reason.TRANSACTION_TOO_LARGE, str(error)))
    except TransactionMalformed as error:
        return _refused(Refused(Reason.TRANSACTION_MALFORMED, str(error)))
    except Refused as error:
        return _refused(error)
    block.state.put(TRANSACTION + transaction.id, transaction_entry(transaction.expires_at))
    block.transaction_id = transaction.id
    actor: Actor | None = None
    first = len(block.orders)
    policies: set[str] = set()
    try:
        with block.all_or_nothing():
            actor = actor_of(block, transaction.authorization)
            acting = actor
            for act in transaction.body.acts:
                performed = perform(block, acting, act)
                acting = performed.actor
                policies.update(performed.policies)
    except Refused as error:
        _note_refused_access(block, transaction, actor, error.reason)
        return _refused(error)
    finally:
        block.transaction_id = b""
    return TransactionResult(
        policies=tuple(sorted(policies)), first_order=first, order_count=len(block.orders) - first
    )


def _refused(error: Refused) -> TransactionResult:
    return TransactionResult(reason=error.reason.value, policies=error.policies, message=str(error))


def _check_new(block: Block, transaction: ParsedTransaction) -> None:
    """Accept what is for this chain, in time and new; of others the id is not remembered."""
    if transaction.body.chain_id != block.rules.chain_id:
        raise Refused(Reason.WRONG_CHAIN, "the transaction is for another chain")
    if block.time_ns > transaction.expires_at * NANOS:
        raise Refused(Reason.TRANSACTION_EXPIRED, "the transaction's time is over")
    if transaction.expires_at > block.now + block.rules.expiry_seconds_max:
        raise Refused(Reason.EXPIRY_TOO_FAR, "the transaction expires too far ahead")
    if block.state.get(TRANSACTION + transaction.id) is not None:
        raise Refused(Reason.TRANSACTION_REPLAYED, "a block has had this transaction")


def _note_refused_access(
    block: Block, transaction: ParsedTransaction, actor: Actor | None, reason: Reason
) -> None:
    """Keep an attempt to open a record for its owner to see, though it was refused."""
    for act in transaction.body.acts:
        if act.WhichOneof("act") != "transition":
            continue
        try:
            row = _attempt(block, transaction.id, act.transition, actor, reason)
        except Refused:  # about no contract, or none with a record
            continue
        if row is not None:
            block.rows.append(row)


def _attempt(
    block: Block,
    transaction_id: bytes,
    wanted: pb.Transition,
    actor: Actor | None,
    reason: Reason,
) -> AccessAsked | None:
    case = open_case(block, block.instance(wanted.instance_id))
    transition = case.template.transitions.get(wanted.transition)
    if case.record is None or transition is None or not asks_for_access(transition):
        return None
    return AccessAsked(
        record=case.record.parsed().record_id,
        instance=wanted.instance_id,
        transaction_id=transaction_id,
        asker=Asker(actor.member, actor.role) if actor else Asker("", ""),
        purpose=_purpose(transition.arguments.get("purpose"), wanted.arguments),
        order=None,
        reason=reason.value,
    )


def _purpose(kind: FieldType | None, arguments: bytes) -> str:
    """Return the purpose that was claimed, if it is of the closed list: nothing else is kept."""
    try:
        claimed = decode_map(arguments).get("purpose")
    except NotCanonical:
        return ""
    return claimed if kind and isinstance(claimed, str) and claimed in kind.names else ""
