"""What the driver's failures mean to whoever asked: one class per cause, never the driver's own.

A driver's text may hold keys of documents, so none is passed on or logged; its number is.
"""

from __future__ import annotations

import structlog
from bson.errors import InvalidBSON
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
)

from cipherward_storage.errors import DiskFull, StoreAway

TRANSIENT = "TransientTransactionError"  # the driver's label: do the whole transaction again
# Labels of what another attempt may bring to an end.
PASSING = (TRANSIENT, "UnknownTransactionCommitResult", "RetryableWriteError")

# Numbers of MongoDB's error_codes.yml.
DUPLICATE_KEY = 11000
OUT_OF_DISK_SPACE = 14031
UNAUTHORIZED, AUTHENTICATION_FAILED = 13, 18
CURSOR_NOT_FOUND = 43  # the server was restarted under a running read
# The server stops or changes its part while it works on our act.
LEAVING = frozenset((91, 112, 189, 10107, 11600, 11602, 13435, 13436))

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class StoreFault(RuntimeError):
    """The server refuses an act of ours as wrong: our bug, or a server that is not MongoDB's like.

    Its text names the error's number and class only.
    """


def meaning_of(error: PyMongoError | InvalidBSON) -> Exception:
    """Return what to raise instead of `error`; a duplicate key stays one."""
    if isinstance(error, DuplicateKeyError):
        return error
    if isinstance(error, BulkWriteError):
        return _meaning_of_numbers(error, bulk_numbers(error))
    if isinstance(error, ConnectionFailure | ExecutionTimeout | WriteConcernError):
        return _away()
    if not isinstance(error, PyMongoError):
        return StoreFault(type(error).__name__)
    if error.timeout or any(error.has_error_label(label) for label in PASSING):
        return _away()
    code = error.code if isinstance(error, OperationFailure) else None
    return _meaning_of_numbers(error, set() if code is None else {code})


def bulk_numbers(error: BulkWriteError) -> set[int]:
    """Return the numbers of everything that went wrong in a bulk of writes."""
    details = error.details
    failed = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    return {int(one.get("code", 0)) for one in failed}


def _meaning_of_numbers(error: PyMongoError, numbers: set[int]) -> Exception:
    if OUT_OF_DISK_SPACE in numbers:
        return DiskFull("the database has no room")
    if numbers & {UNAUTHORIZED, AUTHENTICATION_FAILED}:
        log.error("store_refuses_our_account", code=min(numbers))
        return _away()
    if numbers & LEAVING or CURSOR_NOT_FOUND in numbers:
        return _away()
    return StoreFault(f"{type(error).__name__} {sorted(numbers)}")


def _away() -> StoreAway:
    return StoreAway("the database does not answer; try again later")
