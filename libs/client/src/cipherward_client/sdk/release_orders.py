"""Orders that release a record's key, and the questions that they give the right to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.authorization import Signer
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.orders import Order
from cipherward_chain.reads import build_read
from cipherward_chain.wire import NANOS
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.proven_orders import OrderDiffers

SERVICE = "/cipherward.storage.v1.StorageService"


@dataclass(frozen=True, slots=True)
class Release:
    """A release that an order made, as its proven arguments say; `reader` has signed for it.

    `order` is (height, index), `order_digest` the SHA-256 of its canonical bytes, `guardians` whose
    shares it orders.
    """

    record_id: bytes
    custodian: str
    anchor_digest: bytes
    order: tuple[int, int]
    order_digest: bytes
    reader: bytes
    key_epoch: int
    guardians: tuple[str, ...]


def release_of(
    orders: Sequence[Order], record_id: bytes, reader: bytes, reader_key: bytes
) -> Release:
    """Return what proven orders release, if it is what was asked for.

    Args:
        reader: the Ed25519 key that asked (32 bytes); reader_key: the one-time sealing key.

    Raises:
        OrderDiffers: they release nothing, or something else.
    """
    try:
        order = next(order for order in orders if order.instruction == "release_key")
        fields = order.fields()
        same = (
            fields.octets("record") == record_id
            and fields.octets("reader") == reader
            and fields.octets("reader_key") == reader_key
        )
        if not same:
            raise OrderDiffers("the order releases something else")
        return Release(
            record_id=record_id,
            custodian=fields.text("custodian"),
            anchor_digest=fields.octets("anchor_digest"),
            order=(order.height, order.index),
            order_digest=hashlib.sha256(order.to_bytes()).digest(),
            reader=reader,
            key_epoch=fields.integer("key_epoch"),
            guardians=fields.texts("guardians"),
        )
    except StopIteration:
        raise OrderDiffers("the act released nothing") from None
    except NotCanonical as error:
        raise OrderDiffers(f"the order is out of form: {error}") from error


def release_read(
    alliance: Alliance, release: Release, signer: Signer, method: str
) -> chain_pb.AuthorizedRead:
    """Return a fresh question about a release: each is answered once.

    Args:
        method: of the storage service, as `GetRecord`.
    """
    return build_read(
        f"{SERVICE}/{method}",
        release.record_id,
        chain_id=alliance.chain_id,
        signer=signer,
        time_ns=int(alliance.now() * NANOS),
        order=release.order,
    )
