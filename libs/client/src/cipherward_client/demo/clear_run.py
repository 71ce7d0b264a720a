"""A study computed in the clear: every hospital's own integers, added without encryption.

What encryption, proofs, shares and messages did is right exactly if a study's totals are these,
for members that sum their rows in one chunk (fewer than two times CHUNK_ROWS).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cipherward_client.sdk.study_requests import NO_KEY
from cipherward_studies.answer import Answer
from cipherward_studies.plan import Plan, Released
from cipherward_studies.spec import Draft
from cipherward_studies.variables import CHUNK_ROWS, Columns
from cipherward_studies.verdict import left_out


@dataclass(frozen=True, slots=True)
class ClearRun:
    """What a study must say."""

    rounds: tuple[Released, ...]
    answer: Answer

    @property
    def totals(self) -> tuple[int, ...]:
        """The integers of the last round."""
        return self.rounds[-1].totals


def run_in_the_clear(
    draft: Draft, tables: Mapping[str, Columns], guardians: Iterable[str]
) -> ClearRun:
    """Return an exact study's rounds and answer over the members' tables.

    Args:
        guardians: whose verdicts the contributors followed: the first to agree on the counts.

    Raises:
        ContributorsTooFew, CohortTooSmall: the study ends without an answer.
    """
    plan = Plan.of(draft.spec(NO_KEY))
    counts = {member: plan.count(_chunks(table)) for member, table in tables.items()}
    opened = _added(counts.values())
    failed = left_out(plan.verdict(opened, counts[member]) for member in guardians)
    rounds: list[Released] = []
    iterate: bytes | None = b""
    while iterate is not None:
        parts = [plan.local(_chunks(table), failed, iterate) for table in tables.values()]
        rounds.append(Released(iterate, _added(parts)))
        iterate = plan.advance(rounds, failed)
    return ClearRun(tuple(rounds), plan.finish(rounds, failed))


def _chunks(table: Columns) -> list[Columns]:
    """Return a table cut into chunks of CHUNK_ROWS rows, a rest joined to the last.

    A member cuts larger tables elsewhere, and rounds its sums once a chunk: then they may differ.
    """
    rows = len(next(iter(table.values())))
    cuts = [at for at in range(CHUNK_ROWS, rows, CHUNK_ROWS) if rows - at >= CHUNK_ROWS]
    parts = {name: np.split(column, cuts) for name, column in table.items()}
    return [{name: parts[name][place] for name in table} for place in range(len(cuts) + 1)]


def _added(parts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*parts, strict=True))
