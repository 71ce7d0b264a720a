"""What the transactions of verified blocks say about studies, and about this member's reports."""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.fields import Fields
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import transaction_id
from cipherward_compute.column_keys import DATA_KEY, KeyTerms, Registered, data_key_of
from cipherward_compute.inference.rows import Refused, ScoreTerms
from cipherward_compute.instructions import KEY_RESHARING, RISK_SCORE, TEMPLATES
from cipherward_compute.progress import Answer
from cipherward_compute.store import Proposed
from cipherward_member.block_transactions import (
    BlockTransaction,
    OwnTransactions,
    transactions_of,
)
from cipherward_member.reports import OrderKey


@dataclass(slots=True)
class BlockNews:
    """What one block says: as the fields of that name in `store.BlockEffects`.

    own: this member's transactions, its reports among them.
    """

    own: OwnTransactions
    proposed: list[Proposed] = field(default_factory=list[Proposed])
    answers: list[Answer] = field(default_factory=list[Answer])
    registered: list[Registered] = field(default_factory=list[Registered])
    refused: list[Refused] = field(default_factory=list[Refused])


def news_of(block: VerifiedBlock, member: str) -> BlockNews:
    """Read the transactions of a block for `member`. A full block takes some milliseconds."""
    news = BlockNews(OwnTransactions(member))
    for transaction in transactions_of(block):
        news.own.see(transaction)
        if transaction.applied:
            _read_acts(news, transaction, member, block.time_seconds)
        elif transaction.member == member:
            reason = TransactionResult.from_bytes(transaction.result).reason
            news.refused.append(Refused(transaction_id(transaction.body), reason))
    return news


def _read_acts(news: BlockNews, transaction: BlockTransaction, member: str, now: int) -> None:
    key = transaction.author.pseudonym.public_key
    for act in transaction.acts():
        match act.WhichOneof("act"):
            case "register_pseudonym":  # what follows in the transaction is this key's
                key = act.register_pseudonym.public_key
                shown = transaction.author.presentation
                data_key = data_key_of(shown.scope)
                if data_key:
                    news.registered.append(Registered(data_key, shown.pseudonym))
            case "report" if transaction.member:
                report = act.report
                order = OrderKey(report.order.height, report.order.index)
                failed = report.outcome == chain_pb.OUTCOME_FAILED
                news.answers.append(Answer(order, transaction.member, failed))
            case "instantiate" if act.instantiate.template in TEMPLATES:
                found = _proposed(act.instantiate, key, now)
                if found is not None and member in found.members:
                    news.proposed.append(found)
            case _:
                pass


def _proposed(act: chain_pb.Instantiate, requester: bytes, now: int) -> Proposed | None:
    """Return the study; None if a later version of the template has other terms."""
    try:
        terms = decode_map(act.terms)
        fields = Fields(terms)
        members, seconds = fields.texts("members"), fields.integer("step_seconds")
        if act.template == KEY_RESHARING:  # old holders follow it as new ones do
            members = tuple(sorted({*members, *fields.texts("holders")}))
    except NotCanonical:
        return None
    columns = KeyTerms.read(terms) if act.template == DATA_KEY else None
    scores = ScoreTerms.read(terms) if act.template == RISK_SCORE else None
    # A grant is no order, so that nothing here tells it from a proposal that waits.
    lapses = now + seconds if scores is None else scores.expires + seconds
    return Proposed(act.instance_id, requester, members, lapses, act.template, columns, scores)
