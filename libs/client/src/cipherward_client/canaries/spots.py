"""Where the canaries ask, what must be refused there, and what came of it: closed lists."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Path(StrEnum):
    """A way by which something leaves the alliance."""

    RELEASED_KEY = "released-key"  # the custodian's part of a record's key
    GUARDIAN_SHARE = "guardian-share"
    RECORD = "record"  # the ciphertext, a stream
    DESCRIBE = "describe"  # what a custodian tells its own systems only
    CONTRACT = "contract"
    CONTRACTS = "contracts"  # this and the next two are answered in pages
    DISCLOSURES = "disclosures"
    NOTICES = "notices"
    DECIDE = "decide"
    STUDY_INPUT = "study-input"  # what members hand each other for a study
    OPEN = "open"  # an act: it needs a transaction


class Case(StrEnum):
    """Why it must be refused."""

    NO_CONSENT = "no-consent"
    EXPIRED = "expired"
    REVOKED = "revoked"
    WRONG_PURPOSE = "wrong-purpose"
    WRONG_INSTITUTION = "wrong-institution"
    ERASED = "erased"
    OUTSIDE = "outside"  # the call is for somebody else's services


class Outcome(StrEnum):
    """What came of a question.

    `OTHERWISE` is a refusal for another reason than the right one, `UNKNOWN` no answer at all: both
    say nothing about whether the path is tight.
    """

    REFUSED = "refused"
    OTHERWISE = "refused-otherwise"
    UNKNOWN = "unknown"
    GIVEN = "given"  # what must be refused was not: a breach


class Spot(NamedTuple):
    """A path, and a case on it."""

    path: Path
    case: Case
