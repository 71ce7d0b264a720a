"""What verified blocks say about this custodian: records anchored, and its own reports taken in.

Read from the block itself, whose results its successor certifies; no service is asked. The parsing
is not strict: what a verified block holds was admitted in its one form, and every service of every
member reads every block, so this is kept to a few microseconds a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.results import APPLIED, TransactionResult
from cipherward_chain.transactions import transaction_id
from cipherward_storage.records import Anchor, AnchoredRecord

# Refusals of a report that another transaction with the same report may not meet.
REBUILT_REASONS = frozenset(("TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"))


@dataclass(frozen=True, slots=True)
class BlockNews:
    """What the transactions of one block mean here.

    anchored: by record id; the first of a block counts. settled, rebuilt: ids of this member's own
    transactions, as in `BlockEffects`.
    """

    anchored: dict[bytes, AnchoredRecord]
    settled: tuple[bytes, ...]
    rebuilt: tuple[bytes, ...]


def news_of(block: VerifiedBlock, member: str) -> BlockNews:
    """Read the transactions of a block for custodian `member`. Blocks: call it from a thread."""
    anchored: dict[bytes, AnchoredRecord] = {}
    settled: list[bytes] = []
    rebuilt: list[bytes] = []
    for raw, raw_result in zip(block.transactions, block.results, strict=True):
        transaction = chain_pb.Transaction.FromString(raw)
        signer = chain_pb.Authorization.FromString(transaction.authorization)
        if signer.WhichOneof("kind") != "member":  # only members anchor and report
            continue
        applied = comet.ExecTxResult.FromString(raw_result).code == APPLIED
        if applied:
            for found in _anchored(transaction.body, member, block.height):
                anchored.setdefault(found.anchor.record_id, found)
        if signer.member.member_id == member:
            again = not applied and _reason(raw_result) in REBUILT_REASONS
            (rebuilt if again else settled).append(transaction_id(transaction.body))
    return BlockNews(anchored, tuple(settled), tuple(rebuilt))


def _anchored(body: bytes, member: str, height: int) -> Iterator[AnchoredRecord]:
    for act in chain_pb.TransactionBody.FromString(body).acts:
        if act.WhichOneof("act") == "anchor_record":
            anchor = Anchor.parse(act.anchor_record.anchor)
            if anchor.custodian == member:
                yield AnchoredRecord(anchor, act.anchor_record.custodian_slot_digest, height)


def _reason(result: bytes) -> str:
    return TransactionResult.from_bytes(result).reason
