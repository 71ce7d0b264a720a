"""The chain as one member's own ledger proves it, remembered act by act."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cipherward_chain.light import LightClient, VerifiedBlock
from cipherward_chain.results import TransactionResult
from cipherward_chain.transactions import parse_transaction


@dataclass(slots=True)
class View:
    """The chain as one member's own ledger proves it, from the genesis on.

    applied: whether an act was applied, by transaction id; refused: why not. repeated: ids that
    a later block holds again: a node that was killed forgets what it has seen, and the repetition
    must be refused.
    """

    client: LightClient
    blocks: list[VerifiedBlock] = field(default_factory=list[VerifiedBlock])
    applied: dict[bytes, bool] = field(default_factory=dict[bytes, bool])
    refused: dict[bytes, str] = field(default_factory=dict[bytes, str])
    repeated: list[bytes] = field(default_factory=list[bytes])
    reports: Counter[tuple[str, int, int]] = field(default_factory=Counter[tuple[str, int, int]])

    def take(self, block: VerifiedBlock) -> None:
        """Remember a block."""
        for raw, result in zip(block.transactions, block.results, strict=True):
            transaction = parse_transaction(raw)
            outcome = TransactionResult.from_bytes(result)
            applied = outcome.applied
            if transaction.id in self.applied:
                self.repeated.append(transaction.id)
                assert not applied, "an act was applied twice"
            else:
                self.applied[transaction.id] = applied
                if not applied:
                    self.refused[transaction.id] = outcome.reason
            for act in transaction.body.acts:
                if applied and act.WhichOneof("act") == "report":
                    who = transaction.authorization.member.member_id
                    order = act.report.order
                    self.reports[who, order.height, order.index] += 1
        self.blocks.append(block)
