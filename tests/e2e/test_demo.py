"""`cipherward demo` from the outside: every check of the story passes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.production import options, production_parts

COMMAND = [sys.executable, "-m", "cipherward_client.cli"]
STORY_SECONDS = 300  # it takes 30 to 60 s on two free cores
PICTURES = ("regression.png", "survival.png")
EXPECTED = (
    "the alliance runs",
    "the members share a record key and an opening key",
    "every patient has a blind credential",
    "credentials of two hospitals, one study pseudonym",
    "every record is sealed, stored, owned and anchored",
    "the clinician got the original bytes",
    "a third hospital is refused",
    "after the revocation the next read is refused",
    "the hospital that keeps a record cannot open it alone",
    "an emergency opens a record without a consent",
    "patient and hospital are told of an emergency",
    "an emergency is reviewed by an officer, not by its clinician",
    "an erased record is not released in an emergency either",
    "a consent ends by its timer, with nobody calling",
    "an erasure is proven by the order and by each hospital's statement",
    "the study of cohort-1 is approved, computed and released",
    "the decrypted sums are exact in fixed point",
    "the study's counts, means and variances are exact",
    "the regression is that of the pooled patients",
    "regression.png is drawn",
    "two of four shares yield nothing",
    "the study of cohort-2 is approved, computed and released",
    "the survival curves are those of the pooled patients",
    "survival.png is drawn",
    "the patient sees every access and every refusal",
    "every receipt verifies offline",
    "a receipt with one flipped bit is refused",
    "the story comes to its end",
)


def played(tmp_path: Path, *chosen: str) -> dict[str, Any]:
    """Play the story, which must succeed; return its report."""
    report = tmp_path / "report.json"
    data = tmp_path / "alliance"
    done = subprocess.run(
        [*COMMAND, "demo", "--json", str(report), "--data", str(data), *chosen],
        capture_output=True,
        text=True,
        timeout=STORY_SECONDS,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "Traceback" not in told
    document = json.loads(report.read_text())
    checks = {check["name"]: check for check in document["checks"]}
    assert set(EXPECTED) <= set(checks)
    assert [name for name, check in checks.items() if not check["passed"]] == []
    assert document["timings"]["whole story"] > 0
    assert (data / "genesis.json").is_file()
    assert all((data / "pictures" / name).stat().st_size > 10_000 for name in PICTURES)
    return document


@pytest.mark.slow
def test_the_demonstration_passes_every_check(tmp_path: Path) -> None:
    played(tmp_path)


# Two minutes on the stand-in for MongoDB; `make test-servers` has the SDK suite over these parts.
@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.soak
def test_the_demonstration_passes_every_check_on_production_parts(tmp_path: Path) -> None:
    with production_parts(tmp_path / "servers") as parts:
        document = played(tmp_path, *options(parts))
    runs = next(check for check in document["checks"] if check["name"] == "the alliance runs")
    assert runs["figure"] == "20 of 20 processes ready"
