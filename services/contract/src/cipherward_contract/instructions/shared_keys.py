"""`share_key` begins a ceremony; `use_sharing` puts what it made in force."""

from __future__ import annotations

from cipherward_chain.group_key_orders import CeremonyOrder, SharingOrder
from cipherward_chain.group_keys import GroupKeyMalformed
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.plans import ceremony_refused
from cipherward_contract.ceremonies.speaking import begin, use
from cipherward_contract.instructions.kinds import ORDERED, Consequence, Given, own


def _share_key(block: Block, given: Given) -> Consequence:
    try:
        order = CeremonyOrder.from_arguments(given.arguments)
    except GroupKeyMalformed as error:
        raise ceremony_refused(str(error)) from error
    _require_own(order, given)
    begin(block, order)
    return ORDERED


def _use_sharing(block: Block, given: Given) -> Consequence:
    try:
        order = SharingOrder.from_arguments(given.arguments)
    except GroupKeyMalformed as error:
        raise ceremony_refused(str(error)) from error
    _require_own(order, given)
    use(block, order)
    return ORDERED


def _require_own(order: CeremonyOrder | SharingOrder, given: Given) -> None:
    if order.ceremony != given.instance.id:
        raise ceremony_refused("a contract orders its own ceremony")


SHARE_KEY = own(
    "share_key",
    "ceremony purpose key_epoch sharing members dealers threshold window start old",
    _share_key,
)
USE_SHARING = own(
    "use_sharing",
    "purpose key_epoch sharing threshold members guardians public_key ceremony",
    _use_sharing,
)
