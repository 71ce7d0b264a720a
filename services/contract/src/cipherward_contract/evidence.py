"""Evidence against a member: a part of a record's key that it signed, and that is wrong.

Whoever publishes it need not be believed. The verdict is a pure function of the part, the record's
anchor, the members' slot and the key in force; an honest part proves nothing, and nobody but the
signer can be named. Silence proves nothing either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import SUITE_SHARED
from cipherward_chain.canonical import encode
from cipherward_chain.domains import custodian_part_commitment
from cipherward_chain.group_keys import RECORD, GroupKeyEntry
from cipherward_chain.release_parts import (
    CUSTODIAN,
    ReleasePartRejected,
    check_part,
    parse_part,
)
from cipherward_contract.blocks import Block
from cipherward_contract.ceremonies.shared_keys import past_sharing
from cipherward_contract.entries import anchor_of
from cipherward_contract.index_rows import NoticeGiven
from cipherward_contract.instructions.notices import BAD_SHARE
from cipherward_contract.refusals import Reason, Refused
from cipherward_member.shared_keys import threshold_key
from cipherward_threshold.group.errors import GroupError, OctetsRejected, ShareRejected
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.shares import claimed_sharing
from cipherward_threshold.group.tdh2 import Label, verify_share, verify_slot

FAULT = b"fault/"
# A verdict takes 2.5 ms of every member; whoever has one honest part could ask for it in every act.
JUDGED_MAX = 32
# Verdicts of the last blocks: publishing the same part again costs nothing.
VERDICTS_MAX = 1_024


class EvidenceRefused(ValueError):
    """What was published proves nothing against anybody; the text says why."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What is published, beside what the state holds of the record.

    anchor: the record's, serialised. part: a serialised ReleasePart. slot: the members' slot.
    """

    chain_id: str
    anchor: bytes
    part: bytes
    slot: bytes


def fault_key(member: str, part: bytes) -> bytes:
    """Return the key under which a wrong part of a member stands for good."""
    return FAULT + member.encode() + b"/" + hashlib.sha256(part).digest()


def publish(block: Block, published: pb.BadShare) -> None:
    """Record a wrong part against its signer, and tell those whom it concerns.

    Raises:
        Refused: it proves nothing, was published before, or this block has judged enough.
    """
    record = block.record(published.record_id)
    block.judged += 1
    if block.judged > JUDGED_MAX:
        raise _refused(f"a block judges at most {JUDGED_MAX} pieces of evidence")
    charge = Charge(block.rules.chain_id, record.anchor, published.part, published.alliance_slot)
    try:
        part = signed_part(charge, lambda member: _public_key(block, member))
        judge(charge, part, lambda sharing: _sharing(block, charge, sharing))
    except EvidenceRefused as error:
        raise _refused(str(error)) from error
    key = fault_key(part.member_id, published.part)
    if block.state.get(key) is not None:
        raise _refused("the part was published before")
    fault = {
        "record": published.record_id,
        "order": part.order_digest,
        "role": part.role,
        "height": block.height,
    }
    block.state.put(key, encode(fault))
    anchor = record.parsed()
    told = tuple(sorted({anchor.author, anchor.custodian, part.member_id}))
    block.rows.append(NoticeGiven(BAD_SHARE, published.record_id, b"", told))


def signed_part(charge: Charge, public_key: Callable[[str], bytes]) -> pb.ReleasePart:
    """Return the part, if it is about this record and its signer has signed it.

    Args:
        public_key: returns a member's key, or raises `EvidenceRefused`.

    Raises:
        EvidenceRefused: it is out of form, about another record, or signed by somebody else.
    """
    try:
        part = parse_part(charge.part)
        check_part(charge.chain_id, part, public_key(part.member_id))
    except ReleasePartRejected as error:
        raise EvidenceRefused(str(error)) from error
    if part.anchor_digest != hashlib.sha256(charge.anchor).digest():
        raise EvidenceRefused("the part is about another record")
    return part


def judge(
    charge: Charge, part: pb.ReleasePart, sharing: Callable[[int], GroupKeyEntry | None]
) -> None:
    """Accept a part that is wrong.

    Args:
        part: signed by the member that it names, about this record.
        sharing: returns a sharing of the record's key epoch by its number, or None if there never
            was one.

    Raises:
        EvidenceRefused: the part is right, or nothing here can tell.
    """
    anchor = anchor_of(charge.anchor)
    if part.role == CUSTODIAN:
        if part.member_id != anchor.custodian:
            raise EvidenceRefused("the signer is not the record's custodian")
        right = custodian_part_commitment(anchor.record_id, part.body)
        if right == anchor.custodian_part_commitment:
            raise EvidenceRefused("the custodian's part is right")
        return
    slot_digest = hashlib.sha256(charge.slot).digest()
    if anchor.suite < SUITE_SHARED or slot_digest != anchor.alliance_slot_digest:
        raise EvidenceRefused("the slot is not the one that the anchor names")
    try:
        entry = sharing(claimed_sharing(part.body))
    except OctetsRejected:  # not the form of a share
        entry = None
    index = entry.index_of(part.member_id) if entry is not None else None
    if entry is None or index is None:
        return  # or of a sharing that its signer never had a share of
    label = Label(charge.chain_id, anchor.record_id, anchor.custodian, anchor.key_epoch)
    key = threshold_key(charge.chain_id, entry)
    _judge_share(key, label, charge.slot, part.body, (part.order_digest, index))


def _judge_share(
    key: ThresholdKey, label: Label, slot: bytes, share: bytes, made: tuple[bytes, int]
) -> None:
    why = _why_right(key, label, slot, share, made)
    if why:
        raise EvidenceRefused(why)


@lru_cache(VERDICTS_MAX)
def _why_right(
    key: ThresholdKey, label: Label, slot: bytes, share: bytes, made: tuple[bytes, int]
) -> str:
    """Return why a share proves nothing against holder `index`, or "" when it is wrong."""
    context, index = made
    try:
        verified = verify_slot(key, label, slot)
    except GroupError:
        return "the slot itself is wrong: that is its author's doing"
    try:
        verify_share(key, verified, share, context, index=index)
    except ShareRejected:
        return ""
    return "the share is right"


def _public_key(block: Block, member: str) -> bytes:
    found = block.rules.registry.get(member)
    if found is None:
        raise EvidenceRefused("the signer is no member (any more)")
    return found.member.public_key


def _sharing(block: Block, charge: Charge, sharing: int) -> GroupKeyEntry | None:
    return past_sharing(block.state, RECORD, anchor_of(charge.anchor).key_epoch, sharing)


def _refused(why: str) -> Refused:
    return Refused(Reason.EVIDENCE_REFUSED, why)
