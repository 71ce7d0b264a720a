"""`notify` tells members and a record's owner something; `require_review` says until when somebody
has to look at it.

Both are rows of the local index: the contract's own transition is the evidence.
"""

from __future__ import annotations

from cipherward_contract.blocks import Block
from cipherward_contract.index_rows import NoticeGiven
from cipherward_contract.instructions.kinds import NOTHING, Consequence, Given, own
from cipherward_contract.refusals import Reason, Refused

REVIEW_DUE = "review-due"
BAD_SHARE = "bad-share"
# What may be told: nothing that is about a person.
KINDS = frozenset(
    {
        BAD_SHARE,
        "emergency",
        "emergency-ended",
        "erased",
        "erasure-overdue",
        "erasure-ordered",
        "permit-ended",
        REVIEW_DUE,
        "review-missed",
        "suspended",
    }
)


def _notify(block: Block, given: Given) -> Consequence:
    fields = given.fields()
    kind = fields.text("kind")
    if kind not in KINDS:
        raise Refused(Reason.NOT_RECORDED, "nobody is told that")
    _tell(block, given, kind, 0)
    return NOTHING


def _require_review(block: Block, given: Given) -> Consequence:
    _tell(block, given, REVIEW_DUE, given.fields().integer("due"))
    return NOTHING


def _tell(block: Block, given: Given, kind: str, due: int) -> None:
    fields = given.fields()
    row = NoticeGiven(
        kind, fields.octets("record"), given.instance.id, fields.texts("recipients"), due
    )
    block.rows.append(row)


NOTIFY = own("notify", "kind record recipients", _notify)
REQUIRE_REVIEW = own("require_review", "record recipients due", _require_review)
