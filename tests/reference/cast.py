"""Who takes part in histories, and how what they say becomes a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import countersign, register_pseudonym
from cipherward_chain.authorization import MemberSigner, PseudonymSigner, Signer
from cipherward_chain.canonical import encode
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_contract.testing import Presented, issuer_key
from tests.reference import words

CHAIN = "test-chain"
MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
NO_MEMBER = "hospital-x"
RECORDS = tuple(bytes([number]) * 16 for number in range(1, 7))
KEY_EPOCH = 1  # of the record key that the members have
READER_KEY = bytes(range(256)) * 4 + bytes(192)  # 1216 bytes, as a template wants it
FORMED_BYTES = 65_536  # more than this is no transaction


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person of the cast. `scope` is a record's number for patients, the member for staff."""

    name: str
    schema: str
    issuer: str
    role: str = ""
    record: int = 0

    def scope(self, epoch: int) -> str:
        """Return where they are known in an epoch."""
        if self.schema == "staff":
            return f"duty:{self.issuer}:{epoch}"
        return f"record:{RECORDS[self.record].hex()}"

    def seed(self, epoch: int) -> bytes:
        """Return the seed of their key: staff have a new one every epoch, patients keep theirs."""
        return seed_of(f"{self.name}/{epoch}" if self.schema == "staff" else self.name)

    def presented(self, epoch: int) -> Presented:
        """Return what they show of a credential of an epoch."""
        scope = self.scope(epoch)
        return Presented(scope, self.issuer, self.schema, epoch, self.role, self.name)


def _patient(name: str, record: int, issuer: str = "hospital-a") -> Somebody:
    return Somebody(name, "patient", issuer, record=record)


def _staff(name: str, member: str, role: str) -> Somebody:
    return Somebody(name, "staff", member, role)


PEOPLE = (
    _patient("owner-0", 0),
    _patient("owner-1", 1),
    _patient("owner-2", 2, "hospital-d"),
    _patient("owner-3", 3),
    _patient("representative-0", 0, "hospital-c"),
    _patient("neighbour-0", 0),
    _staff("clinician-b", "hospital-b", "clinician"),
    _staff("clinician-c", "hospital-c", "clinician"),
    _staff("researcher-b", "hospital-b", "researcher"),
    _staff("clerk-b", "hospital-b", ""),  # shows no role
    _staff("researcher-a", "hospital-a", "researcher"),
    _staff("officer-a", "hospital-a", "dpo"),
    _staff("officer-d", "hospital-d", "dpo"),
)
PERSON = {one.name: one for one in PEOPLE}


@lru_cache
def key_of(name: str, epoch: int = 1) -> bytes:
    """Return the public key of a person in an epoch."""
    return SigningKey(PERSON[name].seed(epoch)).public_key


@lru_cache
def _member_signer(member: str, seed_name: str) -> MemberSigner:
    return MemberSigner(member, seed_of(seed_name))


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who signs a transaction, and how the reference is told."""

    signer: Signer
    by: words.By


def member(name: str, *, forged: bool = False) -> Speaker:
    """Return a member; forged: under its name, with another key."""
    seed_name = f"{name}/forged" if forged else name
    key = SigningKey(seed_of(seed_name)).public_key
    return Speaker(_member_signer(name, seed_name), words.ByMember(name, key))


@lru_cache
def registered(name: str, epoch: int) -> Speaker:
    """Return a person with the key of an epoch."""
    signer = PseudonymSigner(PERSON[name].seed(epoch))
    return Speaker(signer, words.ByKey(signer.public_key))


def showing(name: str, epoch: int, scope: str = "", issuer: str = "") -> Speaker:
    """Return a person with a presentation; `scope` and `issuer` where it is not their own."""
    person = PERSON[name]
    own = person.presented(epoch)
    shown = Presented(
        scope or own.scope, issuer or own.issuer, own.schema, epoch, own.role, own.name
    )
    by = words.ByShown(
        issuer_key=issuer_key(shown.issuer),
        issuer=shown.issuer,
        schema=shown.schema,
        epoch=epoch,
        role=shown.role,
        scope=shown.scope,
        pseudonym=shown.pseudonym,
    )
    return Speaker(shown, by)


def anchor(record: int, *, custodian: str, templates: Sequence[str], key_epoch: int) -> bytes:
    """Return the serialised anchor of a record of hospital-a; key epoch 0 is suite 1."""
    record_id = RECORDS[record]
    message = pb.RecordAnchor(
        record_id=record_id,
        ciphertext_digest=hashlib.sha256(record_id).digest(),
        ciphertext_bytes=1024,
        suite=2 if key_epoch else 1,
        custodian_part_commitment=hashlib.sha256(b"part" + record_id).digest(),
        record_key_commitment=hashlib.sha256(b"key" + record_id).digest(),
        author="hospital-a",
        custodian=custodian,
        release_templates=sorted(templates),
        key_epoch=key_epoch,
        alliance_slot_digest=hashlib.sha256(b"slot").digest() if key_epoch else b"",
    )
    return exact_bytes(message)


def act_of(speaker: Speaker, act: words.Act, seed: bytes = b"") -> pb.Act:
    """Return an act as it is sent; `seed` is of the key that it registers or that owns."""
    match act:
        case words.Register():
            by = speaker.by
            scope = by.scope if isinstance(by, words.ByShown) else "record:none"
            return register_pseudonym(CHAIN, scope, seed)
        case words.Anchor(octets, slot_digest, owner):
            signature = countersign(CHAIN, octets, seed) if owner else b""
            wanted = pb.AnchorRecord(
                anchor=octets,
                custodian_slot_digest=slot_digest,
                owner_public_key=owner,
                owner_signature=signature,
            )
            return pb.Act(anchor_record=wanted)
        case words.Instantiate(template, version, instance, terms):
            start = pb.Instantiate(
                template=template, version=version, instance_id=instance, terms=encode(terms)
            )
            return pb.Act(instantiate=start)
        case words.Move(instance, name, arguments):
            move = pb.Transition(instance_id=instance, transition=name, arguments=encode(arguments))
            return pb.Act(transition=move)
        case _:
            return _other_act_of(act)


def _other_act_of(act: words.Act) -> pb.Act:
    match act:
        case words.Vote(instance, name, approve):
            return pb.Act(vote=pb.Vote(instance_id=instance, transition=name, approve=approve))
        case words.Report(height, index, done, digest):
            reference = pb.OrderRef(height=height, index=index)
            outcome = pb.OUTCOME_DONE if done else pb.OUTCOME_FAILED
            return pb.Act(report=pb.Report(order=reference, outcome=outcome, digest=digest))
        case words.Propose():
            wanted = pb.ProposeTemplate(
                document=act.document, instance_id=act.instance, vote_seconds=act.vote_seconds
            )
            return pb.Act(propose_template=wanted)
        case words.Upgrade(instance, version):
            return pb.Act(
                upgrade_instance=pb.UpgradeInstance(instance_id=instance, version=version)
            )
        case words.Allow(record, template):
            return pb.Act(allow_template=pb.AllowTemplate(record_id=record, template=template))
        case _:
            return pb.Act(tick=pb.Tick())


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction as bytes, and in words."""

    raw: bytes
    said: words.Said


def send(
    speaker: Speaker,
    acts: Sequence[tuple[words.Act, pb.Act]],
    *,
    expires_at: int,
    nonce: int,
    chain: str = CHAIN,
) -> Sent:
    """Return a transaction that is signed."""
    raw = build_transaction(
        [message for _, message in acts],
        chain_id=chain,
        expires_at=expires_at,
        signer=speaker.signer,
        nonce=nonce.to_bytes(16, "big"),
    )
    body = pb.Transaction.FromString(raw).body
    said = words.Said(
        id=hashlib.sha256(body).digest(),
        chain_id=chain,
        expires_at=expires_at,
        by=speaker.by,
        acts=tuple(act for act, _ in acts),
    )
    return Sent(raw, said)


def unreadable(*, too_large: bool = False) -> Sent:
    """Return bytes that are no transaction."""
    raw = bytes(FORMED_BYTES + 1) if too_large else b"no transaction"
    fault = "TRANSACTION_TOO_LARGE" if too_large else "TRANSACTION_MALFORMED"
    by = words.ByMember("", b"")
    return Sent(raw, words.Said(b"", "", 0, by, (), fault))
