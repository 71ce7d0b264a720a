"""Executing a block: from its transactions to results, orders and writes. Pure: nothing is stored.

In a non-empty block, in this order: ids that have expired are forgotten, due timers fire,
windows of ceremonies close, each transaction is applied or refused, and the entry that proves the
orders is written. An empty block changes nothing, so that its app hash is the one before.
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
from cipherward_contract.ceremonies.closing import close_windows
from cipherward_contract.entries import TIMER, TIMER_END, TRANSACTION, transaction_entry
from cipherward_contract.index_rows import AccessAsked, Asker, IndexRow
from cipherward_contract.instructions.disclosing import DISCLOSE
from cipherward_contract.judging import open_case
from cipherward_contract.refusals import Reason, Refused
from cipherward_contract.steps import fire_timers
from cipherward_contract.templates.document import INSTANTIATE, Transition
from cipherward_contract.templates.expressions import Literal, Path

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
        close_windows(block)
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
        try:
            found = _attempt(block, act)
        except (Refused, NotCanonical):  # about no contract, or none with a record
            continue
        if found is not None:
            row = AccessAsked(
                record=found.record,
                instance=found.instance,
                transaction_id=transaction.id,
                asker=Asker(actor.member, actor.role) if actor else Asker("", ""),
                purpose=found.purpose,
                order=None,
                reason=reason.value,
            )
            block.rows.append(row)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An act that would have opened a record, if it had been permitted."""

    record: bytes
    instance: bytes
    purpose: str


def _attempt(block: Block, act: pb.Act) -> _Attempt | None:
    kind = act.WhichOneof("act")
    if kind == "transition":
        wanted = act.transition
        case = open_case(block, block.instance(wanted.instance_id))
        transition = case.template.transitions.get(wanted.transition)
        record = None if case.record is None else case.record.parsed().record_id
        said = {"arguments": wanted.arguments}
    elif kind == "instantiate":
        wanted = act.instantiate
        compiled = block.catalogue.find(block.state, wanted.template, wanted.version)
        if compiled is None:
            return None
        template = compiled.template
        transition = template.transitions[INSTANTIATE]
        about = decode_map(wanted.terms).get(template.object_term)
        record = about if isinstance(about, bytes) and block.record(about) else None
        said = {"terms": wanted.terms}
    else:
        return None
    if record is None or transition is None or not asks_for_access(transition):
        return None
    return _Attempt(record, wanted.instance_id, _purpose(transition, said))


def _purpose(transition: Transition, said: Mapping[str, bytes]) -> str:
    """Return the purpose that was claimed, if it is of the closed list: nothing else is kept."""
    for name, expressions in transition.effects.instructions:
        if name != DISCLOSE.name:
            continue
        found = expressions["purpose"]
        if isinstance(found, Literal):
            return found.value if isinstance(found.value, str) else ""
        if not isinstance(found, Path) or found.root != "arguments" or found.root not in said:
            return ""
        claimed = decode_map(said[found.root]).get(found.name)
        kind = transition.arguments[found.name]
        return claimed if isinstance(claimed, str) and claimed in kind.names else ""
    return ""
