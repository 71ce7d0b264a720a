"""The custodian's key part: opened as the author sealed it, kept under a slot key, released.

Where each sealed value has its place: `cipherward_chain.sealing`.
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cipherward_chain.domains import SLOT_AT_REST, custodian_part_commitment
from cipherward_chain.release_parts import KEY_PART_BYTES
from cipherward_chain.sealing import OVERHEAD_BYTES, OpeningRejected, SealingKey, custodian_place
from cipherward_chain.wire import length_prefixed
from cipherward_storage.errors import SlotRejected
from cipherward_storage.records import Anchor, KeptSlot
from cipherward_storage.slot_keys import SlotKey, SlotKeyGone, SlotKeys

SLOT_BYTES = OVERHEAD_BYTES + KEY_PART_BYTES
# AES-256-GCM, NIST SP 800-38D: a random nonce is good for 2^32 values a key; a key lives a week.
NONCE_BYTES = 12


class KeptSlotUnusable(Exception):
    """What is kept of a slot does not open: its slot key is gone, or it is another record's."""


class CustodianSlots:
    """Opens what is sealed to one custodian. Everything here blocks for up to 0.3 ms."""

    def __init__(self, chain_id: str, member: str, key: SealingKey, slot_keys: SlotKeys) -> None:
        """Take the custodian's keys.

        Args:
            chain_id: the chain that every place is bound to.
            member: the custodian's id.
            key: whose public part the genesis names for that member.
            slot_keys: what the key parts lie under here.
        """
        self._chain_id = chain_id
        self._member = member
        self._key = key
        self._slot_keys = slot_keys

    def take(self, anchor: Anchor, slot: bytes) -> KeptSlot:
        """Return the key part of an author's slot, wrapped under the slot key in use.

        Raises:
            SlotRejected: it does not open here, or to another key part than the anchor commits to.
        """
        return self._wrap(anchor.record_id, self._open(anchor, slot))

    def rewrap(self, record_id: bytes, kept: KeptSlot) -> KeptSlot:
        """Return the same key part under the slot key that is in use now.

        Raises:
            KeptSlotUnusable: it does not open.
        """
        return self._wrap(record_id, self._unwrap(record_id, kept))

    def key_part(self, anchor: Anchor, kept: KeptSlot) -> bytes:
        """Return the key part (32 bytes) that the anchor commits to.

        Raises:
            KeptSlotUnusable: it does not open, or is not that key part.
        """
        part = self._unwrap(anchor.record_id, kept)
        if not _commits(anchor, part):
            raise KeptSlotUnusable("the kept slot holds another key part than the anchor's")
        return part

    def _open(self, anchor: Anchor, slot: bytes) -> bytes:
        if len(slot) != SLOT_BYTES:
            raise SlotRejected(f"a custodian's slot has {SLOT_BYTES} bytes")
        try:
            part = self._key.open(
                slot, custodian_place(self._chain_id, anchor.record_id, self._member)
            )
        except OpeningRejected:
            raise SlotRejected("the slot is not sealed to this custodian for this record") from None
        if not _commits(anchor, part):
            raise SlotRejected("the slot holds another key part than the anchor commits to")
        return part

    def _wrap(self, record_id: bytes, part: bytes) -> KeptSlot:
        key = self._slot_keys.newest()
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = _cipher(key).encrypt(nonce, part, self._place(record_id, key.number))
        return KeptSlot(key.number, nonce + sealed)

    def _unwrap(self, record_id: bytes, kept: KeptSlot) -> bytes:
        nonce, sealed = kept.octets[:NONCE_BYTES], kept.octets[NONCE_BYTES:]
        place = self._place(record_id, kept.key_number)
        try:
            return _cipher(self._slot_keys.get(kept.key_number)).decrypt(nonce, sealed, place)
        except (InvalidTag, ValueError):
            raise KeptSlotUnusable("the kept slot does not open in this record's place") from None
        except SlotKeyGone as error:
            raise KeptSlotUnusable(str(error)) from None

    def _place(self, record_id: bytes, key_number: int) -> bytes:
        prefixed = length_prefixed(self._chain_id.encode()) + length_prefixed(record_id)
        return SLOT_AT_REST + prefixed + key_number.to_bytes(8, "big")


def _commits(anchor: Anchor, part: bytes) -> bool:
    commitment = custodian_part_commitment(anchor.record_id, part)
    return hmac.compare_digest(commitment, anchor.custodian_part_commitment)


def _cipher(key: SlotKey) -> AESGCM:
    derived = HKDF(SHA256(), length=32, salt=None, info=SLOT_AT_REST).derive(key.secret)
    return AESGCM(derived)
