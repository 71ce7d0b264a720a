"""A production release brings the dashboards and alerts of this repository, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.observability.promql import ROOT, TARGET_LABELS, boards
from tools import chart_files
from tools.chart_files import ALERTS

RENDERED = ROOT / "deploy/helm/rendered"


def manifests(profile: str, kind: str) -> list[Any]:
    """Return the rendered manifests of a kind."""
    text = (RENDERED / f"{profile}.yaml").read_text(encoding="utf-8")
    return [one for one in yaml.safe_load_all(text) if one and one["kind"] == kind]


def dashboards(profile: str) -> list[Any]:
    return [
        one
        for one in manifests(profile, "ConfigMap")
        if "grafana_dashboard" in one["metadata"]["labels"]
    ]


def test_the_charts_copies_are_current() -> None:
    assert chart_files.stale() == [], "run `make chart`"


def test_every_dashboard_is_in_a_production_release_as_it_is_here() -> None:
    installed: dict[str, Any] = {}
    for one in dashboards("production"):
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "CipherWard"}
        (name,) = one["data"]
        installed[name.removeprefix("cw-cipherward-").removesuffix(".json")] = json.loads(
            one["data"][name]
        )
    assert installed == boards()


def test_every_rule_is_in_a_production_release_as_it_is_here() -> None:
    (rule,) = manifests("production", "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text(encoding="utf-8"))


def test_an_embedded_release_has_neither() -> None:
    assert dashboards("embedded") == []
    assert manifests("embedded", "PrometheusRule") == []


def test_prometheus_gives_a_target_the_labels_that_dashboards_choose_by() -> None:
    (monitor,) = manifests("production", "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    given = {one["targetLabel"] for one in endpoint["relabelings"]}
    assert given == {"member", "component"}
    assert given < TARGET_LABELS


def test_a_copy_that_differs_or_is_of_nothing_is_stale(tmp_path: Path) -> None:
    chart_files.copy(tmp_path)
    assert chart_files.stale(tmp_path) == []
    gone, changed = tmp_path / "dashboards/gone.json", tmp_path / "alerts.yaml"
    gone.write_text("{}")
    changed.write_text("groups: []")
    assert chart_files.stale(tmp_path) == [changed, gone]
    chart_files.copy(tmp_path)
    assert chart_files.stale(tmp_path) == []
    assert not gone.exists()
