"""The custodian's slot: the key part that is sealed to this member, opened to check or release.

Where each sealed value has its place: `cipherward_chain.sealing`.
"""

from __future__ import annotations

import hmac

from cipherward_chain.domains import custodian_part_commitment
from cipherward_chain.sealing import (
    OVERHEAD_BYTES,
    OpeningRejected,
    SealingKey,
    custodian_place,
    release_place,
    seal,
)
from cipherward_member.reports import OrderKey
from cipherward_storage.errors import SlotRejected
from cipherward_storage.records import Anchor

KEY_PART_BYTES = 32  # K_c, one of the two inputs of the record key's derivation
SLOT_BYTES = OVERHEAD_BYTES + KEY_PART_BYTES


class CustodianSlots:
    """Opens what is sealed to one custodian; nothing that it opens is kept."""

    def __init__(self, chain_id: str, member: str, key: SealingKey) -> None:
        """Take the custodian's private key.

        Args:
            chain_id: the chain that every place is bound to.
            member: the custodian's id.
            key: whose public part the genesis names for that member.
        """
        self._chain_id = chain_id
        self._member = member
        self._key = key

    def check(self, anchor: Anchor, slot: bytes) -> None:
        """Refuse a slot that could never release what the anchor commits to. Cost: 0.1 ms.

        Raises:
            SlotRejected: it does not open here, or to another key part.
        """
        self._open(anchor, slot)

    def release(
        self, anchor: Anchor, slot: bytes, order: OrderKey, reader: bytes, reader_key: bytes
    ) -> bytes:
        """Return the key part sealed to the reader's one-time key, in that order's place only.

        Different bytes at every call: whoever releases keeps the first. Cost: 0.25 ms.

        Args:
            anchor: of the record.
            slot: the record's custodian slot.
            order: that releases.
            reader: Ed25519 public key of the reader, 32 bytes.
            reader_key: HPKE public key of the reader, 1,216 bytes.

        Raises:
            SlotRejected: the slot does not open to what the anchor commits to.
            SealingKeyRefused: nothing can be sealed to `reader_key`.
        """
        place = release_place(self._chain_id, anchor.record_id, (order.height, order.index), reader)
        return seal(self._open(anchor, slot), reader_key, place)

    def _open(self, anchor: Anchor, slot: bytes) -> bytes:
        if len(slot) != SLOT_BYTES:
            raise SlotRejected(f"a custodian's slot has {SLOT_BYTES} bytes")
        try:
            part = self._key.open(
                slot, custodian_place(self._chain_id, anchor.record_id, self._member)
            )
        except OpeningRejected:
            raise SlotRejected("the slot is not sealed to this custodian for this record") from None
        commitment = custodian_part_commitment(anchor.record_id, part)
        if not hmac.compare_digest(commitment, anchor.custodian_part_commitment):
            raise SlotRejected("the slot holds another key part than the anchor commits to")
        return part
