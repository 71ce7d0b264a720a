"""`cipherward contract check|simulate`: what people and scripts see, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cipherward_client.cli.commands import run

CONTRACT = Path(__file__).parents[3] / "services" / "contract"
TEMPLATES = CONTRACT / "src" / "cipherward_contract" / "templates"
SCENARIO = CONTRACT / "scenarios" / "consent-granted-and-revoked.yaml"
CONSENT = TEMPLATES / "consent.yaml"

pytestmark = pytest.mark.slow  # each runs the contract service's own tool, which takes a second


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The consent template without what ends it."""
    file = tmp_path / "broken.yaml"
    text = CONSENT.read_text("utf-8")
    file.write_text(text.replace("context.now >= resource.terms.expires };", "false };"))
    return file


def test_a_template_that_may_be_deployed_is_reported_with_status_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["contract", "check", str(CONSENT)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("consent.yaml: deployable\n")
    assert "  never after-the-end: holds\n" in told
    assert "read by grantee (clinician, researcher) (open)" in told


def test_one_that_may_not_is_refused_with_the_counterexample_and_status_1(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["contract", "check", str(broken)]) == 1
    told = capsys.readouterr().out
    assert told.startswith("broken.yaml: not deployable\n")
    assert "fault never-broken: after-the-end: release_key can be ordered" in told
    assert "      1. owner takes instantiate; then it is active\n" in told
    assert "now >= terms.expires" in told
    assert "      fix: " in told


def test_the_analysis_is_one_json_document_for_scripts(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["contract", "check", str(broken), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["deployable"] is False
    (finding,) = found["findings"]
    assert finding["rule"] == "never-broken"
    assert finding["line"] > 0


def test_a_scenario_that_comes_out_as_expected_has_status_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["contract", "simulate", str(CONSENT), str(SCENARIO)]) == 0
    told = capsys.readouterr().out
    assert "      0s  ada begins consent/1: allowed by owner-grants; it is active\n" in told
    assert "orders release_key, disclose\n" in told
    assert "refused, POLICY_DENIED by purpose-differs" in told


def test_one_that_does_not_has_status_1_and_says_where(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "scenario.yaml"
    text = SCENARIO.read_text("utf-8").replace("expect: allowed", "expect: POLICY_DENIED", 1)
    scenario.write_text(text, "utf-8")
    assert run(["contract", "simulate", str(CONSENT), str(scenario)]) == 1
    assert "NOT AS EXPECTED: POLICY_DENIED\n" in capsys.readouterr().out
    assert run(["contract", "simulate", str(CONSENT), str(scenario), "--json"]) == 1
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["expected"] for step in steps if step["expected"]] == ["POLICY_DENIED"]


def test_a_scenario_out_of_form_is_an_error_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("members: [hospital-a]\nacts:\n  - {at: 0, by: nobody, do: open}\n")
    assert run(["contract", "simulate", str(CONSENT), str(scenario)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("SCENARIO_MALFORMED: ")
    assert "line 3: nobody is called nobody" in told
    scenario.write_text(SCENARIO.read_text("utf-8"), "utf-8")
    lost = tmp_path / "lost.yaml"
    lost.write_text(CONSENT.read_text("utf-8").replace("initial: active", "initial: lost"))
    assert run(["contract", "simulate", str(lost), str(scenario)]) == 1
    assert capsys.readouterr().err.startswith("TEMPLATE_MALFORMED: ")


def test_a_file_that_is_not_there_is_a_mistake_of_usage(tmp_path: Path) -> None:
    assert run(["contract", "check", str(tmp_path / "nowhere.yaml")]) == 2
    assert run(["contract", "simulate", str(CONSENT), str(tmp_path / "nowhere.yaml")]) == 2
    assert run(["contract", "replay"]) == 2
