"""The refusal that several modules share; every other one is defined where its rule lives."""

from __future__ import annotations

import grpc

from cipherward_kit.errors import ServiceError


class CredentialRejected(ServiceError):
    """What a holder showed is not good: one refusal, one text, whatever the cause.

    Wrong, used and expired codes, sessions of another code, proofs that do not hold, unknown
    identities: whoever learns which it was can ask the service instead of guessing.
    """

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "CREDENTIAL_REJECTED"

    def __init__(self) -> None:
        super().__init__("credential rejected")
