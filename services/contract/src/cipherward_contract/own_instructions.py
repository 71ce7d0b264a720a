"""The instructions that contract carries out itself: they change the registry or the parameters.

Each is done in the block, all or nothing with the transaction that caused it, and seen by the
transactions after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cipherward_chain.canonical import Value
from cipherward_chain.fields import Fields
from cipherward_chain.genesis import Member
from cipherward_contract.blocks import Block
from cipherward_contract.instructions import (
    ADMIT_MEMBER,
    REMOVE_MEMBER,
    SEAT_VALIDATOR,
    SET_MACHINE_VERSION,
)
from cipherward_contract.machine_versions import Upgrade, schedule
from cipherward_contract.registry import Registered, admit, remove, seat

SOLO = "solo"  # the engine of one validator, beside which nobody runs a node


def carry_out(block: Block, name: str, arguments: Mapping[str, Value]) -> bool:
    """Carry an instruction out if it is contract's own.

    Returns:
        Whether an order is to be written: not when it has nothing left to do.

    Raises:
        Refused: the state does not allow it.
    """
    own = _OWN.get(name)
    if own is None:
        return True
    done = own(block, Fields(arguments))
    if done:
        block.reload_rules()
    return done


def _admit_member(block: Block, fields: Fields) -> bool:
    issuer = fields.octets("issuer_public_key")
    member = Member(
        id=fields.text("member"),
        name=fields.text("name"),
        index=fields.integer("index"),
        public_key=fields.octets("public_key"),
        custodian_public_key=fields.octets("custodian_public_key"),
        ca_certificate=fields.text("ca_certificate"),
        consensus_public_key=fields.octets("consensus_public_key"),
        node_id=fields.octets("node_id"),
    )
    admit(block.state, Registered(member, (issuer,)), runs_node=block.rules.engine != SOLO)
    return True


def _seat_validator(block: Block, fields: Fields) -> bool:
    seat(block.state, fields.text("member"))
    return True


def _remove_member(block: Block, fields: Fields) -> bool:
    member = fields.text("member")
    if member not in block.rules.registry:
        return False  # another contract has removed it: what was wanted is so
    remove(block.state, member)
    return True


def _set_machine_version(block: Block, fields: Fields) -> bool:
    wanted = Upgrade(fields.integer("version"), fields.integer("height"))
    schedule(block.state, block.rules.upgrade, wanted, block.height)
    return True


_OWN: Mapping[str, Callable[[Block, Fields], bool]] = {
    ADMIT_MEMBER: _admit_member,
    SEAT_VALIDATOR: _seat_validator,
    REMOVE_MEMBER: _remove_member,
    SET_MACHINE_VERSION: _set_machine_version,
}
