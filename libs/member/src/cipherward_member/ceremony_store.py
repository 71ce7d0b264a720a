"""What a guardian keeps of the ceremonies that make and renew a shared key, and who keeps it.

Public parts come with the block that holds them and are stored in that block's transaction. Secret
parts come sealed (`guardian_vault`): a store never sees a seed or a share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from cipherward_chain.group_key_orders import (
    SHARE_KEY,
    USE_SHARING,
    CeremonyOrder,
    SharingOrder,
)
from cipherward_chain.group_keys import GroupKeyMalformed
from cipherward_chain.light import VerifiedBlock
from cipherward_chain.orders import Order
from cipherward_member.block_transactions import BlockTransaction, transactions_of

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CeremonyMessage:
    """A message that a block has taken, as its sender sent it.

    ceremony: the contract's id (16 bytes). height, place: of the block, and within its messages
    from 0. sender: a member's id. kind, body: as in the act.
    """

    ceremony: bytes
    height: int
    place: int
    sender: str
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True)
class CeremonyNews:
    """What one block says about the ceremonies of one purpose; empty for nearly every block.

    begun, in_force: canonical bytes of the orders `share_key` and `use_sharing`, by ceremony.
    messages: in the block's order, of ceremonies of every purpose: a store keeps those whose
    ceremony it has, also of one that begins in the same block.
    """

    begun: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    messages: tuple[CeremonyMessage, ...] = ()
    in_force: Mapping[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.begun or self.messages or self.in_force)


class CeremonyReading:
    """Collects one block's news: `see` every transaction of it, in order, then take `news`."""

    def __init__(self, purpose: str, block: VerifiedBlock) -> None:
        self._height = block.height
        self._begun: dict[bytes, bytes] = {}
        self._in_force: dict[bytes, bytes] = {}
        self._messages: list[CeremonyMessage] = []
        for order in block.orders:
            self._read(order, purpose)

    def see(self, transaction: BlockTransaction) -> None:
        """Take the messages of a transaction, if it was applied and a member signed it."""
        if not transaction.applied or not transaction.member:
            return
        for act in transaction.acts():
            if act.WhichOneof("act") == "ceremony_message":
                said = act.ceremony_message
                self._messages.append(
                    CeremonyMessage(
                        said.instance_id,
                        self._height,
                        len(self._messages),
                        transaction.member,
                        said.kind,
                        said.body,
                    )
                )

    def news(self) -> CeremonyNews:
        """Return what was seen."""
        return CeremonyNews(self._begun, tuple(self._messages), self._in_force)

    def _read(self, order: Order, purpose: str) -> None:
        try:
            if order.instruction == SHARE_KEY:
                begun = CeremonyOrder.of(order)
                if begun.purpose == purpose:
                    self._begun[begun.ceremony] = order.to_bytes()
            elif order.instruction == USE_SHARING:
                used = SharingOrder.of(order)
                if used.purpose == purpose:
                    self._in_force[used.ceremony] = order.to_bytes()
        except GroupKeyMalformed as error:  # the chain makes them: a release of another form
            log.error("order_malformed", height=order.height, index=order.index, why=str(error))


def news_of(block: VerifiedBlock, purpose: str) -> CeremonyNews:
    """Return a block's news, for who reads its transactions for nothing else. Some ms at most."""
    reading = CeremonyReading(purpose, block)
    for transaction in transactions_of(block):
        reading.see(transaction)
    return reading.news()


@dataclass(frozen=True, slots=True)
class StoredCeremony:
    """A ceremony that was begun and not closed.

    order: canonical bytes of `share_key`. in_force: those of `use_sharing`, empty before.
    """

    ceremony: bytes
    order: bytes
    in_force: bytes


@dataclass(frozen=True, slots=True)
class KeptSharing:
    """A sharing in force.

    entry: its GroupKeyEntry's bytes, or b"" when this service has not seen it being made. share:
    this member's, sealed, or b"" when it has none.
    """

    key_epoch: int
    sharing: int
    entry: bytes
    share: bytes = field(repr=False)


class CeremonyStore(Protocol):
    """Ceremonies of one member and purpose; several replicas of a service may share it.

    Beside these, the transaction of a block takes its `CeremonyNews`: each of `begun` becomes a
    ceremony unless it is one, each of `in_force` is noted in its ceremony, and `messages` are kept
    once each, by (ceremony, height, place), if their ceremony is there.
    Adapters: `ceremony_rows.SqliteCeremonies`; in production storage's database.
    """

    async def running(self) -> Sequence[StoredCeremony]:
        """Return the ceremonies that are not closed, the oldest order first."""
        ...

    async def messages(self, ceremony: bytes, after: tuple[int, int]) -> Sequence[CeremonyMessage]:
        """Return the messages behind (height, place), in their order; (0, 0) is before all."""
        ...

    async def seed(self, ceremony: bytes, fresh: bytes) -> bytes:
        """Keep `fresh` (sealed) as the ceremony's seed unless one is kept; return the kept one.

        Durable when it returns. Returns b"" when the ceremony is closed, and keeps nothing.
        """
        ...

    async def close(self, ceremony: bytes, kept: KeptSharing | None) -> None:
        """Destroy a ceremony with its seed and messages, all in one transaction; idempotent.

        With `kept` (the sharing came into force) keep that unless it is kept already, and destroy
        every older sharing of its key epoch.
        """
        ...

    async def sharings(self) -> Sequence[KeptSharing]:
        """Return the sharings in force, by key epoch."""
        ...
