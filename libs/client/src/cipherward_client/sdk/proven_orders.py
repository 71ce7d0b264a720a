"""What an act has ordered, proven against the receipt that is already verified."""

from __future__ import annotations

from typing import TypeVar

from cipherward.chain.v1 import block_pb2 as block_pb
from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.comet import parse_header
from cipherward_chain.light import verify_orders
from cipherward_chain.orders import Order
from cipherward_chain.orders_proof import OrdersProof
from cipherward_chain.transactions import transaction_id
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.sdk.ledger import ProvenAct, Submitter
from cipherward_client.sdk.ledger_calls import from_any_ledger
from cipherward_client.sdk.retries import AWAY_SECONDS

P = TypeVar("P", bound=OrdersProof)

BLOCK_SECONDS = AWAY_SECONDS + 15.0  # through the restart of the only ledger


class OrderDiffers(CheckFailed):
    """The block, or the order in it, is not what the act's receipt proves."""

    reason = "ORDER_DIFFERS"


async def orders_of(alliance: Alliance, act: ProvenAct) -> tuple[Order, ...]:
    """Return the orders of an act.

    The receipt certifies the header after the act's block; that header's app hash proves the
    block's orders.

    Raises:
        OrderDiffers: the block is another than the receipt's.
        OrdersRejected: the orders are not proven.
        AioRpcError: the ledger has no such block.
    """
    orders = _proven(await block_at(alliance, act.height), act)
    first, count = act.result.first_order, act.result.order_count
    if first + count > len(orders):
        raise OrderDiffers("the act has more orders than its block")
    return orders[first : first + count]


async def orders_at(alliance: Alliance, height: int) -> tuple[Order, ...]:
    """Return all orders of a block, proven by the receipt of its first transaction.

    Raises:
        OrderDiffers: the block has no transaction, or is another than the receipt's.
        OrdersRejected, ReceiptRejected: they are not proven.
        AioRpcError: the ledger has no such block.
    """
    block = await block_at(alliance, height)
    if not block.transactions:
        raise OrderDiffers("the block is empty")
    body = chain_pb.Transaction.FromString(block.transactions[0]).body
    return _proven(block, await Submitter(alliance).receipt(transaction_id(body)))


async def orders_proof(alliance: Alliance, block: block_pb.ProvenBlock, kind: type[P]) -> P:
    """Return the proof of a block's orders, for whoever verifies it offline; nothing is verified.

    Raises:
        OrderDiffers: the block has no transaction.
        AioRpcError: no ledger has the receipt.
    """
    if not block.transactions:
        raise OrderDiffers("the block is empty")
    body = chain_pb.Transaction.FromString(block.transactions[0]).body
    act = await Submitter(alliance).receipt(transaction_id(body))
    return kind.of(act.receipt, block)


async def block_at(alliance: Alliance, height: int) -> block_pb.ProvenBlock:
    """Return a block as a ledger has it: nothing of it is verified.

    Raises:
        AioRpcError: the ledger has no such block.
    """
    request = pb.GetBlockRequest(height=height)
    response = await from_any_ledger(
        alliance, lambda ledger, left: ledger.GetBlock(request, timeout=left), BLOCK_SECONDS
    )
    return response.block


def _proven(block: block_pb.ProvenBlock, act: ProvenAct) -> tuple[Order, ...]:
    receipt = block_pb.Receipt.FromString(act.receipt)
    if (block.header, block.next_header) != (receipt.header, receipt.next_header):
        raise OrderDiffers("the block is not the one in the receipt")
    return verify_orders(block, act.height, parse_header(receipt.next_header).app_hash)
