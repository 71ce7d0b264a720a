"""A dashboard as Grafana imports it: JSON of a fixed order, for version 11.6 and later."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Final

from grafana_foundation_sdk.builders import common, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shared
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.dashboards.board import Board, Kind, Panel, Query, Section, matchers

TAG: Final = "cipherward"  # by it dashboards find each other
# Every process has it from its start on, so that all labels are known from it.
KNOWN_FROM: Final = "cipherward_build_info"
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
RANGE: Final = ("now-6h", "now")
COLUMNS: Final = 24  # of a dashboard
REFRESH: Final = "30s"  # two scrapes of the chart's ServiceMonitor
GREEN, RED, PLAIN = "green", "red", "text"

Picture = timeseries.Panel | stat.Panel | statetimeline.Panel


def document(board: Board) -> str:
    """Return the dashboard's file."""
    made = (
        build.Dashboard(board.title)
        .uid(f"{TAG}-{board.name}")
        .description(board.description)
        .tags([TAG])
        .time(*RANGE)
        .timezone("browser")
        .refresh(REFRESH)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(_to_the_others())
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for before, label in enumerate(board.variables):
        made = made.with_variable(_variable(label, board.variables[:before]))
    numbers = count(1)
    top = 0
    for section in board.sections:
        row = build.Row(section.title).id(next(numbers))
        made = made.with_row(row.grid_pos(model.GridPos(h=1, w=COLUMNS, x=0, y=top)))
        top += 1
        for panel, place in placed(section, top):
            made = made.with_panel(_picture(board, panel).id(next(numbers)).grid_pos(place))
            top = max(top, place.y + place.h)
    plain: Any = json.loads(JSONEncoder().encode(made.build()))
    return json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _to_the_others() -> build.DashboardLink:
    return (
        build.DashboardLink("CipherWard")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _variable(label: str, before: Sequence[str]) -> build.QueryVariable:
    """Return the choice of a label's values among those that the earlier choices leave."""
    chosen = f"{{{matchers(before)}}}" if before else ""
    return (
        build.QueryVariable(label)
        .label(label.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({KNOWN_FROM}{chosen}, {label})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # Matches what lacks the label, too: outside of Kubernetes nothing has a namespace.
        .all_value(".*")
        .current(model.VariableOption(selected=True, text="All", value="$__all"))
    )


def placed(section: Section, top: int) -> Iterator[tuple[Panel, model.GridPos]]:
    """Yield the panels with their places: from left to right, then in the next line."""
    left, height = 0, 0
    for panel in section.panels:
        if left + panel.width > COLUMNS:
            left, top, height = 0, top + height, 0
        yield panel, model.GridPos(h=panel.height, w=panel.width, x=left, y=top)
        left, height = left + panel.width, max(height, panel.height)


def _query(board: Board, query: Query, place: int, *, newest: bool) -> Dataquery:
    made = (
        Dataquery()
        .expr(board.promql(query.expression))
        .legend_format(query.legend)
        .ref_id(chr(ord("A") + place))
        .format(PromQueryFormat.TIME_SERIES)
        .datasource(SOURCE)
    )
    return made.instant() if newest else made.range()


def _picture(board: Board, panel: Panel) -> Picture:
    made = _blank(panel)
    made = made.title(panel.title).description(panel.description).unit(panel.unit)
    made = made.datasource(SOURCE).thresholds(_thresholds(panel))
    if panel.ceiling is not None:
        made = made.max(panel.ceiling)
    for place, query in enumerate(panel.queries):
        made = made.with_target(_query(board, query, place, newest=panel.kind is Kind.NUMBER))
    return made


def _blank(panel: Panel) -> Picture:
    if panel.kind is Kind.NUMBER:
        return (
            stat.Panel()
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .color_mode(shared.BigValueColorMode.VALUE)
            .graph_mode(shared.BigValueGraphMode.NONE)
        )
    if panel.kind is Kind.STATES:
        words = {
            "0": model.ValueMappingResult(text="no", color=RED, index=0),
            "1": model.ValueMappingResult(text="yes", color=GREEN, index=1),
        }
        return (
            statetimeline.Panel()
            .mappings([model.ValueMap(options=words)])
            .show_value(shared.VisibilityMode.NEVER)
            .row_height(0.8)
            .merge_values(True)
            .legend(common.VizLegendOptions().show_legend(False))
        )
    legend = (
        common.VizLegendOptions()
        .display_mode(shared.LegendDisplayMode.LIST)
        .placement(shared.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    tooltip = common.VizTooltipOptions().mode(shared.TooltipDisplayMode.MULTI)
    lines = timeseries.Panel().min(0).legend(legend)
    lines = lines.tooltip(tooltip.sort(shared.SortOrder.DESCENDING)).span_nulls(False)
    if panel.kind is Kind.STACK:
        stacked = common.StackingConfig().mode(shared.StackingMode.NORMAL).group("A")
        return lines.fill_opacity(40).stacking(stacked)
    return lines.fill_opacity(8)


def _thresholds(panel: Panel) -> build.ThresholdsConfig:
    if panel.bad_from is not None:
        steps = [model.Threshold(color=GREEN), model.Threshold(value=panel.bad_from, color=RED)]
    elif panel.good_from is not None:
        steps = [model.Threshold(color=RED), model.Threshold(value=panel.good_from, color=GREEN)]
    else:
        steps = [model.Threshold(color=PLAIN)]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)
