"""Every domain-separation tag of shared keys, in one place.

A tag separates a hash to a scalar or a point (as RFC 9380's DST), begins a framed hash, or is the
salt of a key derivation. The tags are prefix-free (tested, together with those of the lattice
part), and change their number when what is hashed under them changes.
"""

from __future__ import annotations

from typing import Final

# --- points whose logarithm nobody knows
GENERATOR: Final = b"cipherward/group/v1/generator"

# --- challenges (Fiat-Shamir) of proofs
SLOT_PROOF: Final = b"cipherward/group/v1/slot-proof"
SHARE_PROOF: Final = b"cipherward/group/v1/share-proof"
OPENING_PROOF: Final = b"cipherward/group/v1/opening-proof"
EXTRACTION_PROOF: Final = b"cipherward/group/v1/ceremony-extraction-proof"
READY_PROOF: Final = b"cipherward/group/v1/ceremony-ready-proof"

# --- secret scalars
HEDGED_NONCE: Final = b"cipherward/group/v1/hedged-nonce"
CEREMONY_COEFFICIENT: Final = b"cipherward/group/v1/ceremony-coefficient"
CEREMONY_NONCE: Final = b"cipherward/group/v1/ceremony-nonce"

# --- digests
KEY_IDENTITY: Final = b"cipherward/group/v1/key-identity"
SHARING_DIGEST: Final = b"cipherward/group/v1/sharing-digest"
CEREMONY_SESSION: Final = b"cipherward/group/v1/ceremony-session"

# --- first field of a framed place or label
RECORD_LABEL: Final = b"cipherward/group/v1/record-label"
DEAL_PLACE: Final = b"cipherward/group/v1/ceremony-deal-place"

# --- derived keys
ALLIANCE_PART: Final = b"cipherward/group/v1/alliance-part"
CEREMONY_SEALING: Final = b"cipherward/group/v1/ceremony-sealing"

ALL_TAGS: Final = (
    GENERATOR,
    SLOT_PROOF,
    SHARE_PROOF,
    OPENING_PROOF,
    EXTRACTION_PROOF,
    READY_PROOF,
    HEDGED_NONCE,
    CEREMONY_COEFFICIENT,
    CEREMONY_NONCE,
    KEY_IDENTITY,
    SHARING_DIGEST,
    CEREMONY_SESSION,
    RECORD_LABEL,
    DEAL_PLACE,
    ALLIANCE_PART,
    CEREMONY_SEALING,
)
