"""What the load is made of: anchors of records, signed by the hospital that wrote them.

An act of the load has 500 bytes: a record's anchor with its four digests, which names enough
templates to fill it. All are signed before a clock starts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.acts import (
    DIGEST_BYTES,
    ID_BYTES,
    SUITE_CUSTODIAN_ONLY,
    anchor_record,
)
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.transactions import build_transaction

ACT_BYTES = 500  # with its share of the transaction around it
# Most of the ten minutes that a transaction may wait for a block.
EXPIRES_SECONDS = 540
NAME_BYTES_MAX = 64  # of a template
FIRST = "/1"  # a template is named with its version
FRAME_BYTES = 2  # tag and length of a name in an anchor


@dataclass(frozen=True, slots=True)
class Author:
    """A hospital that anchors records: its id, its signer, and the chain that it is on."""

    chain_id: str
    member: str
    signer: MemberSigner


def signed_transactions(author: Author, count: int, acts: int) -> list[bytes]:
    """Return `count` transactions of one member, each of `acts` acts and about 500 bytes an act."""
    bare = _transaction(author, acts, ())
    templates = tuple(_filling((ACT_BYTES * acts - len(bare)) // acts))
    return [_transaction(author, acts, templates) for _ in range(count)]


def _transaction(author: Author, acts: int, templates: Sequence[str]) -> bytes:
    return build_transaction(
        [_anchor(author.member, templates) for _ in range(acts)],
        chain_id=author.chain_id,
        expires_at=int(time.time()) + EXPIRES_SECONDS,
        signer=author.signer,
    )


def _anchor(member: str, templates: Sequence[str]) -> chain_pb.Act:
    digests = secrets.token_bytes(4 * DIGEST_BYTES)
    anchor = chain_pb.RecordAnchor(
        record_id=secrets.token_bytes(ID_BYTES),
        ciphertext_digest=digests[:32],
        ciphertext_bytes=1_000_000,
        suite=SUITE_CUSTODIAN_ONLY,
        custodian_part_commitment=digests[32:64],
        record_key_commitment=digests[64:96],
        author=member,
        custodian=member,
        release_templates=templates,
    )
    return anchor_record(anchor, digests[96:])


def _filling(octets: int) -> Iterator[str]:
    """Yield sorted names of templates that take so many bytes of an anchor, none or more."""
    letter = ord("a")
    while octets > FRAME_BYTES + len(FIRST):
        length = min(octets - FRAME_BYTES, NAME_BYTES_MAX)
        yield chr(letter) * (length - len(FIRST)) + FIRST
        octets -= length + FRAME_BYTES
        letter += 1
