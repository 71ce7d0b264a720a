"""The closed list of instructions, and the orders that they become.

An instruction is total and bounded: its arguments are exactly those listed here, each taken from
the instance, its record or the block by an expression of the template. Who carries it out is read
from the order itself: one custodian, all members of a study, or the members of a release's set.
What changes the registry or the parameters contract carries out itself, in the block: its order
names nobody, is reported by nobody, and tells every service what has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cipherward_chain.canonical import Value
from cipherward_contract.templates.values import member_list


@dataclass(frozen=True, slots=True)
class InstructionKind:
    """One entry of the closed list.

    arguments: the order's arguments, exactly.
    executors: the argument that names who carries it out; "" for what is done in the block.
    is_step: the state that is entered waits for the executors' reports.
    """

    arguments: frozenset[str]
    executors: str
    is_step: bool = False


def _kind(executors: str, arguments: str, *, is_step: bool = False) -> InstructionKind:
    return InstructionKind(frozenset(arguments.split()), executors, is_step)


_START = (
    "study stage step members threshold minimum spec_digest requester_key_digest key_digest"
    " commitments"
)
# `disclose` orders nothing: it makes a row of this service's own index, and marks who may read a
# record.
DISCLOSE = "disclose"
RELEASE_KEY = "release_key"
ADMIT_MEMBER, REMOVE_MEMBER = "admit_member", "remove_member"
SEAT_VALIDATOR, SET_MACHINE_VERSION = "seat_validator", "set_machine_version"

INSTRUCTIONS: Mapping[str, InstructionKind] = {
    RELEASE_KEY: _kind(
        "custodian",
        "record custodian anchor_digest slot_digest reader_key reader grant ends",
    ),
    "revoke_key": _kind("custodian", "record custodian grant"),
    "cut_transfers": _kind("custodian", "record custodian grant"),
    DISCLOSE: _kind("", "record purpose"),
    "run_key_ceremony": _kind(
        "members", "study step members threshold seed commitments reveals", is_step=True
    ),
    "start_study": _kind("members", _START, is_step=True),
    "release_counts": _kind(
        "members", "study members set digest threshold minimum key_digest", is_step=True
    ),
    "release_result": _kind(
        "set",
        "study members set digest requester_key_digest key_digest threshold",
        is_step=True,
    ),
    "retire_key": _kind("members", "study members"),
    ADMIT_MEMBER: _kind(
        "",
        "member name index public_key custodian_public_key ca_certificate consensus_public_key"
        " node_id issuer_public_key",
    ),
    SEAT_VALIDATOR: _kind("", "member"),
    REMOVE_MEMBER: _kind("", "member"),
    SET_MACHINE_VERSION: _kind("", "version height"),
}


def executors_of(kind: InstructionKind, arguments: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the members that an order names, sorted."""
    named = arguments.get(kind.executors, ())
    if isinstance(named, str):
        return (named,)
    return tuple(sorted(member_list(named)))
