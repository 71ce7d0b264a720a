"""`erase_record`: no key of the record is released from now on, and whoever holds something of it
destroys it and says so.

The order is itself the end of every grant about the record: its custodian drops what it keeps for
readers and cuts what runs, its guardians refuse the record for ever.
"""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import ORDERED, Consequence, Given, ordered
from cipherward_contract.marks import erased_entry, erased_key
from cipherward_contract.refusals import Reason, Refused


def _erase(block: Block, given: Given) -> Consequence:
    key = erased_key(given.fields().octets("record"))
    if block.state.get(key) is not None:
        raise Refused(Reason.RECORD_ERASED, "the record is erased")
    block.state.put(key, erased_entry(block.height))
    return ORDERED


ERASE_RECORD = ordered(
    "erase_record", "members", "record custodian members", is_step=True, effect=_erase
)
