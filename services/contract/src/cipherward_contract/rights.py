"""Who may read: a reader, proven by signature, judged against the committed state.

A reader without the right is refused like one whose signature is wrong. Presentations are not
accepted here: this service verifies none.
"""

from __future__ import annotations

from cipherward_chain.reads import Reader
from cipherward_contract.actors import Actor, member_actor, registered_actor
from cipherward_contract.blocks import Block
from cipherward_contract.entries import Instance, Record
from cipherward_contract.judging import Case, open_case
from cipherward_contract.parties import Scene, parties_of
from cipherward_contract.refusals import Refused
from cipherward_member.errors import ReadRejected


def reading_actor(block: Block, reader: Reader) -> Actor:
    """Return who reads, if their key counts now; else raise `ReadRejected`."""
    try:
        if reader.kind == "member":
            return member_actor(block, reader.member, reader.public_key)
        if reader.kind == "pseudonym":
            actor = registered_actor(block, reader.public_key)
            if not actor.lapsed:
                return actor
    except Refused:
        pass
    raise ReadRejected


def may_read_case(case: Case, actor: Actor) -> bool:
    """Say whether somebody may read an instance: a member, or one of its parties.

    That anybody on duty may begin a contract makes them no reader of everybody else's.
    """
    origin, parties = case.instance.origin, case.template.parties
    scene = Scene(origin.terms, origin.creator, case.record)
    found = parties_of(case.template, actor, scene)
    return actor.kind == "member" or any(parties[name].kind != "any_staff" for name in found)


def may_read_record(record: Record, actor: Actor) -> bool:
    """Say whether somebody may read who asked for a record: its owner, author or custodian."""
    anchor = record.parsed()
    if actor.kind == "member":
        return actor.member in (anchor.author, anchor.custodian)
    return actor.key != b"" and actor.key == record.owner


def readable_case(block: Block, instance: Instance, actor: Actor) -> Case:
    """Return the case of an instance that `actor` may read; else raise `ReadRejected`."""
    try:
        case = open_case(block, instance, actor)
    except Refused:
        raise ReadRejected from None
    if not may_read_case(case, actor):
        raise ReadRejected
    return case
