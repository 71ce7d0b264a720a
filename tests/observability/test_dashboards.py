"""The dashboards are those that the code makes, say what they show, and ask for what there is."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from tests.observability.promql import (
    boards,
    listed,
    metrics,
    panels,
    rules,
    shown,
    unknown_labels,
)
from tools.chart_files import DASHBOARDS
from tools.dashboards import consent_audit, service_level, studies
from tools.dashboards.__main__ import documents
from tools.dashboards.board import Kind, Panel, Query, Section
from tools.dashboards.grafana import placed

BOARDS = boards()
# What no dashboard shows, and why.
NOT_SHOWN = {
    "process_virtual_memory_bytes": "says nothing here: libraries reserve what they never use",
    "python_info": "the images fix it",
}


def overlap(one: Any, other: Any) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_the_committed_dashboards_are_those_that_the_code_makes() -> None:
    made = documents()
    assert set(BOARDS) == {name.removesuffix(".json") for name in made}
    for name, content in made.items():
        committed = (DASHBOARDS / name).read_text(encoding="utf-8")
        assert committed == content, f"{name} is not current: run `make dashboards chart`"


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_and_in_which_unit(name: str) -> None:
    for panel in panels(BOARDS[name]):
        title = panel["title"]
        assert panel["description"].endswith("."), f"{title} has no description"
        assert panel["fieldConfig"]["defaults"]["unit"], f"{title} has no unit"
        assert panel["targets"], f"{title} asks nothing"


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_fits_any_installation(name: str) -> None:
    board = BOARDS[name]
    assert board["uid"] == f"cipherward-{name}"
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert {"datasource", "namespace", "member"} <= set(variables)
    assert variables["datasource"]["type"] == "datasource"
    for panel in panels(board):
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert 'namespace=~"$namespace"' in target["expr"]
            assert 'member=~"$member"' in target["expr"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_numbers_and_places_of_their_own(name: str) -> None:
    everything = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    titles = [panel["title"] for panel in everything]
    places = [panel["gridPos"] for panel in everything]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    clashes = [
        (titles[one], titles[other])
        for one, other in combinations(range(len(places)), 2)
        if overlap(places[one], places[other])
    ]
    assert not clashes
    for panel in panels(BOARDS[name]):
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_every_metric_and_label_that_a_dashboard_asks_for_is_listed() -> None:
    known = listed()
    for query in shown():
        assert metrics(query.expression) <= set(known), str(query)
        assert not unknown_labels(query.expression, query.legend, known), str(query)


def test_a_choice_of_labels_is_of_a_metric_that_is_listed() -> None:
    known = listed()
    for board in BOARDS.values():
        for variable in board["templating"]["list"][1:]:
            series, label = variable["query"].removeprefix("label_values(").rsplit(", ", 1)
            assert metrics(series) <= set(known)
            assert label == f"{variable['name']})"


def test_what_is_measured_is_shown() -> None:
    asked: set[str] = set[str]().union(*(metrics(query.expression) for query in shown()))
    parts = {name.rsplit("_", 1)[0] for name in asked}  # one part of a histogram will do
    hidden = {name for name in set(listed()) - asked if name.rsplit("_", 1)[0] not in parts}
    hidden = {name for name in hidden if not name.startswith(("python_gc_", "member_component:"))}
    assert hidden == set(NOT_SHOWN)


# What a dashboard paints red, by the alert that has the same bound.
BOUNDS = {
    "CipherwardAvailabilityBurnsFast": f"> {service_level.PAGE_BURN} * 0.001 ",
    "CipherwardLatencyBurnsFast": f"> {service_level.PAGE_BURN} * 0.01 ",
    "CipherwardCertificateExpiring": f"< {service_level.CERTIFICATE_SECONDS}",
    "CipherwardDiskFilling": f"< {service_level.DISK_RATIO}",
    "CipherwardBudgetNearlySpent": f"< {studies.BUDGET_RATIO}",
    "CipherwardStudyStepStuck": f"> {studies.STEP_SECONDS})",
    "CipherwardCanariesSilent": f"> {consent_audit.ROUND_SECONDS} ",
    "CipherwardSlotKeyOld": f"> {consent_audit.SLOT_KEY_SECONDS}",
}


@pytest.mark.parametrize("alert", BOUNDS)
def test_a_dashboard_turns_red_where_the_alert_fires(alert: str) -> None:
    (rule,) = (rule for rule in rules() if rule.get("alert") == alert)
    assert BOUNDS[alert] in f"{rule['expr']} "


def test_a_metric_that_nobody_lists_would_be_seen() -> None:
    known = listed()
    asked = 'sum by (member) (rate(cipherward_nobody_total{$of,case="x"}[5m])) / up'
    assert metrics(asked) - set(known) == {"cipherward_nobody_total"}
    assert unknown_labels('sum by (nowhere) (up{case="x"})', "{{else}}", known) == {
        "nowhere",
        "case",
        "else",
    }


def test_a_wide_panel_begins_a_line_of_its_own() -> None:
    query = (Query("up{$of}", ""),)
    narrow = Panel("n", "N.", "short", query)
    wide = Panel("w", "W.", "short", query, Kind.STATES)
    places = [place for _, place in placed(Section("s", (narrow, wide, narrow)), 1)]
    assert [(place.x, place.y) for place in places] == [(0, 1), (0, 9), (0, 17)]
