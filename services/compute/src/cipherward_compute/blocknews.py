"""What the transactions of verified blocks say about studies, and about this member's reports.

Read from the block itself, whose results its successor certifies; no service is asked. The parsing
is not strict: what a verified block holds was admitted in its one form.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.fields import Fields
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.results import APPLIED, TransactionResult
from cipherward_chain.transactions import transaction_id
from cipherward_compute.instructions import TEMPLATE, OrderKey
from cipherward_compute.store import Proposed

# Refusals of a report that another transaction with the same report may not meet.
REBUILT_REASONS = frozenset(("TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"))
WITHDRAW = "withdraw"


@dataclass(slots=True)
class BlockNews:
    """What one block says: as the fields of that name in `store.BlockEffects`."""

    proposed: list[Proposed] = field(default_factory=list[Proposed])
    withdrawn: list[bytes] = field(default_factory=list[bytes])
    delivered: list[tuple[OrderKey, str]] = field(default_factory=list[tuple[OrderKey, str]])
    settled: list[bytes] = field(default_factory=list[bytes])
    rebuilt: list[bytes] = field(default_factory=list[bytes])


def news_of(block: VerifiedBlock, member: str) -> BlockNews:
    """Read the transactions of a block for `member`. A full block takes some milliseconds."""
    news = BlockNews()
    for raw, raw_result in zip(block.transactions, block.results, strict=True):
        transaction = chain_pb.Transaction.FromString(raw)
        author = chain_pb.Authorization.FromString(transaction.authorization)
        applied = comet.ExecTxResult.FromString(raw_result).code == APPLIED
        if applied:
            _read_acts(news, transaction.body, author, member, block.time_seconds)
        if author.member.member_id == member:
            again = not applied and _reason(raw_result) in REBUILT_REASONS
            (news.rebuilt if again else news.settled).append(transaction_id(transaction.body))
    return news


def _read_acts(
    news: BlockNews, body: bytes, author: chain_pb.Authorization, member: str, now: int
) -> None:
    key = author.pseudonym.public_key
    for act in chain_pb.TransactionBody.FromString(body).acts:
        match act.WhichOneof("act"):
            case "register_pseudonym":  # what follows in the transaction is this key's
                key = act.register_pseudonym.public_key
            case "instantiate" if act.instantiate.template == TEMPLATE:
                found = _proposed(act.instantiate, key, now)
                if found is not None and member in found.members:
                    news.proposed.append(found)
            case "transition" if act.transition.transition == WITHDRAW:
                news.withdrawn.append(act.transition.instance_id)
            case "report" if act.report.outcome == chain_pb.OUTCOME_DONE:
                order = OrderKey(act.report.order.height, act.report.order.index)
                news.delivered.append((order, author.member.member_id))
            case _:
                pass


def _proposed(act: chain_pb.Instantiate, requester: bytes, now: int) -> Proposed | None:
    """Return the study; None if a later version of the template has other terms."""
    try:
        fields = Fields(decode_map(act.terms))
        members, seconds = fields.texts("members"), fields.integer("step_seconds")
    except NotCanonical:
        return None
    return Proposed(act.instance_id, requester, members, now + seconds)


def _reason(result: bytes) -> str:
    return TransactionResult.from_bytes(result).reason
