"""Every domain-separation tag of the product outside the two crypto libraries.

A tag ends in a zero byte and holds no other, so that none is a prefix of another; a test holds
that.
Source: docs/keys.md lists which key signs or derives under which tag.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from cipherward_chain.wire import length_prefixed

# Signatures and presentations over a transaction's body.
TRANSACTION: Final = b"cipherward/tx/v1\0"
# Who authorises a transaction, as its body names it.
AUTHORIZER: Final = b"cipherward/authorizer/v1\0"
# Signatures and presentations over the body of an authorized read.
READ: Final = b"cipherward/read/v1\0"
# Possession of the key that a pseudonym registers.
POSSESSION: Final = b"cipherward/possession/v1\0"
# The owner's countersignature under a record's anchor.
OWNER: Final = b"cipherward/owner/v1\0"
# Commitment to the part of a record's key that the custodian holds.
CUSTODIAN_PART: Final = b"cipherward/custodian-part/v1\0"
# Commitment to the key that opens a record's chunks.
RECORD_KEY: Final = b"cipherward/record-key/v1\0"
# HKDF info that derives a record's key from its parts.
RECORD_KDF: Final = b"cipherward/record-kdf/v1\0"
# Associated data of a record's chunk.
RECORD_CHUNK: Final = b"cipherward/record-chunk/v1\0"
# What a member signs when it hands out its part of a record's key.
RELEASE_PART: Final = b"cipherward/release-part/v1\0"
# Key under which a custodian keeps a slot at rest, and that slot's associated data.
SLOT_AT_REST: Final = b"cipherward/slot-at-rest/v1\0"
# Key under which a guardian keeps its seeds and shares at rest, and their associated data.
GUARDIAN_AT_REST: Final = b"cipherward/guardian-at-rest/v1\0"
# A member's statement that it has erased a record.
ERASED: Final = b"cipherward/erased/v1\0"
# Id of a contract that another contract has begun.
BEGUN_CONTRACT: Final = b"cipherward/begun-contract/v1\0"
# Id of a contract about who belongs to the alliance, which every member finds by what it is about.
PROPOSED_CHANGE: Final = b"cipherward/proposed-change/v1\0"
# What an invitation's checksum is taken over.
INVITATION: Final = b"cipherward/invitation/v1\0"
# Context of an opening share: the warrant that it is for.
WARRANT: Final = b"cipherward/warrant/v1\0"
# `info` of every value sealed by HPKE.
SEALED: Final = b"cipherward/sealed/v1\0"
# Seed that a key ceremony derives from the block that ordered it.
CEREMONY_SEED: Final = b"cipherward/ceremony-seed/v1\0"
# Running hash over the messages of a ceremony that shares a key.
CEREMONY_LOG: Final = b"cipherward/ceremony-log/v1\0"
# Keys that a wallet derives from its root secret.
WALLET_KEY: Final = b"cipherward/wallet-key/v1\0"
# Associated data of a wallet's backup file.
WALLET_BACKUP: Final = b"cipherward/wallet-backup/v1\0"
# A member's signature over the manifest of a backup of its stores.
BACKUP: Final = b"cipherward/backup/v1\0"

# identity: HKDF info of the key under which codes and sessions are derived; it never leaves the
# process.
IDENTITY_DESK_KEY: Final = b"cipherward/identity-desk-key/v1\0"
# identity: HMAC inputs under that key.
IDENTITY_ADMISSION_CODE: Final = b"cipherward/identity-admission-code/v1\0"
IDENTITY_SESSION: Final = b"cipherward/identity-session/v1\0"
# identity: plain hashes that stand in the store.
IDENTITY_CODE_HASH: Final = b"cipherward/identity-code-hash/v1\0"
IDENTITY_REQUEST: Final = b"cipherward/identity-request/v1\0"

# compute, from here on.
# Context of a study's key ceremony: what its public polynomial and its secrets are bound to.
STUDY_CEREMONY: Final = b"cipherward/study-ceremony/v1\0"
# Commitment to a message that a member will show in a ceremony.
STUDY_COMMITMENT: Final = b"cipherward/study-commitment/v1\0"
# Challenge for all deals of a ceremony: everything that its members have committed to.
STUDY_TRANSCRIPT: Final = b"cipherward/study-transcript/v1\0"
# A member's secret seed of one study's key.
STUDY_SECRET_SEED: Final = b"cipherward/study-secret-seed/v1\0"
# A member's secret seed of the noise in its shares of one study.
STUDY_NOISE_SEED: Final = b"cipherward/study-noise-seed/v1\0"
# Context of a share: the order that asked for it, and whom it is for.
STUDY_SHARE: Final = b"cipherward/study-share/v1\0"
# What a member says it destroyed, when a study had no key yet.
STUDY_WITHOUT_KEY: Final = b"cipherward/study-without-key/v1\0"
# Context of an attempt to share a data key anew: what its deals are bound to.
RESHARING: Final = b"cipherward/resharing/v1\0"
# What the new holders agree on when they have verified all deals: the key, and its new sharing.
RESHARING_CONFIRMED: Final = b"cipherward/resharing-confirmed/v1\0"
# Public seed of the ciphertext that a new sharing is tried with.
RESHARING_TRIAL: Final = b"cipherward/resharing-trial/v1\0"
# Associated data of what is encrypted at rest.
COMPUTE_AT_REST: Final = b"cipherward/compute-at-rest/v1\0"
# Name under which a contribution of rows is compared with an earlier one.
COMPUTE_ROWS: Final = b"cipherward/compute-rows/v1\0"
# Commitment to a contribution and to the block before which opt-outs count.
STUDY_CONTRIBUTION: Final = b"cipherward/study-contribution/v1\0"
# Context of a proof of correct encryption: whose input it is, and to which sum of which study.
STUDY_PROOF: Final = b"cipherward/study-proof/v1\0"
# Name of a batch of ciphertexts that is released together.
STUDY_BATCH: Final = b"cipherward/study-batch/v1\0"
# Commitment to the cells that a guardian leaves out.
STUDY_VERDICT: Final = b"cipherward/study-verdict/v1\0"
# Name under which a patient who is out stands in the store, keyed.
OPT_OUT_SUBJECT: Final = b"cipherward/opt-out-subject/v1\0"
# What a member signs when it has taken a patient's choice.
OPT_OUT_RECEIPT: Final = b"cipherward/opt-out-receipt/v1\0"
# Name under which a patient who has enrolled for encrypted columns stands in the store, keyed.
ENROLLED: Final = b"cipherward/enrolled/v1\0"
# Context of a proof of correct encryption of columns: whose they are, and in which slots.
COLUMN_PROOF: Final = b"cipherward/column-proof/v1\0"
# The slots of all columns of a data key.
COLUMN_SLOTS: Final = b"cipherward/column-slots/v1\0"
# Commitment to the list of a member's encrypted columns.
COLUMN_MANIFEST: Final = b"cipherward/column-manifest/v1\0"
# Weights by which the flags of a member's columns are checked.
COLUMN_WEIGHTS: Final = b"cipherward/column-weights/v1\0"
# What a hospital names on the chain when it asks for scores: the use, and nothing about whom.
INFERENCE_REQUEST: Final = b"cipherward/inference-request/v1\0"
# Commitment to the encrypted mask of a use, and to the key that its scores are for.
MASK_COMMITMENT: Final = b"cipherward/mask-commitment/v1\0"
# Context of a proof of correct encryption of a mask.
MASK_PROOF: Final = b"cipherward/mask-proof/v1\0"
# Weights by which a mask is checked.
MASK_WEIGHTS: Final = b"cipherward/mask-weights/v1\0"
# Heads of jobs for a member's own workers, and of their replies, on a queue that is not trusted.
COMPUTE_JOB: Final = b"cipherward/compute-job/v1\0"
COMPUTE_REPLY: Final = b"cipherward/compute-reply/v1\0"

TAGS: Final = (
    TRANSACTION,
    AUTHORIZER,
    READ,
    POSSESSION,
    OWNER,
    CUSTODIAN_PART,
    RECORD_KEY,
    RECORD_KDF,
    RECORD_CHUNK,
    RELEASE_PART,
    SLOT_AT_REST,
    GUARDIAN_AT_REST,
    ERASED,
    BEGUN_CONTRACT,
    PROPOSED_CHANGE,
    INVITATION,
    WARRANT,
    SEALED,
    CEREMONY_SEED,
    CEREMONY_LOG,
    WALLET_KEY,
    WALLET_BACKUP,
    BACKUP,
    IDENTITY_DESK_KEY,
    IDENTITY_ADMISSION_CODE,
    IDENTITY_SESSION,
    IDENTITY_CODE_HASH,
    IDENTITY_REQUEST,
    STUDY_CEREMONY,
    STUDY_COMMITMENT,
    STUDY_TRANSCRIPT,
    STUDY_SECRET_SEED,
    STUDY_NOISE_SEED,
    STUDY_SHARE,
    STUDY_WITHOUT_KEY,
    RESHARING,
    RESHARING_CONFIRMED,
    RESHARING_TRIAL,
    COMPUTE_AT_REST,
    COMPUTE_ROWS,
    STUDY_CONTRIBUTION,
    STUDY_PROOF,
    STUDY_BATCH,
    STUDY_VERDICT,
    OPT_OUT_SUBJECT,
    OPT_OUT_RECEIPT,
    ENROLLED,
    COLUMN_PROOF,
    COLUMN_SLOTS,
    COLUMN_MANIFEST,
    COLUMN_WEIGHTS,
    INFERENCE_REQUEST,
    MASK_COMMITMENT,
    MASK_PROOF,
    MASK_WEIGHTS,
    COMPUTE_JOB,
    COMPUTE_REPLY,
)


def transaction_context(body: bytes) -> bytes:
    """Return the octets that authorize a transaction's `body`."""
    return TRANSACTION + body


def member_authorizer(member_id: str, public_key: bytes) -> bytes:
    """Return how a body names (32 bytes) the member that signs it with that key."""
    octets = b"\1" + length_prefixed(member_id.encode()) + public_key
    return hashlib.sha256(AUTHORIZER + octets).digest()


def pseudonym_authorizer(public_key: bytes) -> bytes:
    """Return how a body names (32 bytes) the registered key that signs it."""
    return hashlib.sha256(AUTHORIZER + b"\2" + public_key).digest()


def presentation_authorizer(pseudonym: bytes) -> bytes:
    """Return how a body names (32 bytes) the pseudonym whose presentation authorises it."""
    return hashlib.sha256(AUTHORIZER + b"\3" + pseudonym).digest()


def read_context(body: bytes) -> bytes:
    """Return the octets that authorize a read's `body`."""
    return READ + body


def possession_octets(chain_id: str, scope: str, public_key: bytes) -> bytes:
    """Return what a pseudonym's new key signs when it is registered."""
    return (
        POSSESSION
        + length_prefixed(chain_id.encode())
        + length_prefixed(scope.encode())
        + public_key
    )


def owner_octets(chain_id: str, anchor: bytes) -> bytes:
    """Return what a record's owner signs: the chain and the anchor's immutable bytes."""
    return OWNER + length_prefixed(chain_id.encode()) + anchor


def custodian_part_commitment(record_id: bytes, key_part: bytes) -> bytes:
    """Return the commitment (32 bytes) to the custodian's part of a record's key."""
    return hashlib.sha256(CUSTODIAN_PART + record_id + key_part).digest()


def record_key_commitment(record_id: bytes, key: bytes) -> bytes:
    """Return the commitment (32 bytes) to the key that opens a record's chunks."""
    return hashlib.sha256(RECORD_KEY + record_id + key).digest()


def ceremony_seed(chain_id: str, height: int, instance: bytes) -> bytes:
    """Return the public seed (32 bytes) of the ceremony that block `height` orders."""
    prefixed = length_prefixed(chain_id.encode()) + height.to_bytes(8, "big")
    return hashlib.sha256(CEREMONY_SEED + prefixed + instance).digest()


def verdict_digest(study: bytes, member: str, verdict: bytes) -> bytes:
    """Return what a guardian tells the chain (32 bytes) about the cells that it leaves out."""
    octets = b"".join(map(length_prefixed, (study, member.encode(), verdict)))
    return hashlib.sha256(STUDY_VERDICT + octets).digest()


def batch_digest(c1_digests: Sequence[bytes]) -> bytes:
    """Return the name (32 bytes) of a batch of ciphertexts, by the names of their key and c1."""
    return hashlib.sha256(STUDY_BATCH + b"".join(map(length_prefixed, c1_digests))).digest()


def release_part_octets(
    chain_id: str, signer: tuple[str, str], about: tuple[bytes, bytes], body: bytes
) -> bytes:
    """Return what a member signs under its part of a record's key.

    Args:
        signer: role and member id.
        about: digests of the order and of the record's anchor.
    """
    texts = b"".join(length_prefixed(text.encode()) for text in (chain_id, *signer))
    return RELEASE_PART + texts + b"".join(length_prefixed(octets) for octets in (*about, body))


def begun_contract(parent: bytes, height: int, place: int) -> bytes:
    """Return the id (16 bytes) of the contract that `parent` begins in block `height`."""
    octets = parent + height.to_bytes(8, "big") + place.to_bytes(4, "big")
    return hashlib.sha256(BEGUN_CONTRACT + octets).digest()[:16]


def proposed_change(chain_id: str, template: str, subject: bytes, attempt: int) -> bytes:
    """Return the id (16 bytes) under which the members find a proposal by what it is about.

    Args:
        subject: whom, or whose registration, it is about.
        attempt: how many proposals about it have ended, from 0 to 255.
    """
    named = b"".join(length_prefixed(one) for one in (chain_id.encode(), template.encode()))
    octets = named + length_prefixed(subject) + attempt.to_bytes(1, "big")
    return hashlib.sha256(PROPOSED_CHANGE + octets).digest()[:16]


def warrant_context(chain_id: str, warrant: bytes, recipient: str) -> bytes:
    """Return what an opening share's proof is bound to: the warrant and who gets the share."""
    octets = length_prefixed(chain_id.encode()) + length_prefixed(recipient.encode()) + warrant
    return hashlib.sha256(WARRANT + octets).digest()
