"""The scopes inside which a holder has one pseudonym: who may be known, and where."""

from __future__ import annotations

from dataclasses import dataclass

PATIENT, STAFF = "patient", "staff"  # the schemas of the alliance's credentials


def record_scope(record_id: bytes) -> str:
    """Return the scope in which a patient owns a record."""
    return f"record:{record_id.hex()}"


def study_scope(study_id: bytes) -> str:
    """Return the scope in which a patient takes part in a study."""
    return f"study:{study_id.hex()}"


def duty_scope(member: str, epoch: int) -> str:
    """Return the scope in which a member's staff act during one epoch."""
    return f"duty:{member}:{epoch}"


@dataclass(frozen=True, slots=True)
class Issue:
    """Which credential serves a scope: its schema, and its issuer if the scope fixes it."""

    schema: str
    issuer: str


def issue_of(scope: str) -> Issue:
    """Return what credential a scope asks for.

    Raises:
        ValueError: it is no scope of the alliance.
    """
    kind, _, rest = scope.partition(":")
    if kind in ("record", "study", "care"):
        return Issue(PATIENT, "")
    if kind == "duty":
        return Issue(STAFF, rest.rpartition(":")[0])
    raise ValueError("a scope is record:<id>, study:<id>, care:<member> or duty:<member>:<epoch>")
