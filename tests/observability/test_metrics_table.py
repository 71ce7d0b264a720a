"""docs/metrics.md is what the processes have: names, types, labels, and which process has which."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import pytest
from prometheus_client.metrics import MetricWrapperBase

from tests.observability.promql import OPERATORS_LABELS, TARGET_LABELS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

# The processes, by the name that they have in logs and metrics: the module that is run.
PROCESSES: Final = {
    "ledger": "cipherward_ledger.__main__",
    "contract": "cipherward_contract.__main__",
    "identity": "cipherward_identity.__main__",
    "compute": "cipherward_compute.__main__",
    "worker": "cipherward_compute.worker.__main__",
    "storage": "cipherward_storage.__main__",
    "canary": "cipherward_client.canaries.__main__",
}
KINDS: Final = ("Counter", "Gauge", "Histogram")
UNITS: Final = {"seconds", "bytes", "blocks", "ratio", "info", "height", "size"}
# What would make a label of unbounded values, or one that names somebody, has one of these words.
NEVER: Final = re.compile(
    r"pseudonym|record|contract|patient|holder|study|data_set|key|instance|id$"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A metric as Prometheus has it."""

    kind: str
    labels: frozenset[str]
    processes: frozenset[str]


def documented() -> dict[str, Row]:
    """Return the rows of the page's tables of metrics."""
    rows: dict[str, Row] = {}
    found = re.finditer(
        r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \|([^|]*)\|([^|]*)\|[^|]+\|$", PAGE, re.M
    )
    for match in found:
        name, kind, labels, processes = match.groups()
        names = {one.strip() for one in processes.split(",")}
        everywhere = frozenset(PROCESSES) if names == {"all"} else frozenset(names)
        assert name not in rows
        rows[name] = Row(kind, frozenset(re.findall(r"`([a-z_]+)`", labels)), everywhere)
    return rows


def sources() -> dict[str, Path]:
    """Return our modules' files by the modules' names; generated ones define no metrics."""
    found: dict[str, Path] = {}
    for root in (*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src")):
        for path in root.glob("cipherward_*/**/*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module imports, also those in functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def defines_metrics(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS
        for statement in tree.body
        for node in ast.walk(statement)
        if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
    )


@dataclass(frozen=True, slots=True)
class Code:
    """Our modules: what each imports of ours, and which define metrics."""

    imports: Mapping[str, frozenset[str]]
    defining: frozenset[str]

    @classmethod
    def read(cls) -> Code:
        files = sources()
        imports: dict[str, frozenset[str]] = {}
        defining: set[str] = set()
        for name, path in files.items():
            tree = ast.parse(path.read_bytes())
            imports[name] = frozenset(set(imported(tree)) & files.keys())
            if defines_metrics(tree):
                defining.add(name)
        return cls(imports, frozenset(defining))

    def reached(self, start: str) -> set[str]:
        """Return the modules that `start` imports, directly or not, itself included."""
        seen, todo = {start}, [start]
        while todo:
            new = self.imports[todo.pop()] - seen
            seen |= new
            todo += new
        return seen


def registered() -> dict[str, Row]:
    """Return what the code defines."""
    code = Code.read()
    reached = {process: code.reached(module) for process, module in PROCESSES.items()}
    rows: dict[str, Row] = {}
    for module in sorted(code.defining):
        processes = frozenset(one for one, found in reached.items() if module in found)
        metrics = vars(importlib.import_module(module)).values()
        for metric in {one for one in metrics if isinstance(one, MetricWrapperBase)}:
            (family,) = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            named = cast("tuple[str, ...]", vars(metric)["_labelnames"])
            row = Row(family.type, frozenset(named), processes)
            before = rows.get(name)
            # Whoever imports another's metric is seen, too: the widest is where it is defined.
            if before is None or before.processes < processes:
                rows[name] = row
    return rows


DOCUMENTED: Final = documented()


@pytest.fixture(scope="module")
def code() -> dict[str, Row]:
    return registered()


def test_the_page_has_every_metric_and_no_other(code: dict[str, Row]) -> None:
    assert sorted(DOCUMENTED) == sorted(code)


def test_the_page_says_types_labels_and_processes_as_they_are(code: dict[str, Row]) -> None:
    assert code == DOCUMENTED


def test_every_label_is_of_the_list_of_labels_and_closed() -> None:
    described = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|$", PAGE, re.MULTILINE))
    used = {label for row in DOCUMENTED.values() for label in row.labels}
    assert used == set(described)
    assert not [label for label in used if NEVER.search(label)]
    assert all(described.values())


def test_no_label_is_one_that_prometheus_gives_the_process_itself() -> None:
    """Ours would be renamed to exported_…, in Kubernetes only, and no query would find it there."""
    used = {label for row in DOCUMENTED.values() for label in row.labels}
    assert not used & (TARGET_LABELS | OPERATORS_LABELS)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_names_follow_the_scheme(name: str) -> None:
    row = DOCUMENTED[name]
    assert name.startswith(("cipherward_", "grpc_server_call_"))
    assert name.endswith("_total") == (row.kind == "counter")
    if "timestamp" in name:
        assert name.endswith("_timestamp_seconds")
        assert row.kind == "gauge"
    if row.kind == "histogram":
        assert name.rsplit("_", 1)[1] in UNITS
    assert "_time_seconds" not in name
