"""The story's pictures: files that are pictures, or a word on how to get them."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cipherward_client.demo.clear_run import run_in_the_clear
from cipherward_client.demo.pictures import PNG, draw
from cipherward_client.demo.questions import WATCHED, survival_study
from cipherward_client.demo.report import Report
from cipherward_client.demo.tables import dealt, load_table
from cipherward_client.demo.teller import Teller
from cipherward_studies.analysis import Result

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")


@pytest.fixture(scope="module")
def curves() -> Result:
    """The survival curves of the trial's patients."""
    tables = dealt(load_table("actg175"), WATCHED, MEMBERS)
    (result,) = run_in_the_clear(survival_study(), tables, MEMBERS[:3]).answer.results
    return result


@pytest.mark.slow
async def test_a_picture_is_drawn_and_its_path_told(tmp_path: Path, curves: Result) -> None:
    told, report = io.StringIO(), Report()
    folder = tmp_path / "pictures"
    teller = Teller(Console(file=told, width=500))
    await draw(teller, report, folder, {"survival.png": curves})
    assert (folder / "survival.png").read_bytes().startswith(PNG)
    assert "survival.png" in told.getvalue()
    assert [(one.name, one.passed) for one in report.checks] == [("survival.png is drawn", True)]


async def test_without_matplotlib_the_story_says_how_to_get_it(
    tmp_path: Path, curves: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    told, report = io.StringIO(), Report()
    teller = Teller(Console(file=told, width=500))
    await draw(teller, report, tmp_path / "pictures", {"survival.png": curves})
    assert "cipherward-client[plots]" in told.getvalue()
    assert report.checks == []
