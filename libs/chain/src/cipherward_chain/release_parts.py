"""What a member hands to the reader of an order: its part of a record's key, signed.

The signature is what makes a wrong part evidence against its signer; a right part proves nothing
against anybody. The part travels sealed to the reader's one-time key.
"""

from __future__ import annotations

from typing import Final

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import DIGEST_BYTES, MEMBER_ID
from cipherward_chain.domains import release_part_octets
from cipherward_chain.errors import ChainError
from cipherward_chain.signatures import (
    SIGNATURE_BYTES,
    SignatureRejected,
    SigningKey,
    verify_signature,
)
from cipherward_chain.wire import NotExact, exact_bytes, parse_exact

CUSTODIAN: Final = "custodian"
GUARDIAN: Final = "guardian"
KEY_PART_BYTES: Final = 32  # an AES-256 key
SHARE_BYTES: Final = 118  # as the threshold library makes a share; the longer of the two
ROLES: Final = (CUSTODIAN, GUARDIAN)


class ReleasePartRejected(ChainError):
    """Octets are not a part of that role, signed by that member's key."""

    reason = "RELEASE_PART_REJECTED"


def sign_part(chain_id: str, part: pb.ReleasePart, key: SigningKey) -> bytes:
    """Return the serialised part with the member's signature; `part.signature` is overwritten."""
    signed = pb.ReleasePart()
    signed.CopyFrom(part)
    signed.signature = key.sign(_octets(chain_id, part))
    return exact_bytes(signed)


def parse_part(raw: bytes) -> pb.ReleasePart:
    """Return the part whose one serialised form is `raw`; its signature is not looked at.

    Raises:
        ReleasePartRejected: it is out of form. A body of a wrong length is in form: it is signed,
            and is judged by who verifies the share.
    """
    try:
        part = parse_exact(pb.ReleasePart, raw)
    except NotExact as error:
        raise ReleasePartRejected(str(error)) from error
    in_form = (
        part.role in ROLES
        and MEMBER_ID.fullmatch(part.member_id) is not None
        and len(part.order_digest) == len(part.anchor_digest) == DIGEST_BYTES
        and len(part.body) <= SHARE_BYTES
        and len(part.signature) == SIGNATURE_BYTES
    )
    if not in_form:
        raise ReleasePartRejected("a part of a record's key is out of form")
    return part


def check_part(chain_id: str, part: pb.ReleasePart, public_key: bytes) -> None:
    """Raise `ReleasePartRejected` unless the member's key (32 bytes) has signed the part."""
    try:
        verify_signature(public_key, _octets(chain_id, part), part.signature)
    except SignatureRejected:
        raise ReleasePartRejected("the part is not signed by the member it names") from None


def _octets(chain_id: str, part: pb.ReleasePart) -> bytes:
    return release_part_octets(
        chain_id,
        (part.role, part.member_id),
        (part.order_digest, part.anchor_digest),
        part.body,
    )
