"""What a verified block holds, transaction by transaction, and what became of one's own.

Read from the block itself, whose results its successor certifies; no service is asked. The parsing
is not strict: what a verified block holds was admitted in its one form, and every service of every
member reads every block, so this is kept to a few microseconds a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.results import APPLIED, TransactionResult
from cipherward_chain.transactions import transaction_id

# Refusals of a transaction that another one with the same acts may not meet.
TIME_REASONS = frozenset(("TRANSACTION_EXPIRED", "EXPIRY_TOO_FAR"))


@dataclass(frozen=True, slots=True)
class BlockTransaction:
    """One transaction of a block. `applied`: it changed the state; `result` says how it went."""

    body: bytes
    author: chain_pb.Authorization
    applied: bool
    result: bytes

    @property
    def member(self) -> str:
        """Id of the member that signed it; "" if no member did."""
        return self.author.member.member_id

    def acts(self) -> Iterator[chain_pb.Act]:
        """Yield its acts."""
        yield from chain_pb.TransactionBody.FromString(self.body).acts


def transactions_of(block: VerifiedBlock) -> Iterator[BlockTransaction]:
    """Yield the transactions of a block. A full one takes some milliseconds."""
    for raw, result in zip(block.transactions, block.results, strict=True):
        transaction = chain_pb.Transaction.FromString(raw)
        yield BlockTransaction(
            transaction.body,
            chain_pb.Authorization.FromString(transaction.authorization),
            comet.ExecTxResult.FromString(result).code == APPLIED,
            result,
        )


@dataclass(slots=True)
class OwnTransactions:
    """Ids of this member's own transactions in a block.

    settled: reports among them need not be sent again. rebuilt: they came too late or too early;
    reports among them need another transaction.
    """

    member: str
    settled: list[bytes] = field(default_factory=list[bytes])
    rebuilt: list[bytes] = field(default_factory=list[bytes])

    def see(self, transaction: BlockTransaction) -> None:
        """Take note of a transaction, if it is the member's."""
        if transaction.member != self.member:
            return
        reason = (
            "" if transaction.applied else TransactionResult.from_bytes(transaction.result).reason
        )
        found = self.rebuilt if reason in TIME_REASONS else self.settled
        found.append(transaction_id(transaction.body))
