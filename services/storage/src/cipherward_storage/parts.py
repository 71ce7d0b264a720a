"""What this member hands to the reader of an order: its part of a record's key, signed and sealed.

Different bytes at every call, since sealing is randomised: whoever makes a part keeps the first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.release_parts import CUSTODIAN, GUARDIAN, sign_part
from cipherward_chain.sealing import SealInfo, release_place, seal, share_place
from cipherward_chain.signatures import SigningKey
from cipherward_member.reports import OrderKey


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a part is for, and what for.

    order, order_digest: of the order. anchor_digest: of the record's anchor. reader: Ed25519
    public key. reader_key: one-time HPKE public key that the part is sealed to.
    """

    order: OrderKey
    order_digest: bytes
    record_id: bytes
    anchor_digest: bytes
    reader: bytes
    reader_key: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """Makes the parts of one member. Everything here blocks for 0.3 ms."""

    chain_id: str
    member: str
    _key: SigningKey = field(repr=False)

    def custodian(self, body: bytes, to: Recipient) -> bytes:
        """Return the custodian's key part (32 bytes) as the reader will open it.

        Raises:
            SealingKeyRefused: nothing can be sealed to the reader's key.
        """
        place = release_place(
            self.chain_id, to.record_id, (to.order.height, to.order.index), to.reader
        )
        return self._made(CUSTODIAN, body, to, place)

    def guardian(self, body: bytes, to: Recipient) -> bytes:
        """Return this member's share (118 bytes) as the reader will open it.

        Raises:
            SealingKeyRefused: nothing can be sealed to the reader's key.
        """
        order = to.order.height, to.order.index
        place = share_place(self.chain_id, to.record_id, order, self.member, to.reader)
        return self._made(GUARDIAN, body, to, place)

    def _made(self, role: str, body: bytes, to: Recipient, place: SealInfo) -> bytes:
        part = chain_pb.ReleasePart(
            role=role,
            member_id=self.member,
            order_digest=to.order_digest,
            anchor_digest=to.anchor_digest,
            body=body,
        )
        return seal(sign_part(self.chain_id, part, self._key), to.reader_key, place)
