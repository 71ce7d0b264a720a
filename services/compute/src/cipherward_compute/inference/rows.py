"""What blocks mean for risk scores: rows of the store, changed with the block that says so.

Every member has a row of the contract; the hospital alone has rows of its uses. A use goes from
asked to released, or to failed. All times are those of blocks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward_chain.acts import DIGEST_BYTES, ID_BYTES
from cipherward_chain.canonical import NotCanonical, Value
from cipherward_chain.fields import Fields
from cipherward_compute.failures import KEY_ENDED, MASK_REFUSED, NOT_TAKEN, SCORES_ENDED
from cipherward_compute.instructions import Instruction, ReleaseResult, RetireKey, StartStudy
from cipherward_compute.studies import Study, find_study, why_ended

ASKED, RELEASED, FAILED = "asked", "released", "failed"
CHECKING = "checking"  # the contract's state in which a mask is judged
STEP_SECONDS_MAX = 86_400  # the contract's own bound, for whoever did not see its terms
KEPT_SECONDS = 86_400  # a day: who asks for scores is there to read them


@dataclass(frozen=True, slots=True)
class ScoreTerms:
    """What the contract of a risk score says about itself.

    hospital: who asks. source: the data key. model: digest of its text. expires: Unix seconds.
    """

    hospital: str
    source: bytes
    model: bytes
    threshold: int
    step_seconds: int
    expires: int = 0

    @classmethod
    def read(cls, terms: dict[str, Value]) -> ScoreTerms | None:
        """Return what the terms of a contract say, or None: no risk score of this release."""
        try:
            fields = Fields(terms)
            hospitals = fields.texts("hospital")
            found = cls(
                hospitals[0] if hospitals else "",
                fields.octets("source", length=ID_BYTES),
                fields.octets("model_digest", length=DIGEST_BYTES),
                fields.integer("threshold", minimum=1),
                fields.integer("step_seconds", minimum=1),
                fields.integer("expires", minimum=1),
            )
        except NotCanonical:
            return None
        return found if len(hospitals) == 1 else None


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction of this member that a block refuses, and the word for why."""

    transaction: bytes
    reason: str


def begin_scores(connection: sqlite3.Connection, study: bytes, terms: ScoreTerms) -> None:
    """Remember a risk score that a block has proposed."""
    connection.execute(
        "INSERT OR IGNORE INTO risk_scores (study, hospital, source, model, threshold,"
        " step_seconds) VALUES (?, ?, ?, ?, ?, ?)",
        (
            study,
            terms.hospital,
            terms.source,
            terms.model,
            terms.threshold,
            terms.step_seconds,
        ),
    )


def take_score_order(
    connection: sqlite3.Connection, order: Instruction, block_seconds: int
) -> None:
    """Take an order of a risk score."""
    study = order.shared.study
    match order:
        case StartStudy(stage="counts"):
            _begin_use(connection, order)
        case ReleaseResult():
            connection.execute(
                "UPDATE inferences SET height = ?, place = ? WHERE study = ? AND number = ?",
                (order.shared.key.height, order.shared.key.index, study, order.round),
            )
        case RetireKey():
            reason = KEY_ENDED if order.cause == "key-ended" else SCORES_ENDED
            why = reason, "the risk score has ended before this use was answered"
            _fail(connection, why, block_seconds, "study = ?", study)
        case _:
            pass
    connection.execute("UPDATE risk_scores SET step_at = ? WHERE study = ?", (block_seconds, study))


def settle_uses(
    connection: sqlite3.Connection, refused: Sequence[Refused], block_seconds: int
) -> list[bytes]:
    """End the uses that come to nothing; return the contracts that they are of.

    The chain has refused a use, or has not taken it in time; or too few members can take a step,
    or none does in the time that it may take. What was settled a day ago is forgotten.
    """
    connection.execute(
        "DELETE FROM inferences WHERE state <> ? AND settled_at < ?",
        (ASKED, block_seconds - KEPT_SECONDS),
    )
    changed: list[bytes] = []
    for one in refused:
        why = one.reason, "the chain has refused this use"
        where = "transaction_id = ? AND NOT number"
        changed += _fail(connection, why, block_seconds, where, one.transaction)
    why = NOT_TAKEN, "the chain has not taken this use in time"
    where = "NOT number AND expires < ?"
    changed += _fail(connection, why, block_seconds, where, block_seconds)
    rows = connection.execute(
        "SELECT r.study, threshold, step_seconds, step_at FROM inferences i"
        " JOIN risk_scores r ON r.study = i.study WHERE state = ? AND number",
        (ASKED,),
    ).fetchall()
    for study, threshold, step_seconds, step_at in rows:
        found = find_study(connection, study)
        if found is None:
            continue
        members = tuple(sorted({*found.reported, *found.awaited}))
        # One failure ends a step; but the mask is judged by as many as decrypt.
        bearable = len(members) - threshold if found.stage == CHECKING else 0
        impossible = len(found.failed) > bearable
        if impossible or block_seconds > step_at + step_seconds:
            changed += fail_use(connection, study, _why(found, members), block_seconds)
    return changed


def fail_use(
    connection: sqlite3.Connection, study: bytes, why: tuple[str, str], block_seconds: int
) -> list[bytes]:
    """Fail the use that is under way, for a cause: its word, and a text without data."""
    return _fail(connection, why, block_seconds, "study = ? AND number", study)


def forget_scores(connection: sqlite3.Connection, studies: Sequence[bytes]) -> None:
    """Forget risk scores that have ended: their masks, ciphertexts, shares and answers.

    Of shares it stays in the log that they were given, and of failed uses why.
    """
    for study in studies:
        row = connection.execute("DELETE FROM risk_scores WHERE study = ? RETURNING 1", (study,))
        if not row.fetchall():  # it is none
            continue
        connection.execute(
            "DELETE FROM inferences WHERE study = ? AND state = ?", (study, RELEASED)
        )
        connection.execute("UPDATE shares SET share = x'' WHERE study = ?", (study,))
        for table in ("sums", "releases", "opened"):
            connection.execute(f"DELETE FROM {table} WHERE study = ?", (study,))


def _begin_use(connection: sqlite3.Connection, order: StartStudy) -> None:
    """Begin a use: nothing of those before it is left, and their failure is history.

    Their shares stay in the log without their octets: no other question is ever answered.
    """
    study, asked = order.shared.study, order.asked
    (hospital,) = order.commitments or order.shared.members
    begin_scores(  # for a member that did not see the proposal
        connection,
        study,
        ScoreTerms(hospital, asked.source, asked.spec_digest, asked.threshold, STEP_SECONDS_MAX),
    )
    connection.execute("DELETE FROM sums WHERE study = ? AND round < ?", (study, order.round))
    connection.execute("UPDATE shares SET share = x'' WHERE study = ?", (study,))
    connection.execute(
        "UPDATE studies SET failure = '', failure_reason = '' WHERE study = ?", (study,)
    )
    connection.execute(
        "UPDATE inferences SET number = ? WHERE study = ? AND request = ?",
        (order.round, study, order.iterate),
    )


def _why(study: Study, members: tuple[str, ...]) -> tuple[str, str]:
    if study.failure_reason:
        return study.failure_reason, study.failure
    if study.failed and study.stage == CHECKING:
        return MASK_REFUSED, f"{', '.join(study.failed)} did not accept the mask"
    return why_ended(study, members)


def _fail(
    connection: sqlite3.Connection,
    why: tuple[str, str],
    block_seconds: int,
    where: str,
    *values: object,
) -> list[bytes]:
    rows = connection.execute(
        "UPDATE inferences SET state = ?, failure_reason = ?, failure = ?, settled_at = ?,"
        f" secret = x'', octets = x'' WHERE state = ? AND {where} RETURNING study",
        (FAILED, *why, block_seconds, ASKED, *values),
    )
    return [study for (study,) in rows.fetchall()]
