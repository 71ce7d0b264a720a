"""A member that joined after the genesis, believed because a block ordered its admission.

The proof is the receipt of the act that decided it, and that act's block: it verifies offline
against the trust root, also when the ledgers keep the block no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final

from cipherward_chain.canonical import NotCanonical
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.genesis import ISSUER_KEY_BYTES, SCHEMAS, Genesis, Issuer, Member
from cipherward_chain.orders import Order
from cipherward_chain.orders_proof import OrdersProof, OrdersProofRejected
from cipherward_chain.registry_entry import described_member
from cipherward_chain.signatures import KEY_BYTES

INSTRUCTION: Final = "admit_member"
FOLDER: Final = "admissions"  # beside the genesis and the endpoints: FOLDER/<member>.json


class AdmissionRejected(OrdersProofRejected):
    """A document does not prove that a member was admitted."""

    reason = "ADMISSION_REJECTED"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A member and its issuing key, as they were admitted; `change_id` names the contract."""

    member: Member
    issuer: Issuer
    change_id: bytes


@dataclass(frozen=True, slots=True)
class Admission(OrdersProof):
    """The proof of the act that decided it: its receipt and its block."""

    rejected: ClassVar[type[OrdersProofRejected]] = AdmissionRejected

    def verify(self, trust_root: TrustRoot, member_id: str) -> Admitted:
        """Return the member as it was admitted. Takes some ms.

        Raises:
            AdmissionRejected: the chain does not prove it.
        """
        admitted = self.ordered(trust_root, member_id, INSTRUCTION, admitted_by)
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


def admitted_by(order: Order) -> Admitted:
    """Return whom an order `admit_member` admits, or raise NotCanonical."""
    fields = order.fields()
    member = described_member(fields.text("member"), fields)
    if len(member.public_key) != KEY_BYTES:
        raise NotCanonical(f"field public_key has not {KEY_BYTES} bytes")
    issuer = fields.octets("issuer_public_key", length=ISSUER_KEY_BYTES)
    return Admitted(member, Issuer(member.id, issuer, SCHEMAS), order.instance)
