"""Receipts: what became of a transaction, with its proof."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cipherward.chain.v1 import block_pb2 as chain
from cipherward_chain.comet import ValidatorSet
from cipherward_chain.receipts import build_receipt
from cipherward_chain.transactions import transaction_hash
from cipherward_ledger.errors import (
    BlockCorrupt,
    NotYetProven,
    TransactionExpired,
    TransactionIdMalformed,
    TransactionUnknown,
)
from cipherward_ledger.outbox import Outbox, Place, Whereabouts
from cipherward_ledger.proven import ProvenBlocks

ID_BYTES = 32
# Answered this long before the call's deadline, so that the refusal and its reason still arrive.
MARGIN_SECONDS = 0.1
# A caller who sets no deadline on a wait still gets an answer.
WAIT_SECONDS_MAX = 600.0


class Receipts:
    """Looks transactions up and builds their receipts."""

    def __init__(self, outbox: Outbox, proven: ProvenBlocks) -> None:
        self._outbox = outbox
        self._proven = proven

    async def get(self, transaction_id: bytes, wait_seconds: float | None) -> chain.Receipt:
        """Return the receipt of a transaction whose block is proven.

        Args:
            transaction_id: SHA-256 of its body.
            wait_seconds: how long it may take until the block is proven; None does not wait.

        Raises:
            TransactionIdMalformed: not 32 bytes.
            TransactionUnknown: never admitted here and in no block that is kept.
            TransactionExpired: admitted, and dropped since no block took it in time.
            NotYetProven: admitted, and its block is not proven (in time).
            BlockPruned: its block was pruned in this moment.
            BlockCorrupt: its block does not read back.
        """
        if len(transaction_id) != ID_BYTES:
            raise TransactionIdMalformed(f"a transaction id has {ID_BYTES} bytes")
        place = (await self._find(transaction_id)).place
        if place is None or place.height > self._proven.tip.position.proven_height:
            if wait_seconds is None:
                raise NotYetProven("the transaction's block is not proven yet")
            place = await self._wait(transaction_id, wait_seconds - MARGIN_SECONDS)
        block = await self._proven.get(place.height)
        history = self._proven.validators
        signers, changes = history.at(place.height + 1), history.changes_to(place.height + 1)
        return await asyncio.to_thread(_build, block, place, signers, changes)

    async def _find(self, transaction_id: bytes) -> Whereabouts:
        found = await self._outbox.find(transaction_id)
        if found.expired:
            raise TransactionExpired("the transaction expired before a block took it")
        place = found.place
        kept = place is not None and place.height >= self._proven.first_height
        if not kept and not found.waits:
            raise TransactionUnknown(
                "no such transaction was admitted here, or it is so old that it was forgotten"
            )
        return found

    async def _wait(self, transaction_id: bytes, seconds: float) -> Place:
        tip = self._proven.tip
        try:
            async with asyncio.timeout(min(seconds, WAIT_SECONDS_MAX)):
                while True:
                    position = tip.position  # read first: what moves meanwhile is not missed
                    # The disk is asked once the transaction has left the queue, not at every block.
                    if self._outbox.mempool.hash_of(transaction_id) is None:
                        place = (await self._find(transaction_id)).place
                        if place is not None:
                            await tip.proven(place.height)
                            return place
                    await tip.moved_from(position)
        except TimeoutError:
            raise NotYetProven("the transaction's block was not proven in time") from None


def _build(
    block: chain.ProvenBlock,
    place: Place,
    validators: ValidatorSet,
    changes: Sequence[chain.ValidatorChange],
) -> chain.Receipt:
    """Build a receipt, off the loop: hashing a full block takes a few ms."""
    in_block = place.position < len(block.transactions)
    if not in_block or transaction_hash(block.transactions[place.position]) != place.hash:
        raise BlockCorrupt("the index of transactions does not fit the stored block")
    return chain.Receipt.FromString(build_receipt(block, place.position, validators, changes))
