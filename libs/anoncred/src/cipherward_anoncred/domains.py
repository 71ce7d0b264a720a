"""Every domain-separation tag of this library.

Two hashes of different meaning never share a tag.  Our own tags start with `CIPHERWARD_`, are
prefix-free (tested), and change their number when what is hashed under them changes.  The IETF tags
are those of the drafts' ciphersuite BLS12-381-SHA-256.
"""

from __future__ import annotations

# --- IETF: draft-irtf-cfrg-bbs-signatures section 7.2.2 and the interfaces built on it
SUITE = b"BBS_BLS12381G1_XMD:SHA-256_SSWU_RO_"
CORE_API = SUITE + b"H2G_HM2S_"
BLIND_API = SUITE + b"BLIND_H2G_HM2S_"
NYM_API = SUITE + b"H2G_HM2S_PSEUDONYM_"
KEYGEN = SUITE + b"KEYGEN_DST_"

# suffixes and prefixes that the drafts put around an API id
BLIND_PREFIX = b"BLIND_"
HASH_TO_SCALAR = b"H2S_"
MAP_MESSAGE = b"MAP_MSG_TO_SCALAR_AS_HASH_"
GENERATOR_SEED = b"SIG_GENERATOR_SEED_"
GENERATOR_POINT = b"SIG_GENERATOR_DST_"
GENERATOR_START = b"MESSAGE_GENERATOR_SEED"
NYM_VECTOR = b"VECT_NYM_SECRETS"

# --- CipherWard: group elements
IDENTITY_BASE = b"CIPHERWARD_IDENTITY_BASE_V1_"

# --- CipherWard: Fiat-Shamir challenges
REQUEST_FIRST = b"CIPHERWARD_REQUEST_FIRST_V1_"
REQUEST_SAME_SECRET = b"CIPHERWARD_REQUEST_SAME_SECRET_V1_"
PRESENTATION = b"CIPHERWARD_PRESENTATION_V1_"

# --- CipherWard: hedged random scalars, one tag per place that draws them
NONCES_REQUEST_FIRST = b"CIPHERWARD_NONCES_REQUEST_FIRST_V1_"
NONCES_REQUEST_SAME_SECRET = b"CIPHERWARD_NONCES_REQUEST_SAME_SECRET_V1_"
NONCES_PRESENTATION = b"CIPHERWARD_NONCES_PRESENTATION_V1_"
NONCES_ISSUER_ENTROPY = b"CIPHERWARD_NONCES_ISSUER_ENTROPY_V1_"
NONCES_SIGNER_MASK = b"CIPHERWARD_NONCES_SIGNER_MASK_V1_"

# --- CipherWard: first field of an encoding
HEADER = b"CIPHERWARD_CREDENTIAL_HEADER_V1_"
ATTRIBUTE = b"CIPHERWARD_ATTRIBUTE_V1_"
CREDENTIAL = b"CIPHERWARD_CREDENTIAL_OCTETS_V1_"
ISSUER_RECORD = b"CIPHERWARD_ISSUER_RECORD_V1_"
PENDING_REQUEST = b"CIPHERWARD_PENDING_REQUEST_V1_"
