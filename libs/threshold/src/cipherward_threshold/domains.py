"""Every domain-separation tag of this library, in one place.

A tag is hashed behind its own length, so no derivation can be read as another one; the tags are
also prefix-free (tested), which keeps that true for readers who forget the length. Message frames
start with `wire.MAGIC`, which is no prefix of a tagged input either.
"""

from __future__ import annotations

COMMON_POLYNOMIAL = b"cipherward/threshold/v1/common-polynomial"
CONTEXT = b"cipherward/threshold/v1/context"
MEMBER_SECRET = b"cipherward/threshold/v1/member-secret"
PUBLIC_KEY_ERROR = b"cipherward/threshold/v1/public-key-error"
SHARE_COMMITMENT = b"cipherward/threshold/v1/share-commitment"
SHARE_DIGEST = b"cipherward/threshold/v1/share-digest"
KEY_ID = b"cipherward/threshold/v1/key-id"
DEAL_POLYNOMIAL = b"cipherward/threshold/v1/deal-polynomial"
DEAL_MASK = b"cipherward/threshold/v1/deal-small-mask"
DEAL_MASK_ERROR = b"cipherward/threshold/v1/deal-mask-error"
DEAL_CHALLENGE = b"cipherward/threshold/v1/deal-challenge"
RESHARE_POLYNOMIAL = b"cipherward/threshold/v1/reshare-polynomial"
RESHARE_MASK_ERROR = b"cipherward/threshold/v1/reshare-mask-error"
RESHARE_DEALER = b"cipherward/threshold/v1/reshare-dealer"
CIPHERTEXT_C1 = b"cipherward/threshold/v1/ciphertext-c1"
DECRYPTION_FLOODING = b"cipherward/threshold/v1/decryption-flooding"
SWITCH_ENCRYPTION = b"cipherward/threshold/v1/switch-encryption"
REQUESTER_SECRET = b"cipherward/threshold/v1/requester-secret"
REQUESTER_ERROR = b"cipherward/threshold/v1/requester-error"
REQUESTER_POLYNOMIAL_SEED = b"cipherward/threshold/v1/requester-seed-of-polynomial"
REQUESTER_POLYNOMIAL = b"cipherward/threshold/v1/requester-polynomial"
CONTRIBUTION_RANDOMNESS = b"cipherward/threshold/v1/contribution-randomness"
PROOF_OF_ENCRYPTION = b"cipherward/threshold/v1/proof-of-encryption"
PROOF_OF_ZERO = b"cipherward/threshold/v1/proof-of-zero"
PROOF_OF_KEY_SHARE = b"cipherward/threshold/v1/proof-of-key-share"
PROOF_CHALLENGE = b"cipherward/threshold/v1/proof-challenge"
PROOF_MASK_SEED = b"cipherward/threshold/v1/proof-seed-of-masks"
PROOF_MASKS = b"cipherward/threshold/v1/proof-masks"
KEY_SHARE_PROOF_SEED = b"cipherward/threshold/v1/key-share-proof-seed"
EVALUATION_SEED = b"cipherward/threshold/v1/evaluation-seed"
COEFFICIENT_MASK = b"cipherward/threshold/v1/coefficient-mask"
RELIN_POLYNOMIAL = b"cipherward/threshold/v1/relinearisation-polynomial"
RELIN_EPHEMERAL = b"cipherward/threshold/v1/relinearisation-ephemeral"
RELIN_FIRST_ERROR = b"cipherward/threshold/v1/relinearisation-error-first"
RELIN_SECOND_ERROR = b"cipherward/threshold/v1/relinearisation-error-second"
ROTATION_POLYNOMIAL = b"cipherward/threshold/v1/rotation-polynomial"
ROTATION_ERROR = b"cipherward/threshold/v1/rotation-error"
TEST_VALUES = b"cipherward/threshold/v1/test-values"
TRIAL_VALUES = b"cipherward/threshold/v1/trial-values"
TRIAL_RANDOMNESS = b"cipherward/threshold/v1/trial-randomness"

ALL_TAGS = (
    COMMON_POLYNOMIAL,
    CONTEXT,
    MEMBER_SECRET,
    PUBLIC_KEY_ERROR,
    SHARE_COMMITMENT,
    SHARE_DIGEST,
    KEY_ID,
    DEAL_POLYNOMIAL,
    DEAL_MASK,
    DEAL_MASK_ERROR,
    DEAL_CHALLENGE,
    RESHARE_POLYNOMIAL,
    RESHARE_MASK_ERROR,
    RESHARE_DEALER,
    CIPHERTEXT_C1,
    DECRYPTION_FLOODING,
    SWITCH_ENCRYPTION,
    REQUESTER_SECRET,
    REQUESTER_ERROR,
    REQUESTER_POLYNOMIAL_SEED,
    REQUESTER_POLYNOMIAL,
    CONTRIBUTION_RANDOMNESS,
    PROOF_OF_ENCRYPTION,
    PROOF_OF_ZERO,
    PROOF_OF_KEY_SHARE,
    PROOF_CHALLENGE,
    PROOF_MASK_SEED,
    PROOF_MASKS,
    KEY_SHARE_PROOF_SEED,
    EVALUATION_SEED,
    COEFFICIENT_MASK,
    RELIN_POLYNOMIAL,
    RELIN_EPHEMERAL,
    RELIN_FIRST_ERROR,
    RELIN_SECOND_ERROR,
    ROTATION_POLYNOMIAL,
    ROTATION_ERROR,
    TEST_VALUES,
    TRIAL_VALUES,
    TRIAL_RANDOMNESS,
)
