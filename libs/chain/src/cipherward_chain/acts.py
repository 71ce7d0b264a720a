"""The form of every act, as far as the state is not needed, and the making of two."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.canonical import NotCanonical, decode_map
from cipherward_chain.domains import owner_octets, possession_octets
from cipherward_chain.errors import ChainError
from cipherward_chain.signatures import (
    SIGNATURE_BYTES,
    KeyRefused,
    SigningKey,
    check_public_key,
)
from cipherward_chain.wire import NotExact, exact_bytes, parse_exact

ID_BYTES: Final = 16  # of a record, an instance, a nonce: random, so that nobody meets another's
DIGEST_BYTES: Final = 32
DOCUMENT_BYTES_MAX: Final = 16_384  # terms or arguments: a quarter of a transaction
TEMPLATES_MAX: Final = 16  # a record is released by a handful of templates
MEMBER_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,30}")  # also a DNS label and part of a SPIFFE id
NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")  # a template or a transition
TEMPLATE_VERSION: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}/[1-9][0-9]{0,9}")  # name/version
TEMPLATE_BYTES_MAX: Final = 49_152  # leaves room in a transaction of 64 KiB
CEREMONY_KINDS: Final = ("enrol", "deal", "complain", "answer", "extract", "rebuild", "ready")
SUITE_CUSTODIAN_ONLY: Final = 1  # the custodian's part alone opens the record
SUITE_SHARED: Final = 2  # it takes the custodian's part and the members' shares


class ActMalformed(ChainError):
    """An act is out of form, whatever the state."""

    reason = "ACT_MALFORMED"


def _need(condition: object, why: str) -> None:
    if not condition:
        raise ActMalformed(why)


def _check_document(octets: bytes, what: str) -> None:
    _need(len(octets) <= DOCUMENT_BYTES_MAX, f"{what} is longer than {DOCUMENT_BYTES_MAX} bytes")
    try:
        decode_map(octets)
    except NotCanonical as error:
        raise ActMalformed(f"{what}: {error}") from error


def _check_key(public_key: bytes) -> None:
    try:
        check_public_key(public_key)
    except KeyRefused as error:
        raise ActMalformed(str(error)) from error


def parse_anchor(raw: bytes) -> pb.RecordAnchor:
    """Return the record anchor whose one serialised form is `raw`, or raise `ActMalformed`."""
    try:
        anchor = parse_exact(pb.RecordAnchor, raw)
    except NotExact as error:
        raise ActMalformed(str(error)) from error
    _need(len(anchor.record_id) == ID_BYTES, "a record id has 16 bytes")
    digests = (
        anchor.ciphertext_digest,
        anchor.custodian_part_commitment,
        anchor.record_key_commitment,
    )
    _need(all(len(d) == DIGEST_BYTES for d in digests), "a digest of an anchor has 32 bytes")
    _need(anchor.ciphertext_bytes and anchor.suite, "an anchor names a length and a suite")
    shared = bool(anchor.key_epoch), len(anchor.alliance_slot_digest)
    _need(
        shared == ((True, DIGEST_BYTES) if anchor.suite >= SUITE_SHARED else (False, 0)),
        "an anchor names the members' slot and key, as its suite says",
    )
    members = (anchor.author, anchor.custodian)
    _need(all(MEMBER_ID.fullmatch(m) for m in members), "an anchor names two members")
    templates = list(anchor.release_templates)
    _need(templates == sorted(set(templates)), "release templates are sorted, each once")
    named = len(templates) <= TEMPLATES_MAX and all(map(TEMPLATE_VERSION.fullmatch, templates))
    _need(named, "release templates are name/version, at most 16")
    return anchor


def _register_pseudonym(act: pb.RegisterPseudonym) -> None:
    _check_key(act.public_key)
    _need(len(act.possession) == SIGNATURE_BYTES, "a proof of possession has 64 bytes")


def _anchor_record(act: pb.AnchorRecord) -> None:
    parse_anchor(act.anchor)
    _need(len(act.custodian_slot_digest) == DIGEST_BYTES, "a slot digest has 32 bytes")
    if act.owner_public_key:
        _check_key(act.owner_public_key)
        _need(len(act.owner_signature) == SIGNATURE_BYTES, "an owner's signature has 64 bytes")
    else:
        _need(not act.owner_signature, "an owner's signature without an owner")


def _instantiate(act: pb.Instantiate) -> None:
    _need(NAME.fullmatch(act.template) and act.version, "a template has a name and a version")
    _need(len(act.instance_id) == ID_BYTES, "an instance id has 16 bytes")
    _check_document(act.terms, "terms")


def _transition(act: pb.Transition) -> None:
    _need(len(act.instance_id) == ID_BYTES, "an instance id has 16 bytes")
    _need(NAME.fullmatch(act.transition), "a transition has a name")
    _check_document(act.arguments, "arguments")


def _vote(act: pb.Vote) -> None:
    _need(len(act.instance_id) == ID_BYTES, "an instance id has 16 bytes")
    _need(NAME.fullmatch(act.transition), "a transition has a name")


def _report(act: pb.Report) -> None:
    _need(act.HasField("order") and act.order.height, "a report names an order")
    known = (pb.OUTCOME_DONE, pb.OUTCOME_FAILED)
    _need(act.outcome in known, "a report has an outcome")
    _need(len(act.digest) in (0, DIGEST_BYTES), "a digest has 32 bytes")


def _propose_template(act: pb.ProposeTemplate) -> None:
    _need(len(act.instance_id) == ID_BYTES, "an instance id has 16 bytes")
    _need(0 < len(act.document) <= TEMPLATE_BYTES_MAX, "a template has 1 to 49,152 bytes")
    _need(act.vote_seconds, "a vote takes some time")


def _ceremony_message(act: pb.CeremonyMessage) -> None:
    _need(len(act.instance_id) == ID_BYTES, "an instance id has 16 bytes")
    _need(act.kind in CEREMONY_KINDS, "a ceremony has no message of that kind")


def _bad_share(act: pb.BadShare) -> None:
    _need(len(act.record_id) == ID_BYTES, "a record id has 16 bytes")
    _need(act.part and act.alliance_slot, "evidence has a part and a slot")


def _upgrade_instance(act: pb.UpgradeInstance) -> None:
    _need(len(act.instance_id) == ID_BYTES, "an instance id has 16 bytes")
    _need(act.version, "a template has a version")


def _allow_template(act: pb.AllowTemplate) -> None:
    _need(len(act.record_id) == ID_BYTES, "a record id has 16 bytes")
    _need(TEMPLATE_VERSION.fullmatch(act.template), "a template is name/version")


_CHECKS: Final[dict[str, Callable[[pb.Act], None]]] = {
    "register_pseudonym": lambda act: _register_pseudonym(act.register_pseudonym),
    "anchor_record": lambda act: _anchor_record(act.anchor_record),
    "instantiate": lambda act: _instantiate(act.instantiate),
    "transition": lambda act: _transition(act.transition),
    "vote": lambda act: _vote(act.vote),
    "report": lambda act: _report(act.report),
    "tick": lambda _: None,
    "propose_template": lambda act: _propose_template(act.propose_template),
    "ceremony_message": lambda act: _ceremony_message(act.ceremony_message),
    "bad_share": lambda act: _bad_share(act.bad_share),
    "upgrade_instance": lambda act: _upgrade_instance(act.upgrade_instance),
    "allow_template": lambda act: _allow_template(act.allow_template),
}


def check_act(act: pb.Act) -> None:
    """Raise `ActMalformed` unless `act` is one of the closed list and in form."""
    kind = act.WhichOneof("act")
    if kind is None:
        raise ActMalformed("an act of an unknown kind")
    _CHECKS[kind](act)


def register_pseudonym(chain_id: str, scope: str, seed: bytes) -> pb.Act:
    """Return the act that puts the key of `seed` (32 bytes) behind the pseudonym of `scope`."""
    key = SigningKey(seed)
    possession = key.sign(possession_octets(chain_id, scope, key.public_key))
    return pb.Act(
        register_pseudonym=pb.RegisterPseudonym(public_key=key.public_key, possession=possession)
    )


def countersign(chain_id: str, anchor: bytes, seed: bytes) -> bytes:
    """Return the owner's signature (64 bytes) under a record's serialised anchor."""
    return SigningKey(seed).sign(owner_octets(chain_id, anchor))


def anchor_record(
    anchor: pb.RecordAnchor,
    custodian_slot_digest: bytes,
    owner_public_key: bytes = b"",
    owner_signature: bytes = b"",
) -> pb.Act:
    """Return the act that anchors a record; without an owner the record is unclaimed."""
    return pb.Act(
        anchor_record=pb.AnchorRecord(
            anchor=exact_bytes(anchor),
            custodian_slot_digest=custodian_slot_digest,
            owner_public_key=owner_public_key,
            owner_signature=owner_signature,
        )
    )
