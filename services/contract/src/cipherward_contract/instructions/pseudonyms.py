"""`suspend` and `ban_pseudonym`: a pseudonym's keys act no more, for a time or for good, except to
give up rights.
"""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import ORDERED, Consequence, Given, own
from cipherward_contract.marks import suspended_entry, suspended_key, suspended_until
from cipherward_contract.templates.types import INTEGER_MAX


def _suspend(block: Block, given: Given) -> Consequence:
    return _until(block, given, block.now + given.fields().integer("seconds"))


def _ban(block: Block, given: Given) -> Consequence:
    return _until(block, given, INTEGER_MAX)  # no block is that late


def _until(block: Block, given: Given, until: int) -> Consequence:
    fields = given.fields()
    key = suspended_key(fields.text("scope"), fields.octets("pseudonym"))
    raw = block.state.get(key)
    before = 0 if raw is None else suspended_until(raw)
    block.state.put(key, suspended_entry(max(before, until)))  # nothing shortens a suspension
    return ORDERED


SUSPEND = own("suspend", "scope pseudonym seconds", _suspend)
BAN_PSEUDONYM = own("ban_pseudonym", "scope pseudonym", _ban)
