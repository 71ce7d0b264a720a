"""Every query of a dashboard and every rule, put to a real Prometheus that scrapes an alliance."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from cipherward_client.alliance.parts import Parts
from cipherward_client.alliance.running import running_alliance
from tests.integration.production import production_parts
from tests.observability.promql import Shown, boards, metrics, rules, shown
from tests.observability.scene import canaries, opened, release_study, share_records, targets
from tests.servers.need import need
from tests.servers.prometheus import PrometheusServer, running_prometheus
from tools.chart_files import ALERTS

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

ANSWER_SECONDS = 10.0  # of one query
# Two evaluations of the recording rules, which begin anywhere in their thirty seconds; the
# canaries' rounds of acts, and a slot key's ten seconds in a development alliance, fit in.
DATA_SECONDS = 120.0
POLL_SECONDS = 1.0
# What Grafana fills in: everything is chosen, and the window holds all that happened.
FILLED_IN = {"$__rate_interval": "10m", "$__range": "10m"}
CHOSEN = re.compile(r"\$(?:namespace|member|component)\b")
NOTHING = " or vector(0)"  # a query's own answer when there is none; left out here
WRONG = "nothing goes wrong here"
WORKERS = "no worker runs here"
NO_CEREMONY = "the ceremonies of the first start are over"
# What stays without data, by panel and metric, and why.
QUIET = {
    ("Conditions unmet", "cipherward_service_ready"): WRONG,
    ("Not scraped", "up"): WRONG,
    ("Availability", "member_component:grpc_calls_failed:rate5m"): WRONG,
    ("Methods that fail", "grpc_server_call_duration_seconds_count"): WRONG,
    ("Dropped without a block", "cipherward_ledger_dropped_transactions_total"): WRONG,
    ("Detours", "cipherward_feed_detours_total"): WRONG,
    ("Publishing broken off", "cipherward_ledger_feed_failures_total"): WRONG,
    ("Proposals", "cipherward_ledger_proposals_refused_total"): WRONG,
    ("Misbehaviour", "cipherward_ledger_misbehaviour_total"): WRONG,
    ("Gossip", "cipherward_ledger_gossip_refused_total"): WRONG,
    (
        "Strangers and snapshots refused",
        "cipherward_ledger_snapshots_refused_total",
    ): "nobody joins, and so nobody asks for a snapshot",
    ("Breaches", "cipherward_canary_breaches_total"): WRONG,
    ("Downloads cut", "cipherward_storage_downloads_cut_total"): "no right ends in a download",
    ("Openings of identities", "cipherward_identity_opening_shares_total"): "no warrant is given",
    ("Pieces read again", "cipherward_storage_scrub_pieces_total"): "the scrub of the start "
    "found no record",
    ("Pieces read again", "cipherward_compute_scrub_pieces_total"): "nor any row",
    ("Spans of traces", "cipherward_trace_spans_total"): "traces are off",
    ("Longest step", "cipherward_compute_step_begun_timestamp_seconds"): "the study is over",
    ("Age of the oldest step", "cipherward_compute_step_begun_timestamp_seconds"): "as above",
    ("Messages refused", "cipherward_compute_job_messages_refused_total"): WORKERS,
    ("Phases", "cipherward_ceremony_phase"): NO_CEREMONY,
    ("Oldest phase", "cipherward_ceremony_phase_begun_timestamp_seconds"): NO_CEREMONY,
    ("Time in the phase", "cipherward_ceremony_phase_begun_timestamp_seconds"): NO_CEREMONY,
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Generator[Parts]:
    """Those of production: they have every metric that the embedded ones have, and more."""
    with production_parts(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Generator[PrometheusServer]:
    """A server that evaluates the rules of deploy/alerts."""
    need("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    with running_prometheus(folder, {}, rules=[ALERTS]) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def scraped(
    prometheus: PrometheusServer, parts: Parts, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[None]:
    """An alliance that has done something of everything, scraped from its start."""
    root = tmp_path_factory.mktemp("alliance")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_alliance(root, parts=parts))
        plan, at = canaries(running)
        await asyncio.to_thread(prometheus.scrape, targets(running) | at)
        scene = await opened(running, stack)
        async with asyncio.TaskGroup() as group:
            group.create_task(running.supervisor.start([plan]))
            await release_study(scene)  # meanwhile every custodian takes the record key
            await share_records(scene)
        yield


def asked(server: PrometheusServer, path: str, **arguments: str) -> Any:
    """Return what Prometheus answers; fail with its words if it refuses."""
    url = f"{server.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        pytest.fail(f"{arguments}: {error.read().decode()}")


def filled_in(expression: str) -> str:
    """Return an expression as Grafana sends it when everything is chosen, without its zero."""
    expression = expression.replace(NOTHING, "")
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    return CHOSEN.sub(".*", expression)


def without_data(server: PrometheusServer, queries: Iterable[Shown]) -> list[Shown]:
    """Return the queries that nothing answers; fail on one that is refused."""
    return [
        query
        for query in queries
        if not asked(server, "query", query=filled_in(query.expression))["result"]
    ]


def quiet(query: Shown) -> bool:
    """Return whether a query may go without data."""
    return any((query.panel, metric) in QUIET for metric in metrics(query.expression))


async def test_what_may_be_quiet_is_shown() -> None:
    there = {(query.panel, one) for query in shown() for one in metrics(query.expression)}
    assert set(QUIET) <= there


@pytest.mark.parametrize("board", boards())
async def test_every_query_of_a_dashboard_has_an_answer(
    prometheus: PrometheusServer, board: str
) -> None:
    ends = time.monotonic() + DATA_SECONDS
    waiting = [query for query in shown() if query.board == board]
    while waiting := await asyncio.to_thread(without_data, prometheus, waiting):
        waiting = [query for query in waiting if not quiet(query)]
        if not waiting:
            return
        assert time.monotonic() < ends, "no data: " + "\n".join(map(str, waiting))
        await asyncio.sleep(POLL_SECONDS)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
async def test_every_rule_is_evaluated(
    prometheus: PrometheusServer, rule: Mapping[str, Any]
) -> None:
    found = await asyncio.to_thread(asked, prometheus, "query", query=rule["expr"])
    assert found["resultType"] == "vector"


async def test_prometheus_itself_evaluates_every_rule(prometheus: PrometheusServer) -> None:
    names = {rule.get("alert") or rule["record"] for rule in rules()}
    ends = time.monotonic() + DATA_SECONDS
    while True:
        groups = (await asyncio.to_thread(asked, prometheus, "rules"))["groups"]
        health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        assert set(health) == names
        assert "err" not in health.values(), health
        if set(health.values()) == {"ok"}:
            return
        assert time.monotonic() < ends, health  # not evaluated yet
        await asyncio.sleep(POLL_SECONDS)
