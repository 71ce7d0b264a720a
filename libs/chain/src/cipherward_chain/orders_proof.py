"""That a block gave certain orders: the receipt of one of its acts, and the block.

It verifies offline against the trust root, also when the ledgers keep the block no more.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self, TypeVar

from google.protobuf.message import DecodeError

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import parse_header
from cipherward_chain.errors import ChainError
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.light import verify_orders
from cipherward_chain.orders import Order
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.wire import exact_bytes

T = TypeVar("T")

DOCUMENT_BYTES_MAX: Final = 16 * 1024 * 1024  # a block of 8 MiB with its receipt, in base64


class OrdersProofRejected(ChainError):
    """A document does not prove what a block has ordered."""

    reason = "ORDERS_PROOF_REJECTED"


@dataclass(frozen=True, slots=True)
class OrdersProof:
    """The serialised receipt of an act, and its serialised proven block.

    A kind of proof about one thing is a subclass with an error of its own as `rejected`.
    """

    rejected: ClassVar[type[OrdersProofRejected]] = OrdersProofRejected

    receipt: bytes = field(repr=False)
    block: bytes = field(repr=False)

    def orders(self, trust_root: TrustRoot) -> tuple[Order, ...]:
        """Return the block's orders. Takes some ms.

        Raises:
            OrdersProofRejected: `rejected`: the chain does not prove them.
        """
        try:
            verified = verify_receipt(self.receipt, trust_root)
            certified = pb.Receipt.FromString(self.receipt)
            block = pb.ProvenBlock.FromString(self.block)
            if (block.header, block.next_header) != (certified.header, certified.next_header):
                raise self.rejected("the block is not the one in the receipt")
            app_hash = parse_header(certified.next_header).app_hash
            return tuple(verify_orders(block, verified.height, app_hash))
        except self.rejected:
            raise
        except (ChainError, NotCanonical, DecodeError) as error:
            raise self.rejected(str(error)) from error

    def ordered(
        self, trust_root: TrustRoot, member_id: str, instruction: str, read: Callable[[Order], T]
    ) -> list[T]:
        """Return what `read` makes of the block's orders with that instruction. Takes some ms.

        Args:
            member_id: whom the document is about, for whoever reads the refusal.
            read: raises NotCanonical if an order has another form.

        Raises:
            OrdersProofRejected: `rejected`: the chain does not prove them, or one cannot be read.
        """
        try:
            orders = self.orders(trust_root)
            return [read(order) for order in orders if order.instruction == instruction]
        except (self.rejected, NotCanonical) as error:
            raise self.rejected(f"{member_id}: {error}") from error

    @classmethod
    def of(cls, receipt: bytes, block: pb.ProvenBlock) -> Self:
        """Return what a receipt and its block may prove; nothing is verified."""
        return cls(receipt, exact_bytes(block))

    def to_bytes(self) -> bytes:
        """Return the JSON document."""
        document = {
            "receipt": base64.b64encode(self.receipt).decode(),
            "block": base64.b64encode(self.block).decode(),
        }
        return json.dumps(document).encode() + b"\n"

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Return what a JSON document holds, or raise `rejected`."""
        try:
            fields = JsonFields.parse(raw, "proof")
            receipt, block = fields.text("receipt"), fields.text("block")
            fields.end()
            return cls(
                base64.b64decode(receipt, validate=True), base64.b64decode(block, validate=True)
            )
        except (JsonMalformed, binascii.Error) as error:
            raise cls.rejected(str(error)) from error
