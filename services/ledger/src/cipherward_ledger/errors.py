"""Every refusal of the ledger: to its callers (`ServiceError`), and to start (`CannotStart`)."""

from __future__ import annotations

import grpc

from cipherward_kit.errors import CannotStart, ServiceError


class TransactionMalformed(ServiceError):
    """The bytes are not a transaction in canonical form."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "TRANSACTION_MALFORMED"


class TransactionTooLarge(ServiceError):
    """The transaction has more bytes than the genesis allows."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "TRANSACTION_TOO_LARGE"


class WrongChain(ServiceError):
    """The transaction is for another chain."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "WRONG_CHAIN"


class TransactionExpired(ServiceError):
    """The transaction's time is over and it is in no block."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TRANSACTION_EXPIRED"


class ExpiryTooFar(ServiceError):
    """The transaction would expire later than the genesis allows."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "EXPIRY_TOO_FAR"


class AuthorizationRejected(ServiceError):
    """The authorization does not authorise the body; why is not told."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "AUTHORIZATION_REJECTED"


class TransactionReplayed(ServiceError):
    """The same body was admitted before under another authorization."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "TRANSACTION_REPLAYED"


class OutboxFull(ServiceError):
    """As many transactions, or bytes, as the outbox holds wait for a block."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OUTBOX_FULL"


class ContractAway(ServiceError):
    """The contract service does not answer, so the chain stands still."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "CONTRACT_AWAY"


class IdentityAway(ServiceError):
    """The identity service, which verifies presentations, does not answer."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "IDENTITY_AWAY"


class BatchTooLarge(ServiceError):
    """A batch has more transactions or bytes than one call may carry."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "BATCH_TOO_LARGE"


class TransactionIdMalformed(ServiceError):
    """A transaction id is not 32 bytes."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "TRANSACTION_ID_MALFORMED"


class TransactionUnknown(ServiceError):
    """No transaction with that id was admitted, or it is so old that it was forgotten."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "TRANSACTION_UNKNOWN"


class NotYetProven(ServiceError):
    """The transaction is admitted, and its block is not proven yet."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "NOT_YET_PROVEN"


class BlockUnknown(ServiceError):
    """There is no proven block of that height."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "BLOCK_UNKNOWN"


class BlockPruned(ServiceError):
    """The block is older than what this ledger keeps."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "BLOCK_PRUNED"


class BlockCorrupt(ServiceError):
    """What the disk gave back is not what was stored; it is never served."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "BLOCK_CORRUPT"


class AdmissionNotKept(ServiceError):
    """No proof that a member of that id joined later lies beside this ledger's genesis."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "ADMISSION_NOT_KEPT"


class GenesisDiffers(CannotStart):
    """The data folder, or contract, was started with another genesis."""

    exit_status = 30


class StoresDisagree(CannotStart):
    """The heights or app hashes of block store and contract cannot both be right."""

    exit_status = 31


class StoreCorrupt(CannotStart):
    """The newest stored block cannot be read back."""

    exit_status = 32


class StoreUnwritable(CannotStart):
    """The ledger's database cannot be written: the disk is full, or fails."""

    exit_status = 38


class MachineVersionUnsupported(CannotStart):
    """The chain has moved to a version of the state machine that this release does not carry."""

    exit_status = 33
