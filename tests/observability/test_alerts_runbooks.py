"""Every alert has its tests and its runbook, and a runbook names what is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cipherward.compute.v1 import compute_service_pb2
from cipherward.contract.v1 import contract_service_pb2
from cipherward.identity.v1 import identity_service_pb2
from cipherward.ledger.v1 import ledger_service_pb2
from cipherward.storage.v1 import storage_service_pb2
from cipherward_client.cli.commands import app
from tests.observability.promql import HISTOGRAM_PARTS, listed, metrics, rules, unknown_labels

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy/alerts"
RUNBOOKS = ROOT / "docs/runbooks"
SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
METRIC = re.compile(r"\b((?:cipherward|grpc_server)_[a-z0-9_]+)\b(?![./])")
COMMAND = re.compile(r"`cipherward ([^`]+)`|^ +cipherward (.+)$", re.MULTILINE)
SERVICES = (
    compute_service_pb2,
    contract_service_pb2,
    identity_service_pb2,
    ledger_service_pb2,
    storage_service_pb2,
)

ALERTING: Mapping[str, Mapping[str, Any]] = {
    rule["alert"]: rule for rule in rules() if "alert" in rule
}


def expectations(alert: str) -> list[Sequence[object]]:
    """Return what each test of an alert expects: a list of alerts that fire, empty if quiet."""
    return [
        check["exp_alerts"]
        for file in sorted(ALERTS.glob("*.test.yaml"))
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for check in test["alert_rule_test"]
        if check["alertname"] == alert
    ]


def unknown_metrics(page: str) -> set[str]:
    """Return the metrics that a page names and docs/metrics.md does not list."""
    known = set(listed())
    parts = {name.removesuffix(part) for name in known for part in HISTOGRAM_PARTS}
    recorded = {word for name in known if ":" in name for word in name.split(":")}
    return set(METRIC.findall(page)) - known - parts - recorded


@pytest.mark.parametrize("alert", ALERTING)
def test_an_alert_says_how_urgent_it_is_and_where_its_runbook_is(alert: str) -> None:
    rule = ALERTING[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"


@pytest.mark.parametrize("alert", ALERTING)
def test_an_alert_is_tested_to_fire_and_to_be_quiet(alert: str) -> None:
    assert {bool(expected) for expected in expectations(alert)} == {True, False}


def test_every_rule_computes_from_metrics_and_labels_that_the_processes_have() -> None:
    known = listed()
    for rule in rules():
        told = " ".join(str(text) for text in rule.get("annotations", {}).values())
        shown = " ".join(f"{{{{{label}}}}}" for label in re.findall(r"\$labels\.(\w+)", told))
        assert metrics(rule["expr"]) <= set(known), rule
        assert unknown_labels(rule["expr"], shown, known) == set(), rule


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(ALERTING)


@pytest.mark.parametrize("alert", ALERTING)
def test_a_runbook_has_its_sections_and_names_metrics_that_exist(alert: str) -> None:
    page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {alert}\n")
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    assert tuple(parts[1::2]) == SECTIONS
    assert all(text.strip() for text in parts[2::2])
    assert unknown_metrics(page) == set()


@pytest.mark.parametrize("alert", ALERTING)
def test_every_command_of_a_runbook_is_one_that_the_program_takes(
    alert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
    for inline, block in COMMAND.findall(page):
        parse(shlex.split(inline or block))


def parse(arguments: Sequence[str]) -> None:
    """Let the command line take arguments, or name a command alone, without running anything."""
    command: Any = typer.main.get_command(app)  # of a Click that typer carries, without types
    name, rest = "cipherward", list(arguments)
    while hasattr(command, "commands") and (rest or not command.invoke_without_command):
        assert rest, f"`{name}` alone is a group of commands"
        assert rest[0] in command.commands, f"`{name}` has no command {rest[0]}"
        name, command, rest = f"{name} {rest[0]}", command.commands[rest[0]], rest[1:]
    if rest:  # otherwise a sentence names it, without its arguments
        command.make_context(name, rest)


def test_the_promise_about_waiting_leaves_out_every_stream() -> None:
    slow = next(
        r for r in rules() if r.get("record") == "member_component:grpc_waited_calls:rate5m"
    )
    left_out = set(
        re.findall(r"\w+", re.findall(r'grpc_method!~"\.\*/\((.*?)\)"', slow["expr"])[0])
    )
    methods = [
        method
        for module in SERVICES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    streams = {m.name for m in methods if m.client_streaming or m.server_streaming}
    assert streams <= left_out <= {method.name for method in methods}
