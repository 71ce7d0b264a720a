"""`set_machine_version`: the next version of the state machine begins at a height."""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import ORDERED, Consequence, Given, own
from cipherward_contract.machine_versions import Upgrade, schedule


def _set_version(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    wanted = Upgrade(fields.integer("version"), fields.integer("height"))
    schedule(block.state, block.rules.upgrade, wanted, block.height)
    block.reload_rules()
    return ORDERED


SET_MACHINE_VERSION = own("set_machine_version", "version height", _set_version)
