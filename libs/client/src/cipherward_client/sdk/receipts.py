"""Receipt files: kept by anybody, verified by anybody, with no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.canonical import Value, decode
from cipherward_chain.genesis import Genesis
from cipherward_chain.receipts import VerifiedReceipt, verify_receipt
from cipherward_chain.rfc3339 import format_time
from cipherward_client.sdk.errors import explaining
from cipherward_kit.datafolder import write_atomically

RECEIPT_BYTES_MAX = 4 * 1024 * 1024  # a transaction of 64 KiB and a thousand changes of members


def write_receipt(path: Path, receipt: bytes) -> None:
    """Write the serialised receipt whole or not at all.

    Raises:
        ClientError: the file cannot be written.
    """
    with explaining():
        write_atomically(path, receipt, mode=0o644)  # a receipt is no secret


def read_receipt(path: Path) -> bytes:
    """Return the serialised receipt in a file.

    Raises:
        ClientError: the file cannot be read.
    """
    with explaining(), path.open("rb") as file:
        return file.read(RECEIPT_BYTES_MAX)


def verify_receipt_file(path: Path, genesis_file: Path) -> VerifiedReceipt:
    """Return what a receipt proves to somebody who trusts that genesis. Takes a few ms.

    Raises:
        ClientError: it proves nothing (RECEIPT_REJECTED; `detail` names the step), or a file
            cannot be read.
    """
    with explaining():
        trust_root = Genesis.parse(genesis_file.read_bytes()).trust_root()
        return verify_receipt(read_receipt(path), trust_root)


def receipt_view(verified: VerifiedReceipt) -> dict[str, Any]:
    """Return what a receipt has proven, for people and for JSON; bytes are hexadecimal."""
    transaction, result = verified.transaction, verified.result
    return {
        "chain_id": verified.chain_id,
        "engine": verified.engine,
        "height": verified.height,
        "time": format_time(verified.time_ns),
        "transaction_id": transaction.id.hex(),
        "authorised_by": _author(verified),
        "acts": [_act(act) for act in transaction.body.acts],
        "applied": result.applied,
        "reason": result.reason,
        "message": result.message,
        "policies": list(result.policies),
        "orders": [result.first_order, result.order_count],
    }


def _author(verified: VerifiedReceipt) -> str:
    authorization = verified.transaction.authorization
    kind = authorization.WhichOneof("kind")
    if kind == "member":
        return f"member {authorization.member.member_id}"
    if kind == "pseudonym":
        return f"registered key {authorization.pseudonym.public_key.hex()}"
    return f"presentation in scope {authorization.presentation.scope}"


def _act(act: chain_pb.Act) -> dict[str, Any]:
    kind = act.WhichOneof("act") or ""
    return {"act": kind, **_fields(cast(Message, getattr(act, kind)))}


def _fields(message: Message) -> dict[str, Any]:
    return {field.name: _plain(field.name, value) for field, value in message.ListFields()}


def _plain(name: str, value: Any) -> Any:
    """Return a field for JSON: messages as maps, canonical CBOR decoded, other bytes in hex."""
    if isinstance(value, Message):
        return _fields(value)
    if isinstance(value, bytes):
        if name in ("terms", "arguments"):
            return _readable(decode(value))  # in form: the transaction was parsed
        return value.hex()
    return value


def _readable(value: Value) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_readable(item) for item in value]
    return value
