"""Refusals of the compute service, one class per cause; the proto promises exactly these.

Those about the chain and about authorised reads are in `cipherward_member.errors`.
"""

from __future__ import annotations

from typing import ClassVar

import grpc

from cipherward_kit.errors import ServiceError


class DataSetMalformed(ServiceError):
    """What was contributed breaks the form of a data set, whatever the state."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "DATA_SET_MALFORMED"


class DataSetTooLarge(ServiceError):
    """A data set has more values than this service takes."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "DATA_SET_TOO_LARGE"


class RequestIdReused(ServiceError):
    """The request id belongs to a contribution with other content."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "REQUEST_ID_REUSED"


class ContributionsFull(ServiceError):
    """As many contributions as the bound allows are under way."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "CONTRIBUTIONS_FULL"


class DiskFull(ServiceError):
    """The disk has no room for a contribution; what stood before still stands."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "DISK_FULL"


class ContributionStalled(ServiceError):
    """The rest of a contribution did not come; what stood before still stands."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "CONTRIBUTION_STALLED"


class OptOutMalformed(ServiceError):
    """A patient's choice or its subject is out of form."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "OPT_OUT_MALFORMED"


class IdentityAway(ServiceError):
    """Our own identity service does not verify presentations now; nothing was taken."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "IDENTITY_AWAY"


class StudySpecMalformed(ServiceError):
    """The text of a study is out of form, or it asks for what cannot be computed."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "STUDY_SPEC_MALFORMED"


class VariableUnknown(ServiceError):
    """The study names a variable that the data set does not have."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "VARIABLE_UNKNOWN"


class UnitDiffers(ServiceError):
    """The study has a variable in another unit than the data set."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "UNIT_DIFFERS"


class StudySpecsFull(ServiceError):
    """As many study texts as the bound allows wait for a start order."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "STUDY_SPECS_FULL"


class StudyUnknown(ServiceError):
    """No block has started such a study with this member, or the caller is no member of it."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "STUDY_UNKNOWN"


class NotReleased(ServiceError):
    """No block has released a result of this study by that order, or not yet here."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOT_RELEASED"


class MessageKindUnknown(ServiceError):
    """The ceremony has no message of that kind for the caller."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "MESSAGE_KIND_UNKNOWN"


class NotYetMade(ServiceError):
    """What was asked for is not made, or may not be shown before all have committed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOT_YET_MADE"


class StudyEnded(ServiceError):
    """The study is over: its peers get nothing of it any more."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "STUDY_ENDED"


class IterateMalformed(ServiceError):
    """The parameters of a round are out of form, whatever the study."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "ITERATE_MALFORMED"


class IteratesFull(ServiceError):
    """As many parameters of rounds as the bound allows wait for their order."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ITERATES_FULL"


class DataKeyUnknown(ServiceError):
    """No block has proposed such a data key with this member."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "DATA_KEY_UNKNOWN"


class EnrolmentClosed(ServiceError):
    """The columns of the data key are fixed, or it has ended: nobody enrols or leaves any more."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ENROLMENT_CLOSED"


class ColumnTextMalformed(ServiceError):
    """The text of a data key's columns is out of form."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "COLUMN_TEXT_MALFORMED"


class ColumnTextUnknown(ServiceError):
    """No data key that this member knows has that text."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "COLUMN_TEXT_UNKNOWN"


class ModelMalformed(ServiceError):
    """The text of a risk model is out of form."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "MODEL_MALFORMED"


class ModelsFull(ServiceError):
    """As many texts of risk models as the bound allows wait for a contract that names them."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "MODELS_FULL"


class InferenceMalformed(ServiceError):
    """A request for scores, or the id of one, is out of form."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INFERENCE_MALFORMED"


class RiskScoreUnknown(ServiceError):
    """No block has proposed such a risk score for this member."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "RISK_SCORE_UNKNOWN"


class PatientNotEnrolled(ServiceError):
    """A reference is of nobody who enrolled here and has a value of the columns' first variable."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "PATIENT_NOT_ENROLLED"


class RiskScoreNotReady(ServiceError):
    """The risk score cannot be used now; the text says what to do."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RISK_SCORE_NOT_READY"


class InferenceUnknown(ServiceError):
    """There is no such use of a risk score here, or not any more."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "INFERENCE_UNKNOWN"


class StepFailed(ValueError):
    """An order that cannot be carried out, for good; the text is shown to readers of the study.

    It names members and causes, never values; `reason` is the word for it. Subclasses, one per
    cause, are in `failures` and where other rules live.
    """

    reason: ClassVar[str] = "STEP_FAILED"
