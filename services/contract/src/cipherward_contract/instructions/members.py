"""What changes who belongs to the alliance: `admit_member`, `seat_validator`, `remove_member`;
`set_authorities`, which changes whose certificates are a member's; and `raise_epoch`, which ends
what a member's issuer has vouched for in this epoch.
"""

from __future__ import annotations

from cipherward_chain.registry_entry import described_member
from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import NOTHING, ORDERED, Consequence, Given, own
from cipherward_contract.marks import raised_entry, raised_key
from cipherward_contract.member_authorities import set_authorities
from cipherward_contract.registry import Registered, admit, remove, seat

SOLO = "solo"  # the engine of one validator, beside which nobody runs a node


def _admit(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    issuer = fields.octets("issuer_public_key")
    member = described_member(fields.text("member"), fields)
    admit(block.state, Registered(member, (issuer,)), runs_node=block.rules.engine != SOLO)
    block.reload_rules()
    return ORDERED


def _seat(block: Block, given: Given) -> Consequence:
    seat(block.state, given.fields().text("member"))
    block.reload_rules()
    return ORDERED


def _remove(block: Block, given: Given) -> Consequence:
    member = given.fields().text("member")
    if member not in block.rules.registry:
        return NOTHING  # another contract has removed it: what was wanted is so
    remove(block.state, member)
    block.state.delete(raised_key(member))
    block.reload_rules()
    return ORDERED


def _set_authorities(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    member, authorities = fields.text("member"), fields.text("authorities")
    if member not in block.rules.registry:
        return NOTHING  # it has been removed meanwhile
    if not set_authorities(block.state, member, authorities):
        return NOTHING
    block.reload_rules()
    return ORDERED


def _raise_epoch(block: Block, given: Given) -> Consequence:
    member = given.fields().text("member")
    if member not in block.rules.registry:
        return NOTHING
    block.state.put(raised_key(member), raised_entry(block.epoch))
    block.reload_rules()
    return ORDERED


ADMIT_MEMBER = own(
    "admit_member",
    "member name index public_key custodian_public_key ca_certificate consensus_public_key"
    " node_id issuer_public_key",
    _admit,
)
SEAT_VALIDATOR = own("seat_validator", "member", _seat)
REMOVE_MEMBER = own("remove_member", "member", _remove)
SET_AUTHORITIES = own("set_authorities", "member authorities", _set_authorities)
RAISE_EPOCH = own("raise_epoch", "member", _raise_epoch)
