"""What the transactions of verified blocks mean here: anchors, ceremonies, own reports taken in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cipherward_chain.group_keys import RECORD
from cipherward_chain.light import VerifiedBlock
from cipherward_member.block_transactions import (
    BlockTransaction,
    OwnTransactions,
    transactions_of,
)
from cipherward_member.ceremony_store import CeremonyNews, CeremonyReading
from cipherward_storage.records import Anchor, AnchoredRecord


@dataclass(frozen=True, slots=True)
class BlockNews:
    """What the transactions of one block mean here.

    anchored: by record id, of all custodians; the first of a block counts. ceremonies: of record
    keys. settled, rebuilt: ids of this member's own transactions, as in `BlockEffects`.
    """

    anchored: dict[bytes, AnchoredRecord]
    ceremonies: CeremonyNews
    settled: tuple[bytes, ...]
    rebuilt: tuple[bytes, ...]


def news_of(block: VerifiedBlock, member: str) -> BlockNews:
    """Read the transactions of a block for `member`. Blocks: call it from a thread."""
    anchored: dict[bytes, AnchoredRecord] = {}
    own = OwnTransactions(member)
    ceremonies = CeremonyReading(RECORD, block)
    for transaction in transactions_of(block):
        own.see(transaction)
        ceremonies.see(transaction)
        if transaction.applied and transaction.member:  # only members anchor
            for found in _anchored(transaction, block.height):
                anchored.setdefault(found.anchor.record_id, found)
    return BlockNews(anchored, ceremonies.news(), tuple(own.settled), tuple(own.rebuilt))


def _anchored(transaction: BlockTransaction, height: int) -> Iterator[AnchoredRecord]:
    for act in transaction.acts():
        if act.WhichOneof("act") == "anchor_record":
            anchor = Anchor.parse(act.anchor_record.anchor)
            yield AnchoredRecord(anchor, act.anchor_record.custodian_slot_digest, height)
