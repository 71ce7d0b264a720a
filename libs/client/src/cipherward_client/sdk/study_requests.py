"""What a study's contract is told of a draft; the text itself is `cipherward_studies`' business."""

from __future__ import annotations

from cipherward_chain.canonical import decode_map, encode
from cipherward_client.sdk.column_studies import column_terms, threshold_of
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.errors import CheckFailed
from cipherward_client.wallet.entries import KeptStudy
from cipherward_studies.column_plan import plan_for
from cipherward_studies.document import MINIMUM_LEAST
from cipherward_studies.plan import Plan
from cipherward_studies.spec import Draft, StudySpec

MINIMUM = MINIMUM_LEAST  # patients in every published cell: the least that the contract allows

__all__ = [
    "MINIMUM",
    "NO_KEY",
    "StudyRequestInvalid",
    "kept_bytes",
    "kept_draft",
    "members_of",
    "rounds_of",
    "study_terms",
    "threshold_of",
]

NO_KEY = b"\0"  # in the place of a researcher's key, while nothing is asked yet


class StudyRequestInvalid(CheckFailed):
    """The request asks for something that no study can be."""

    reason = "STUDY_REQUEST_INVALID"


def study_terms(
    draft: Draft, spec: StudySpec, members: tuple[str, ...], permit: tuple[bytes, int]
) -> bytes:
    """Return the canonical terms of the study's contract, over these members.

    Args:
        spec: the draft's text for the researcher's key.
        permit: its id, and how many releases it allows.
    """
    threshold = threshold_of(len(members))
    permit_id, releases_max = permit
    if draft.data_key is not None:
        return column_terms(draft, spec, members, permit)
    rounds = Plan.of(spec).rounds
    return encode(
        {
            "permit": permit_id,
            "releases_max": releases_max,
            "data_set": spec.data_set,
            "outputs": list(spec.outputs),
            "rounds_max": rounds,
            "rho": spec.rho_micro,
            "rho_max": spec.rho_micro * rounds,
            "spec_digest": spec.digest,
            "members": sorted(members),
            "threshold": threshold,
            "approvals": draft.approvals or threshold,
            "minimum": spec.minimum,
            "requester_key_digest": spec.requester_key_digest,
            "step_seconds": draft.step_seconds,
        }
    )


def rounds_of(draft: Draft) -> int:
    """Return the most rounds of values that a draft may take; each is a release."""
    return plan_for(draft.spec(NO_KEY)).rounds


def kept_bytes(draft: Draft) -> bytes:
    """Return a draft as the wallet keeps it."""
    return encode(draft.to_document())


def kept_draft(octets: bytes) -> Draft:
    """Return a kept draft.

    Raises:
        NotCanonical, DraftInvalid: the wallet holds none.
    """
    return Draft.from_document(decode_map(octets))


def members_of(alliance: Alliance, study: KeptStudy) -> tuple[str, ...]:
    """Return who was asked to take part in an own study, sorted."""
    return tuple(sorted(kept_draft(study.request).members or alliance.present))
