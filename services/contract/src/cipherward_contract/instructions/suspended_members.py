"""`suspend_member` takes a member's voting power and its say; `reinstate_member` returns both."""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import NOTHING, ORDERED, Consequence, Given, own
from cipherward_contract.registry import reinstate, suspend


def _suspend(block: Block, given: Given) -> Consequence:
    member = given.fields().text("member")
    if member not in block.rules.registry:
        return NOTHING  # another contract has removed it
    suspend(block.state, member)
    block.reload_rules()
    return ORDERED


def _reinstate(block: Block, given: Given) -> Consequence:
    member = given.fields().text("member")
    found = block.rules.registry.get(member)
    if found is None or not found.suspended:
        return NOTHING  # it has been removed meanwhile, or is back already
    reinstate(block.state, member)
    block.reload_rules()
    return ORDERED


SUSPEND_MEMBER = own("suspend_member", "member", _suspend)
REINSTATE_MEMBER = own("reinstate_member", "member", _reinstate)
