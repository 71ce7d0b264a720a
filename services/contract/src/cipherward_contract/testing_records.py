"""What tests about records share: consents, emergencies, and who acts in them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import transaction_pb2 as pb
from cipherward_chain.acts import SUITE_SHARED, anchor_record, countersign
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.canonical import Value
from cipherward_chain.group_keys import (
    POINT_BYTES,
    GroupKeyEntry,
    KeyHolder,
    group_key_key,
    newest_entry,
    newest_epoch,
    newest_group_key_key,
)
from cipherward_chain.group_keys import RECORD as RECORD_KEY
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_contract.entries import INSTANCE, Instance
from cipherward_contract.store import all_pairs, save_writes
from cipherward_contract.testing import (
    MEMBERS,
    Decided,
    Presented,
    Story,
    instantiate,
    transition,
)
from cipherward_contract.testing_anchors import record_anchor
from cipherward_contract.tree import StateTree

RECORD, CONSENT = b"r" * 16, b"c" * 16
READER_KEY = bytes(range(256)) * 4 + bytes(192)  # 1216 bytes
DAY = 86_400


def consent_terms(now: int, **changed: Value) -> dict[str, Value]:
    """Return the terms of a consent to hospital-b's clinicians, for treatment, until tomorrow."""
    return {
        "record": RECORD,
        "grantee_member": "hospital-b",
        "grantee_key": b"",
        "representative_key": b"",
        "purposes": ["TREAT"],
        "expires": now + DAY,
        "visits_max": 3,
        "visit_seconds": 3600,
        **changed,
    }


def opening(consent: bytes = CONSENT, purpose: str = "TREAT") -> pb.Act:
    """Return the act that opens the record of a consent."""
    return transition(consent, "open", reader_key=READER_KEY, purpose=purpose)


@dataclass(frozen=True, slots=True)
class ConsentScene:
    """A record of hospital-a, consented to the clinicians of hospital-b for treatment."""

    story: Story
    owner: PseudonymSigner
    clinician: PseudonymSigner
    expires: int

    @classmethod
    async def begin(cls, story: Story) -> ConsentScene:
        """Anchor the record, register who acts, and consent."""
        owner = await story.record(RECORD, templates=("consent/1", "emergency-access/1"))
        clinician = await story.staff("hospital-b", "clinician", "clinician-b")
        expires = story.now + DAY
        await story.applied(owner, instantiate("consent", CONSENT, consent_terms(story.now)))
        return cls(story, owner, clinician, expires)

    async def open(
        self, signer: PseudonymSigner, purpose: str = "TREAT", consent: bytes = CONSENT
    ) -> TransactionResult:
        """Try to open the record; return what became of it."""
        return (await self.opened(signer, purpose, consent)).results[0]

    async def opened(
        self, signer: PseudonymSigner, purpose: str = "TREAT", consent: bytes = CONSENT
    ) -> Decided:
        """Try to open the record; return the block."""
        act = opening(consent, purpose)
        return await self.story.block(self.story.transaction(signer, act))

    async def state(self, consent: bytes = CONSENT) -> Instance:
        """Return the consent as it stands."""
        return await standing(self.story, consent)


async def standing(story: Story, instance: bytes) -> Instance:
    """Return a contract of the committed state."""
    raw = await story.state(INSTANCE + instance)
    assert raw is not None
    return Instance.from_bytes(instance, raw)


async def share_record_key(story: Story, guardians: Sequence[str] = MEMBERS) -> GroupKeyEntry:
    """Put a record key of the next epoch in force, of which `guardians` have proved their shares.

    The entry is written beside the chain: its points are no key's, and nobody decrypts here.
    """
    newest = await story.state(newest_group_key_key(RECORD_KEY))
    entry = GroupKeyEntry(
        purpose=RECORD_KEY,
        key_epoch=newest_epoch(newest) + 1,
        sharing=1,
        threshold=3,
        public_key=bytes(POINT_BYTES),
        holders=tuple(
            KeyHolder(member, index, bytes(POINT_BYTES), member in guardians)
            for index, member in enumerate(MEMBERS, 1)
        ),
        ceremony=bytes(16),
        height=1,
    )
    pairs = {
        newest_group_key_key(RECORD_KEY): newest_entry(entry.key_epoch),
        group_key_key(RECORD_KEY, entry.key_epoch): entry.to_bytes(),
    }
    await write_beside(story, pairs)
    return entry


async def write_beside(story: Story, pairs: Mapping[bytes, bytes]) -> None:
    """Write pairs into the committed state as no block does, and load it again."""

    def work(connection: sqlite3.Connection) -> None:
        save_writes(connection, pairs)
        root = StateTree(all_pairs(connection)).root
        connection.execute("UPDATE committed SET app_hash = ?", (root,))

    await story.database.write(work)
    await story.chain.load()


async def shared_record(
    story: Story, key_epoch: int, *, owned: bool = True, custodian: str = "hospital-a"
) -> PseudonymSigner:
    """Anchor a record of suite 2 under the record key of an epoch; return its owner's signer."""
    owner = await story.register(
        Presented(f"record:{RECORD.hex()}", "hospital-a", name="owner"), "owner"
    )
    anchor = shared_anchor(key_epoch, custodian)
    slot = hashlib.sha256(b"slot").digest()
    signature = countersign(story.genesis.chain_id, exact_bytes(anchor), seed_of("owner"))
    act = anchor_record(anchor, slot)
    if owned:
        act = anchor_record(anchor, slot, owner.public_key, signature)
    await story.applied(story.member("hospital-a"), act)
    return owner


def shared_anchor(key_epoch: int, custodian: str = "hospital-a") -> pb.RecordAnchor:
    """Return the anchor of a record of suite 2."""
    anchor = record_anchor(RECORD, templates=("consent/1", "emergency-access/1"))
    anchor.suite = SUITE_SHARED
    anchor.key_epoch = key_epoch
    anchor.alliance_slot_digest = hashlib.sha256(b"alliance slot").digest()
    anchor.custodian = custodian
    return anchor
