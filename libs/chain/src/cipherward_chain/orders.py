"""Orders: what a block has decided that somebody must carry out, and the entry that proves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cipherward_chain.canonical import NotCanonical, Value, decode, encode
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields
from cipherward_chain.merkle import root

ORDERS_KEY: Final = b"orders"  # the state key whose value proves a block's orders


class OrderMalformed(ChainError):
    """Bytes are not an order, or not the entry that proves orders."""

    reason = "ORDER_MALFORMED"


@dataclass(frozen=True, slots=True)
class Order:
    """An instruction that a block has ordered; (chain, height, index) makes it idempotent.

    `instance` is the id (16 bytes) of the contract that ordered it, `instruction` one of the closed
    list, and `arguments` its canonical map.
    """

    height: int
    index: int
    instance: bytes
    template: str
    instruction: str
    arguments: Mapping[str, Value]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: the leaf of the orders' Merkle tree."""
        return encode(
            {
                "height": self.height,
                "index": self.index,
                "instance": self.instance,
                "template": self.template,
                "instruction": self.instruction,
                "arguments": self.arguments,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Order:
        """Return the order whose canonical bytes are `raw`, or raise `OrderMalformed`."""
        try:
            fields = Fields(decode(raw))
            order = cls(
                height=fields.integer("height", minimum=1),
                index=fields.integer("index"),
                instance=fields.octets("instance"),
                template=fields.text("template"),
                instruction=fields.text("instruction"),
                arguments=fields.mapping("arguments"),
            )
            fields.end()
        except NotCanonical as error:
            raise OrderMalformed(f"not an order: {error}") from error
        return order

    def fields(self) -> Fields:
        """Return a typed reader over the arguments."""
        return Fields(self.arguments)


@dataclass(frozen=True, slots=True)
class OrdersEntry:
    """The value under `ORDERS_KEY`: which block's orders they are, how many, and their root."""

    height: int
    count: int
    root: bytes

    @classmethod
    def of(cls, height: int, orders: Sequence[bytes]) -> OrdersEntry:
        """Return the entry that proves the canonical `orders` of block `height`."""
        return cls(height, len(orders), root(orders))

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the state value."""
        return encode({"height": self.height, "count": self.count, "root": self.root})

    @classmethod
    def from_bytes(cls, raw: bytes) -> OrdersEntry:
        """Return the entry whose canonical bytes are `raw`, or raise `OrderMalformed`."""
        try:
            fields = Fields(decode(raw))
            entry = cls(
                height=fields.integer("height", minimum=1),
                count=fields.integer("count"),
                root=fields.octets("root", length=32),
            )
            fields.end()
        except NotCanonical as error:
            raise OrderMalformed(f"not an entry of orders: {error}") from error
        return entry
