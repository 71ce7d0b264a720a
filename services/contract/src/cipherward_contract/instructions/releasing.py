"""`release_key` lets a reader open a record; `revoke_key` and `cut_transfers` end that."""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import ORDERED, Consequence, Given, ordered
from cipherward_contract.marks import erased_key
from cipherward_contract.refusals import Reason, Refused


def _release(block: Block, given: Given) -> Consequence:
    arguments = given.arguments
    if not arguments["reader"]:
        raise Refused(Reason.KEY_REQUIRED, "a reader needs a registered key to fetch with")
    if arguments["custodian"] not in block.rules.registry:
        raise Refused(Reason.MEMBER_NOT_IN_REGISTRY, "the record's custodian is no member any more")
    record = arguments["record"]
    if not isinstance(record, bytes) or block.state.get(erased_key(record)) is not None:
        raise Refused(Reason.RECORD_ERASED, "the record is erased")
    return ORDERED


# Only the custodian reports it: the guardians act on it too, and a report each would be as many
# more transactions an opening.
RELEASE_KEY = ordered(
    "release_key",
    "custodian",
    "record custodian anchor_digest slot_digest reader_key reader grant ends key_epoch guardians",
    effect=_release,
)
REVOKE_KEY = ordered("revoke_key", "custodian", "record custodian grant")
CUT_TRANSFERS = ordered("cut_transfers", "custodian", "record custodian grant")
