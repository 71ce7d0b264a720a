"""Why an act is refused: a result on the chain, never a failure of a call.

All acts of a transaction are refused together; the reason is part of the result that the next
header certifies, so it is the same everywhere and never changes its meaning.
"""

from __future__ import annotations

from enum import StrEnum

MESSAGE_CHARACTERS_MAX = 200  # a result is kept for ever by everybody


class Reason(StrEnum):
    """Every reason, by where it is found."""

    # the transaction
    TRANSACTION_MALFORMED = "TRANSACTION_MALFORMED"
    TRANSACTION_TOO_LARGE = "TRANSACTION_TOO_LARGE"
    WRONG_CHAIN = "WRONG_CHAIN"
    TRANSACTION_EXPIRED = "TRANSACTION_EXPIRED"
    EXPIRY_TOO_FAR = "EXPIRY_TOO_FAR"
    TRANSACTION_REPLAYED = "TRANSACTION_REPLAYED"
    # who signed it
    MEMBER_UNKNOWN = "MEMBER_UNKNOWN"
    KEY_NOT_REGISTERED = "KEY_NOT_REGISTERED"
    EPOCH_OVER = "EPOCH_OVER"
    ISSUER_UNKNOWN = "ISSUER_UNKNOWN"
    PRESENTATION_REFUSED = "PRESENTATION_REFUSED"
    SCOPE_REFUSED = "SCOPE_REFUSED"
    OPENING_REQUIRED = "OPENING_REQUIRED"
    PSEUDONYM_SUSPENDED = "PSEUDONYM_SUSPENDED"
    MEMBER_SUSPENDED = "MEMBER_SUSPENDED"
    # register_pseudonym
    PRESENTATION_REQUIRED = "PRESENTATION_REQUIRED"
    KEY_REGISTERED = "KEY_REGISTERED"
    PSEUDONYM_REGISTERED = "PSEUDONYM_REGISTERED"
    # anchor_record
    NOT_THE_AUTHOR = "NOT_THE_AUTHOR"
    MEMBER_NOT_IN_REGISTRY = "MEMBER_NOT_IN_REGISTRY"
    RECORD_EXISTS = "RECORD_EXISTS"
    OWNER_NOT_REGISTERED = "OWNER_NOT_REGISTERED"
    SUITE_TOO_OLD = "SUITE_TOO_OLD"
    KEY_EPOCH_UNKNOWN = "KEY_EPOCH_UNKNOWN"
    RECORD_ERASED = "RECORD_ERASED"
    # instantiate, transition, vote
    TEMPLATE_UNKNOWN = "TEMPLATE_UNKNOWN"
    TEMPLATE_NOT_ALLOWED = "TEMPLATE_NOT_ALLOWED"
    RECORD_UNKNOWN = "RECORD_UNKNOWN"
    RECORD_UNCLAIMED = "RECORD_UNCLAIMED"
    INSTANCE_EXISTS = "INSTANCE_EXISTS"
    INSTANCE_UNKNOWN = "INSTANCE_UNKNOWN"
    TERMS_MALFORMED = "TERMS_MALFORMED"
    ARGUMENTS_MALFORMED = "ARGUMENTS_MALFORMED"
    TRANSITION_UNKNOWN = "TRANSITION_UNKNOWN"
    STATE_FORBIDS = "STATE_FORBIDS"
    POLICY_DENIED = "POLICY_DENIED"
    POLICY_ERROR = "POLICY_ERROR"
    NOT_A_PARTY = "NOT_A_PARTY"
    KEY_REQUIRED = "KEY_REQUIRED"
    NOT_RECORDED = "NOT_RECORDED"
    BUDGET_SPENT = "BUDGET_SPENT"
    PERMIT_REFUSED = "PERMIT_REFUSED"
    KEY_REFUSED = "KEY_REFUSED"
    TEMPLATE_NOT_ACTIVE = "TEMPLATE_NOT_ACTIVE"
    # propose_template, upgrade_instance
    TEMPLATE_REFUSED = "TEMPLATE_REFUSED"
    INSTANCE_NOT_IN_STATE = "INSTANCE_NOT_IN_STATE"
    # membership, authority-change, removal, machine-upgrade
    REGISTRATION_REFUSED = "REGISTRATION_REFUSED"
    REMOVAL_REFUSED = "REMOVAL_REFUSED"
    UPGRADE_REFUSED = "UPGRADE_REFUSED"
    # report
    ORDER_UNKNOWN = "ORDER_UNKNOWN"
    NOT_NAMED = "NOT_NAMED"
    ALREADY_REPORTED = "ALREADY_REPORTED"
    ORDER_NOT_CURRENT = "ORDER_NOT_CURRENT"
    DIGEST_REQUIRED = "DIGEST_REQUIRED"
    # ceremony_message, bad_share
    CEREMONY_REFUSED = "CEREMONY_REFUSED"
    EVIDENCE_REFUSED = "EVIDENCE_REFUSED"


class Refused(Exception):
    """An act is refused; `policies` are the sorted ids of those that decided, if any did."""

    def __init__(self, reason: Reason, message: str, policies: tuple[str, ...] = ()) -> None:
        super().__init__(message[:MESSAGE_CHARACTERS_MAX])
        self.reason = reason
        self.policies = policies
