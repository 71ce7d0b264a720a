"""Authorised reads at a service: the chain library's check, refused as gRPC refuses."""

from __future__ import annotations

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain import reads
from cipherward_chain.reads import Reader, ReadGate
from cipherward_member.errors import ReadMalformed, ReadRejected


def reader_of(
    gate: ReadGate, read: chain_pb.AuthorizedRead, method: str, object_bytes: int | None = None
) -> Reader:
    """Return who reads; whether they may is the service's question.

    Args:
        gate: form, chain, time, signature and replay.
        read: good once.
        method: full name of the RPC that carries it.
        object_bytes: length of the id that it must name; None: the service looks itself.

    Raises:
        ReadMalformed: out of form.
        ReadRejected: not authorised.
    """
    try:
        reader = gate.check(read, method)
    except reads.ReadMalformed as error:
        raise ReadMalformed(str(error)) from None
    except reads.ReadRejected:
        raise ReadRejected from None
    if object_bytes is not None and len(reader.object) != object_bytes:
        raise ReadMalformed(f"the object of the read is not an id of {object_bytes} bytes")
    return reader
