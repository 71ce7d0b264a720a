"""What the transactions of verified blocks say about studies, and about this member's reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.fields import Fields
from cipherward_chain.light import VerifiedBlock
from cipherward_compute.instructions import TEMPLATE
from cipherward_compute.store import Proposed
from cipherward_member.block_transactions import (
    BlockTransaction,
    OwnTransactions,
    transactions_of,
)


@dataclass(slots=True)
class BlockNews:
    """What one block says: as the fields of that name in `store.BlockEffects`.

    own: this member's transactions, its reports among them.
    """

    own: OwnTransactions
    proposed: list[Proposed] = field(default_factory=list[Proposed])


def news_of(block: VerifiedBlock, member: str) -> BlockNews:
    """Read the transactions of a block for `member`. A full block takes some milliseconds."""
    news = BlockNews(OwnTransactions(member))
    for transaction in transactions_of(block):
        news.own.see(transaction)
        if transaction.applied:
            _read_acts(news, transaction, member, block.time_seconds)
    return news


def _read_acts(news: BlockNews, transaction: BlockTransaction, member: str, now: int) -> None:
    key = transaction.author.pseudonym.public_key
    for act in transaction.acts():
        match act.WhichOneof("act"):
            case "register_pseudonym":  # what follows in the transaction is this key's
                key = act.register_pseudonym.public_key
            case "instantiate" if act.instantiate.template == TEMPLATE:
                found = _proposed(act.instantiate, key, now)
                if found is not None and member in found.members:
                    news.proposed.append(found)
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
