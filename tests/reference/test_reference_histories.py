"""The contract service and the plain reference agree on what people do, whatever they do."""

from __future__ import annotations

import pytest

from tests.reference.running import run_histories

pytestmark = pytest.mark.slow

HISTORIES = 120  # always the same ones; other ones are played by tests/soak


def test_both_executors_agree_on_random_histories() -> None:
    tally = run_histories(HISTORIES)
    assert tally.histories >= HISTORIES
    # what is not asked for is not compared
    assert tally.reasons["APPLIED"] > tally.reasons.total() // 4
    assert len(tally.reasons) > 25
    assert len(tally.ends) > 12
    assert len(tally.mishaps) == 5
