"""Refusals of the storage service, one class per cause; the protos promise exactly these.

Those about the chain and about authorised reads are in `cipherward_member.errors`.
"""

from __future__ import annotations

import grpc

from cipherward_kit.boundary import DependencyAway
from cipherward_kit.errors import CannotStart, ServiceError


class UploadMalformed(ServiceError):
    """What was sent breaks the form of an upload, whatever the state."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "UPLOAD_MALFORMED"


class RecordTooLarge(ServiceError):
    """The announced ciphertext is longer than this service takes."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "RECORD_TOO_LARGE"


class WrongOffset(ServiceError):
    """The first part starts neither at 0 nor where the bytes on disk end."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_OFFSET"


class UploadDiffers(ServiceError):
    """The request id belongs to an upload with another header."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "UPLOAD_DIFFERS"


class DigestDiffers(ServiceError):
    """The ciphertext that arrived is not the one that its anchor names."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "DIGEST_DIFFERS"


class SlotRejected(ServiceError):
    """A slot is not what the anchor says: the custodian's or the members'."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "SLOT_REJECTED"


class RecordKeyUnknown(ServiceError):
    """No record key of that epoch is in force here; its block may be on its way to this storage."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RECORD_KEY_UNKNOWN"


class RecordExists(ServiceError):
    """Another record is stored under the same id."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "RECORD_EXISTS"


class RecordErased(ServiceError):
    """The chain has ordered the record of this id to be erased; the id is refused for ever."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RECORD_ERASED"


class DiskFull(ServiceError):
    """The quota, or the disk down to its reserve, is used up."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "DISK_FULL"


class UploadInProgress(ServiceError):
    """Another stream writes the same upload now."""

    code = grpc.StatusCode.ABORTED
    reason = "UPLOAD_IN_PROGRESS"


class UploadStalled(ServiceError):
    """The client sent nothing for too long; what arrived is kept, and the upload can go on."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "UPLOAD_STALLED"


class UploadUnknown(ServiceError):
    """No upload has that request id."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "UPLOAD_UNKNOWN"


class RecordUnknown(ServiceError):
    """No such record is here, or the order named releases another."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "RECORD_UNKNOWN"


class ReleaseUnknown(ServiceError):
    """That order has released no key part of that record here."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "RELEASE_UNKNOWN"


class ReleaseEnded(ServiceError):
    """The right behind the order was revoked, or its time is over."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RELEASE_ENDED"


class OffsetOutOfRange(ServiceError):
    """The offset lies beyond the ciphertext."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "OFFSET_OUT_OF_RANGE"


class RecordCorrupt(ServiceError):
    """The bytes on disk are not those that were uploaded; no wrong byte was sent."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "RECORD_CORRUPT"


class DownloadStalled(ServiceError):
    """The reader took nothing for too long."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DOWNLOAD_STALLED"


class PageTokenMalformed(ServiceError):
    """The page token is not one that this service gave, or the page size is too large."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "PAGE_TOKEN_MALFORMED"


class ColumnMalformed(ServiceError):
    """A column's name or length is out of form, or its parts are."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "COLUMN_MALFORMED"


class ColumnUnknown(ServiceError):
    """No such column is here, or its data key is over."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "COLUMN_UNKNOWN"


class ColumnCorrupt(ServiceError):
    """The column on disk is not the one that was put there; no wrong byte was sent."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "COLUMN_CORRUPT"


class ColumnsBusy(ServiceError):
    """As many columns as the bound allows are being moved."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "COLUMNS_BUSY"


class ColumnStalled(ServiceError):
    """The sender of a column was silent for too long; nothing of it is kept."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "COLUMN_STALLED"


class DataKeyRetired(ServiceError):
    """The chain has retired the data key: no column of it is kept any more."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "DATA_KEY_RETIRED"


class StoreAway(DependencyAway):
    """The database does not answer, or took too long; whether the last write was done is open.

    Every act of the ports may be repeated: it is done once.
    """


class StoreUnusable(CannotStart):
    """The settings do not lead to a database of this member and chain."""

    exit_status = 50


class StoreDiffers(CannotStart):
    """What is stored does not agree with the chain, or with itself; told by `verify` alone."""

    exit_status = 51
