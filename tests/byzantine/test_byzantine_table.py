"""The threat model's table names tests: each of them is there to be run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
ACTS_MIN = 10  # of a hostile member, each in a row


def test_every_attack_that_the_threat_model_names_is_a_test() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and NAMED.search(line)]
    assert len(rows) >= ACTS_MIN
    files = [p for part in ("libs", "services", "tests") for p in (ROOT / part).rglob("test_*.py")]
    defined = {name for file in files for name in DEFINED.findall(file.read_text(encoding="utf-8"))}
    assert set(NAMED.findall(page)) <= defined
