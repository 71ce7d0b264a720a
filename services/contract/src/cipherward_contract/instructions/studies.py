"""What members carry out for a study, and `cut_studies`, which ends every study of a permit."""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.kinds import (
    NOTHING,
    Consequence,
    Given,
    Move,
    ordered,
    own,
)
from cipherward_contract.marks import depends_end, depends_start

# What one permit's end may have to cut in one block.
DEPENDENTS_MAX = 32
# The automatic transition of a template that depends on a permit, by which the permit's end ends
# it.
PERMIT_ENDED = "permit_ended"


def _cut(block: Block, given: Given) -> Consequence:
    permit = given.fields().octets("permit")
    start = depends_start(permit)
    found = block.state.scan(start, depends_end(permit), DEPENDENTS_MAX)
    for key, _ in found:
        block.state.delete(key)
    if not found:
        return NOTHING
    return Consequence(moves=tuple(Move(key[len(start) :], PERMIT_ENDED) for key, _ in found))


RUN_KEY_CEREMONY = ordered(
    "run_key_ceremony",
    "members",
    "study step members threshold seed commitments reveals",
    is_step=True,
)
START_STUDY = ordered(
    "start_study",
    "members",
    "study stage step members threshold minimum spec_digest data_set outputs requester_key_digest"
    " key_digest commitments",
    is_step=True,
)
RELEASE_COUNTS = ordered(
    "release_counts",
    "members",
    "study members set digest threshold minimum key_digest",
    is_step=True,
)
RELEASE_RESULT = ordered(
    "release_result",
    "set",
    "study members set digest requester_key_digest key_digest threshold",
    is_step=True,
)
RETIRE_KEY = ordered("retire_key", "members", "study members cause")
CUT_STUDIES = own("cut_studies", "permit", _cut)
