"""Every runbook has the form in which it is followed, and a step that shows the alert's cause."""

from __future__ import annotations

import pytest

from tools.alerts.__main__ import CAUSES
from tools.alerts.findings import Answer, Finding, Labels, Logged, Printed, holds
from tools.alerts.firing import about
from tools.alerts.runbook import LOOKING, PLACEHOLDERS, Diagnosis, filled, looks

FINDINGS = {
    finding.alert: finding for cause in CAUSES for finding in (*cause.findings, *cause.afterwards)
}
HELD: list[tuple[object, object, bool]] = [
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"b": 1}, False),
    ([{"a": "one"}, {"a": "two"}], [{"a": "tw"}], True),
    ([{"a": "one", "b": 1}, {"a": "two", "b": 2}], [{"a": "one", "b": 2}], False),
    ([], [{}], False),
    ("12M ballast", "ballast", True),
    ("12M", "ballast", False),
    ({"a": True}, {"a": False}, False),
    (None, {"a": 1}, False),
]
PAGE = """\
# CipherwardExample

## Impact
`cipherward_chain_height` is not looked at here, nor is `cipherward backup --data DIR`.

## Diagnosis
1. Look: `cipherward doctor --data DIR`, and the lines `readiness` and `rpc_refused`.
2. How many: `up{member="hospital-a"} == 0`; its file is in `DIR/logs`.

       cipherward chain witness --alliance DIR
       rate(cipherward_chain_height{member="hospital-a",component="storage"}[5m])

3. Once more `cipherward doctor --data DIR`; `cipherward dev` names it.

## Mitigation
`cipherward key propose record --member hospital-a --alliance DIR`
"""


@pytest.mark.parametrize("alert", FINDINGS)
def test_a_diagnosis_evaluates_something_and_only_looks(alert: str) -> None:
    diagnosis = Diagnosis.of(alert)
    assert diagnosis.expressions
    assert [command for command in diagnosis.commands if not looks(command)] == []


@pytest.mark.parametrize("alert", FINDINGS)
def test_what_shows_a_cause_stands_in_the_diagnosis(alert: str) -> None:
    finding, diagnosis = FINDINGS[alert], Diagnosis.of(alert)
    match finding.shows:
        case Answer():
            assert finding.step in diagnosis.expressions
        case Printed():
            assert finding.step in diagnosis.commands
        case Logged():
            assert finding.step in diagnosis.words


def test_a_page_is_read_as_expressions_commands_and_words() -> None:
    diagnosis = Diagnosis.parse(PAGE)
    assert diagnosis.commands == (
        "cipherward doctor --data DIR",
        "cipherward chain witness --alliance DIR",
    )
    assert diagnosis.expressions == (
        'up{member="hospital-a"} == 0',
        'rate(cipherward_chain_height{member="hospital-a",component="storage"}[5m])',
    )
    assert {"readiness", "rpc_refused", "DIR/logs", "cipherward dev"} <= diagnosis.words


def test_a_page_without_a_diagnosis_is_refused() -> None:
    with pytest.raises(ValueError, match="Diagnosis"):
        Diagnosis.parse("# CipherwardExample\n\n## Meaning\nNothing.\n")


def test_what_changes_something_does_not_only_look() -> None:
    assert all(map(looks, LOOKING))
    for command in ("cipherward key propose record", "cipherward dev --data DIR", "rm -r DIR"):
        assert not looks(command)


def test_the_places_of_a_step_are_filled_from_the_alert() -> None:
    labels = {"member": "hospital-c", "component": "identity", "purpose": "opening"}
    step = 'cipherward_storage_records{member="hospital-a",component="storage"}'
    assert filled(step, labels, {}) == (
        'cipherward_storage_records{member="hospital-c",component="identity"}'
    )
    command = "cipherward key show record --alliance DIR"
    assert filled(command, labels, {"DIR": "/a"}) == "cipherward key show opening --alliance /a"
    assert filled(command, {"member": "hospital-c"}, {}) == command
    assert set(PLACEHOLDERS) == set(labels)


@pytest.mark.parametrize(("whole", "part", "held"), HELD)
def test_a_document_is_held_against_the_part_that_it_must_have(
    whole: object, part: object, held: bool
) -> None:
    assert holds(whole, part) is held


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({"alertname": "CipherwardTargetDown", "member": "hospital-d", "job": "x"}, True),
        ({"alertname": "CipherwardTargetDown", "member": "hospital-a"}, False),
        ({"alertname": "CipherwardNotReady", "member": "hospital-d"}, False),
    ],
)
def test_the_alert_that_a_finding_is_about_is_told_from_others(labels: Labels, found: bool) -> None:
    finding = Finding("CipherwardTargetDown", {"member": "hospital-d"}, "up", Answer())
    assert (about(finding, [{"labels": labels}]) is not None) is found
