"""The members' slot of a record: what its author encapsulated under the members' record key.

It never stands on the chain; its digest does, in the anchor. Custodian and guardians rebuild its
label from the anchor, so that a slot copied into another record is none.
"""

from __future__ import annotations

import asyncio
import hmac

from cipherward_storage.effects import RecordKey
from cipherward_storage.errors import RecordKeyUnknown, SlotRejected
from cipherward_storage.records import Anchor, digest_of
from cipherward_storage.store import ChainFacts
from cipherward_threshold.group.errors import GroupError
from cipherward_threshold.group.keys import RECORD, ThresholdKey
from cipherward_threshold.group.tdh2 import Label, Slot, verify_slot


class SlotWrong(ValueError):
    """A slot is not the one that the anchor names, or was not made for this record."""


def verified(chain_id: str, anchor: Anchor, slot: bytes, key: ThresholdKey) -> Slot:
    """Return the members' slot of an anchored record. Blocks for 1 ms.

    Args:
        key: the members' record key of the anchor's epoch; of its sharings any will do.

    Raises:
        SlotWrong: it is not that slot.
    """
    if not hmac.compare_digest(digest_of(slot), anchor.alliance_slot_digest):
        raise SlotWrong("the members' slot is not the one that the anchor names")
    label = Label(chain_id, anchor.record_id, anchor.custodian, anchor.key_epoch)
    try:
        return verify_slot(key, label, slot)
    except GroupError:
        raise SlotWrong("the members' slot was not made for this record and key") from None


class AllianceSlots:
    """Checks the members' slots of uploads against the keys that proven blocks put into force."""

    def __init__(self, chain_id: str, facts: ChainFacts) -> None:
        self._chain_id = chain_id
        self._facts = facts

    async def check(self, anchor: Anchor, slot: bytes) -> None:
        """Return if the slot is what `anchor` says.

        Raises:
            RecordKeyUnknown: the key that the anchor names is not in force here, or not yet.
            SlotRejected: the slot is not what the anchor says.
        """
        known = await self._facts.record_key(anchor.key_epoch)
        if known is None:
            raise RecordKeyUnknown(
                f"no record key {anchor.key_epoch} of the members is in force here",
                key_epoch=anchor.key_epoch,
            )
        try:
            await asyncio.to_thread(verified, self._chain_id, anchor, slot, self._key(known))
        except SlotWrong as error:
            raise SlotRejected(str(error)) from None

    def _key(self, known: RecordKey) -> ThresholdKey:
        """Return the key as far as slots need it: a slot's check looks at no holder's point."""
        return ThresholdKey(
            self._chain_id,
            RECORD,
            known.key_epoch,
            known.sharing,
            known.threshold,
            known.public_key,
            (known.public_key,) * known.threshold,
        )
