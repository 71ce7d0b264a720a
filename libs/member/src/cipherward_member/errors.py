"""Refusals that several services of a member share, to a caller and to the operator.

Exit statuses of `CannotStart`, each of one cause in the whole product; a supervisor takes 2 to 63
as "it refused to start, do not try again":

    2      settings out of form (kit)
    3      a port is in use (kit)
    4-6    the data folder is locked, of another chain, or unusable (kit)
    7      the TLS files are unusable (kit)
    8      a newer release wrote the database (kit)
    10-17  key, genesis, endpoints, checkpoint, blocks missed, fork, trust, registry (this module)
    18     a file for Kafka is unusable (this library)
    21     the registry has another issuer's key (identity)
    30-39  genesis, stores, node, membership or disk stop the ledger (ledger; 33 contract lacks the
           machine version, 38 the disk is full, the others: see its two modules of errors)
    40-41  stored state corrupt, or of another genesis (contract)
    42     another process votes with this member's consensus key (ledger)
    50     the records' database is another member's, or its settings are unusable (storage)
    51     the store does not agree with the chain (storage, `verify` alone)
    60-61  the alliance's files or the member's keys, or their own memory, are unusable (canary)
"""

from __future__ import annotations

import grpc

from cipherward_kit.errors import CannotStart, ServiceError


class ChainStale(ServiceError):
    """The newest proven block is too old, or none was seen: silence ends rights."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHAIN_STALE"


class ReadMalformed(ServiceError):
    """The read breaks the form of an authorised read."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "READ_MALFORMED"


class ReadRejected(ServiceError):
    """The read is not authorised, or its reader has no right; why is never said."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "READ_REJECTED"

    def __init__(self) -> None:
        super().__init__("the read is not authorised")


class KeyUnusable(CannotStart):
    """A key file is missing, of another length, open to others, or not the registry's key."""

    exit_status = 10


class GenesisUnusable(CannotStart):
    """The genesis file cannot be read, is not one, or does not have this member."""

    exit_status = 11


class EndpointsUnusable(CannotStart):
    """The endpoints file cannot be read, is not one, or does not fit chain or service."""

    exit_status = 12


class CheckpointUnusable(CannotStart):
    """The stored place in the chain is damaged, or of another genesis."""

    exit_status = 13


class TooFarBehind(CannotStart):
    """The ledger has dropped blocks that this service has not seen: orders would be lost."""

    exit_status = 14


class ChainHasForked(CannotStart):
    """The data folder holds evidence of a fork of the chain: people decide before it goes on."""

    exit_status = 15


class TrustUnusable(CannotStart):
    """The chain cannot be believed from the trust root, the file of one is refused, or the ledger
    is of another genesis.
    """

    exit_status = 16


class RegistryUnusable(CannotStart):
    """The stored registry of members is damaged, or of another genesis."""

    exit_status = 17
