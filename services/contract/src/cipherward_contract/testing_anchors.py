"""Anchors of records that tests make up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cipherward.chain.v1 import transaction_pb2 as pb


def record_anchor(
    record: bytes, *, author: str = "hospital-a", templates: Sequence[str] = ("consent/1",)
) -> pb.RecordAnchor:
    """Return the anchor of a record that its author stores itself."""
    return pb.RecordAnchor(
        record_id=record,
        ciphertext_digest=hashlib.sha256(record).digest(),
        ciphertext_bytes=1024,
        suite=1,
        custodian_part_commitment=hashlib.sha256(b"part" + record).digest(),
        record_key_commitment=hashlib.sha256(b"key" + record).digest(),
        author=author,
        custodian=author,
        release_templates=templates,
    )
