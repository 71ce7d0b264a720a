"""Why a step of a study cannot be taken, one class per cause; each has a word that readers see.

The words are a closed list, so that a client can say what to do about each; the text beside a word
names members and causes, never values. A peer's fault is `arithmetic.peer.PeerWrong`.
"""

from __future__ import annotations

from cipherward_compute.errors import StepFailed


class TooFewMembers(StepFailed):
    """A sum of so few members would show their parts."""

    reason = "TOO_FEW_MEMBERS"


class TooManyMembers(StepFailed):
    """The columns of so many members cannot be checked together."""

    reason = "TOO_MANY_MEMBERS"


class UnitsDiffer(StepFailed):
    """This member has a variable in another unit than the text says."""

    reason = "UNITS_DIFFER"


class KeyDiffers(StepFailed):
    """The order names another key than this member has."""

    reason = "KEY_DIFFERS"


class StorageFull(StepFailed):
    """This member's storage has no room for its columns."""

    reason = "STORAGE_FULL"


class SpecNotHandedOver(StepFailed):
    """Nobody has given this member the text of the study."""

    reason = "SPEC_NOT_HANDED_OVER"


class SpecDiffers(StepFailed):
    """The text of the study is not what the chain says about it, or cannot be computed."""

    reason = "SPEC_DIFFERS"


class DataSetUnknown(StepFailed):
    """This member has no such data set."""

    reason = "DATA_SET_UNKNOWN"


class VariableMissing(StepFailed):
    """This member's data set has no such variable."""

    reason = "VARIABLE_UNKNOWN"


class UnitMismatch(StepFailed):
    """The study has a variable in another unit than this member's data set."""

    reason = "UNIT_DIFFERS"


class CohortTooClose(StepFailed):
    """The cohort differs from another study's by fewer of this member's patients than allowed."""

    reason = "COHORT_TOO_CLOSE"


class CohortsFull(StepFailed):
    """So many different cohorts of the data set are remembered that no new one is taken."""

    reason = "COHORTS_FULL"


class RowsRefused(StepFailed):
    """This member's rows are none that the study takes: by a variable's kind or policy."""

    reason = "ROWS_REFUSED"


class RowsChanged(StepFailed):
    """This member's rows are not those that were counted."""

    reason = "ROWS_CHANGED"


class ValuesOutOfRange(StepFailed):
    """This member's sums do not fit the plaintext."""

    reason = "VALUES_OUT_OF_RANGE"


class ColumnsDiffer(StepFailed):
    """The study names columns that are not stored, or not in such a form."""

    reason = "COLUMNS_DIFFER"


class ColumnsUnverified(StepFailed):
    """This member has not verified the columns of the data key."""

    reason = "COLUMNS_UNVERIFIED"


class ColumnsAway(StepFailed):
    """The storage that has a member's columns does not answer; the member may have left."""

    reason = "COLUMNS_AWAY"


class WeightsRefused(StepFailed):
    """The weights of a model are too far apart for the circuit."""

    reason = "WEIGHTS_REFUSED"


class RequestUnknown(StepFailed):
    """This member has not asked for the use of a risk score that an order is about."""

    reason = "REQUEST_UNKNOWN"


class ScoresUnreadable(StepFailed):
    """Released scores do not open to scores: a member's share is wrong, or its columns are."""

    reason = "SCORES_UNREADABLE"


class IterateMissing(StepFailed):
    """Nobody has given this member the parameters of the round."""

    reason = "ITERATE_MISSING"


class IterateRefused(StepFailed):
    """The parameters of the round are none that the study's plan allows."""

    reason = "ITERATE_REFUSED"


class NothingContributed(StepFailed):
    """This member has encrypted nothing for the sum that an order names."""

    reason = "NOTHING_CONTRIBUTED"


class CommitmentsIncomplete(StepFailed):
    """The order does not name what is to be added, or names one input twice."""

    reason = "COMMITMENTS_INCOMPLETE"


class OldBackup(StepFailed):
    """This member committed to other bytes than it has: an old backup was restored."""

    reason = "OLD_BACKUP"


class OrderBeforeRestore(StepFailed):
    """The order is of a block before this member's store was restored: it may have been answered.

    What was answered then is not in the restored store, and a second answer could be another one.
    """

    reason = "RESTORED_SINCE"


class SumDiffers(StepFailed):
    """The order names another sum than this member made, or the stored one is damaged."""

    reason = "SUM_DIFFERS"


class CohortTooSmall(StepFailed):
    """Too few patients, or members with patients, beside this member's own."""

    reason = "COHORT_TOO_SMALL"


class ContributorsTooFew(StepFailed):
    """Fewer than three members have patients in the study."""

    reason = "CONTRIBUTORS_TOO_FEW"


class CountsMalformed(StepFailed):
    """What the counts open to can be no numbers of patients."""

    reason = "COUNTS_MALFORMED"


class ShareRefused(StepFailed):
    """This member can give no share: it is not in the set, or the set cannot open anything."""

    reason = "SHARE_REFUSED"


class ShareAlreadyGiven(StepFailed):
    """A share of this key and c1 was given for another order, set or recipient."""

    reason = "SHARE_ALREADY_GIVEN"


class StudyIsOver(StepFailed):
    """The study has ended while the step was being taken."""

    reason = "STUDY_ENDED"


# Words for what is no step of this member's.
PEER_WRONG = "PEER_WRONG"
INTERNAL = "INTERNAL"
NOT_APPROVED = "NOT_APPROVED_IN_TIME"
PERMIT_ENDED = "PERMIT_ENDED"
KEY_ENDED = "KEY_ENDED"
MEMBER_SILENT = "MEMBER_SILENT"
MEMBER_FAILED = "MEMBER_FAILED"
RELEASE_DEAD = "RELEASE_DEAD"
TIME_OUT = "TIME_OUT"
# Of uses of a risk score.
MASK_REFUSED = "MASK_REFUSED"
NOT_TAKEN = "NOT_TAKEN_IN_TIME"
SCORES_ENDED = "RISK_SCORE_ENDED"
