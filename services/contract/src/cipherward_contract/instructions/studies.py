"""What members carry out for a study, and `cut_studies`, which ends every study of a permit."""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.instructions.depending import PERMIT_ENDED, cut
from cipherward_contract.instructions.kinds import Consequence, Given, ordered, own


def _cut(block: Block, given: Given) -> Consequence:
    return cut(block, given.fields().octets("permit"), PERMIT_ENDED)


RUN_KEY_CEREMONY = ordered(
    "run_key_ceremony",
    "members",
    "study step members threshold profile seed commitments reveals set",
    is_step=True,
)
START_STUDY = ordered(
    "start_study",
    "members",
    "study stage step members threshold minimum spec_digest data_set outputs requester_key_digest"
    " key_digest commitments round iterate verdicts source digest",
    is_step=True,
)
RELEASE_COUNTS = ordered(
    "release_counts",
    "members",
    "study members set digest threshold minimum key_digest source",
    is_step=True,
)
RELEASE_RESULT = ordered(
    "release_result",
    "set",
    "study members set digest requester_key_digest key_digest threshold round source",
    is_step=True,
)
FIX_COLUMNS = ordered(
    "fix_columns",
    "members",
    "study step members threshold key_digest commitments seed",
    is_step=True,
)
RETIRE_KEY = ordered("retire_key", "members", "study members cause")
CUT_STUDIES = own("cut_studies", "permit", _cut)
