"""Studies run in one process: members' integers are added as encryption adds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cipherward_studies.answer import Answer
from cipherward_studies.plan import Plan, Released
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns
from cipherward_studies.verdict import left_out
from cipherward_threshold.parameters import profile

Document = dict[str, Any]
Members = Sequence[Columns]

KEY = bytes(range(64))  # stands for a requester's key: its form is the service's to check


def plan_of(document: Document) -> Plan:
    """Return the plan of a study as members derive it from the text."""
    head = {"data_set": "cohort-1", "minimum": 10}
    return Plan.of(Draft.from_document(head | document).spec(KEY))


def added(parts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the sums of vectors modulo t, centred: what is decrypted."""
    modulus = profile("additive-1").plain_modulus
    residues = (sum(column) % modulus for column in zip(*parts, strict=True))
    return tuple(total - modulus if 2 * total > modulus else total for total in residues)


def cut(rows: Columns, sizes: Sequence[int]) -> list[Columns]:
    """Return rows cut into consecutive parts of these sizes."""
    ends = np.cumsum(sizes)[:-1]
    parts = {name: np.split(column, ends) for name, column in rows.items()}
    return [{name: parts[name][place] for name in rows} for place in range(len(sizes))]


def answered(document: Document, members: Members) -> Answer:
    """Run a study from counts to answer."""
    plan = plan_of(document)
    counts = [plan.count([rows]) for rows in members]
    opened = added(counts)
    failed = left_out(plan.verdict(opened, own) for own in counts)
    rounds: list[Released] = []
    iterate: bytes | None = b""
    while iterate is not None:
        values = [plan.local([rows], failed, iterate) for rows in members]
        rounds.append(Released(iterate, added(values)))
        iterate = plan.advance(rounds, failed)
    return plan.finish(rounds, failed)


@pytest.fixture(scope="session")
def answer() -> Callable[[Document, Members], Answer]:
    """A function that runs a document's study over members' rows."""
    return answered


@pytest.fixture(scope="session")
def plan() -> Callable[[Document], Plan]:
    """A function that compiles a document."""
    return plan_of


@pytest.fixture(scope="session")
def split() -> Callable[[Columns, Sequence[int]], list[Columns]]:
    """A function that cuts rows into members."""
    return cut
