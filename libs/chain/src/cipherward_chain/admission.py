"""A member that joined after the genesis, believed because a block ordered its admission.

The proof is the receipt of the act that decided it, and that act's block: it verifies offline
against the trust root, also when the ledgers keep the block no more.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace
from typing import Final

from google.protobuf.message import DecodeError

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.canonical import NotCanonical
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import parse_header
from cipherward_chain.errors import ChainError
from cipherward_chain.genesis import ISSUER_KEY_BYTES, SCHEMAS, Genesis, Issuer, Member
from cipherward_chain.json_fields import JsonFields, JsonMalformed
from cipherward_chain.light import verify_orders
from cipherward_chain.orders import Order
from cipherward_chain.receipts import verify_receipt
from cipherward_chain.wire import exact_bytes

INSTRUCTION: Final = "admit_member"
FOLDER: Final = "admissions"  # beside the genesis and the endpoints: FOLDER/<member>.json
DOCUMENT_BYTES_MAX: Final = 16 * 1024 * 1024  # a block of 8 MiB with its receipt, in base64


class AdmissionRejected(ChainError):
    """A document does not prove that a member was admitted."""

    reason = "ADMISSION_REJECTED"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A member and its issuing key, as they were admitted; `change_id` names the contract."""

    member: Member
    issuer: Issuer
    change_id: bytes


@dataclass(frozen=True, slots=True)
class Admission:
    """The serialised receipt of the act that decided it, and its serialised proven block."""

    receipt: bytes = field(repr=False)
    block: bytes = field(repr=False)

    def verify(self, trust_root: TrustRoot, member_id: str) -> Admitted:
        """Return the member as it was admitted. Takes some ms.

        Raises:
            AdmissionRejected: the chain does not prove it.
        """
        try:
            verified = verify_receipt(self.receipt, trust_root)
            certified = pb.Receipt.FromString(self.receipt)
            block = pb.ProvenBlock.FromString(self.block)
            if (block.header, block.next_header) != (certified.header, certified.next_header):
                raise AdmissionRejected("the block is not the one in the receipt")
            app_hash = parse_header(certified.next_header).app_hash
            orders = verify_orders(block, verified.height, app_hash)
            admitted = [admitted_by(order) for order in orders if order.instruction == INSTRUCTION]
        except (ChainError, NotCanonical, DecodeError) as error:
            raise AdmissionRejected(f"{member_id}: {error}") from error
        found = [one for one in admitted if one.member.id == member_id]
        if len(found) != 1:
            raise AdmissionRejected(f"that block does not admit {member_id}")
        return found[0]

    def joined(self, genesis: Genesis, member_id: str) -> Genesis:
        """Return the genesis with a newcomer's own entries, so that it can begin to follow.

        Document, digest and validators stay those of the genesis.

        Raises:
            AdmissionRejected: the chain does not prove it.
        """
        found = self.verify(genesis.trust_root(), member_id)
        return replace(
            genesis,
            members={**genesis.members, member_id: found.member},
            issuers=(*genesis.issuers, found.issuer),
        )

    @classmethod
    def of(cls, receipt: bytes, block: pb.ProvenBlock) -> Admission:
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
    def from_bytes(cls, raw: bytes) -> Admission:
        """Return what a JSON document holds, or raise `AdmissionRejected`."""
        try:
            fields = JsonFields.parse(raw, "admission")
            receipt, block = fields.text("receipt"), fields.text("block")
            fields.end()
            return cls(
                base64.b64decode(receipt, validate=True), base64.b64decode(block, validate=True)
            )
        except (JsonMalformed, binascii.Error) as error:
            raise AdmissionRejected(str(error)) from error


def admitted_by(order: Order) -> Admitted:
    """Return whom an order `admit_member` admits, or raise NotCanonical."""
    fields = order.fields()
    member = Member(
        id=fields.text("member"),
        name=fields.text("name"),
        index=fields.integer("index"),
        public_key=fields.octets("public_key", length=32),
        custodian_public_key=fields.octets("custodian_public_key"),
        ca_certificate=fields.text("ca_certificate"),
        consensus_public_key=fields.octets("consensus_public_key"),
        node_id=fields.octets("node_id"),
    )
    issuer = fields.octets("issuer_public_key", length=ISSUER_KEY_BYTES)
    return Admitted(member, Issuer(member.id, issuer, SCHEMAS), order.instance)
