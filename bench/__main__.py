"""`python -m bench`: measure, print a table, write bench/results.json.

--only NAME runs one benchmark and puts its rows into the file; --readme writes the file's tables
into README.md, docs/performance.md and docs/operations.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import (
    analysis,
    ceremonies,
    consensus,
    decide,
    demo,
    evaluation,
    execute,
    feed,
    group_keys,
    key_generation,
    key_release,
    ledger_throughput,
    machine,
    presentations,
    proofs,
    receipts,
    record_transfer,
    revocation,
    rows,
    scaling,
    service_memory,
    state_size,
    study,
    study_arithmetic,
    worker_memory,
)
from bench.memory_rows import table as memory_table
from bench.results import Row, merged
from bench.tables import headlines, markdown, terminal_table, with_table

FOLDER = Path(__file__).resolve().parent
RESULTS, README = FOLDER / "results.json", FOLDER.parent / "README.md"
DOCS = FOLDER.parent / "docs"
PERFORMANCE, OPERATIONS = DOCS / "performance.md", DOCS / "operations.md"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One thing to run, by its name, and the rows that it measures together."""

    name: str
    rows: Sequence[str]
    measure: Callable[[], Sequence[Row]]


BENCHMARKS = (
    Benchmark("analysis", (analysis.NAME,), analysis.measure),
    Benchmark("ceremonies", ceremonies.NAMES, ceremonies.measure),
    Benchmark("comet-1", consensus.ONE, consensus.measure_one),
    Benchmark("comet-1-batched", consensus.ONE_BATCHED, consensus.measure_one_batched),
    Benchmark("comet-4", consensus.FOUR, consensus.measure_four),
    Benchmark("comet-4-single", consensus.FOUR_SINGLE, consensus.measure_four_single),
    Benchmark("comet-4-latency", consensus.LATENCY, consensus.measure_latency),
    Benchmark("decide", decide.NAMES, decide.measure),
    Benchmark("demo", demo.NAMES, demo.measure),
    Benchmark("evaluation", evaluation.NAMES, evaluation.measure),
    Benchmark("execute", execute.NAMES, execute.measure),
    Benchmark("feed", feed.NAMES, feed.measure),
    Benchmark("group-keys", group_keys.NAMES, group_keys.measure),
    Benchmark("key-generation", (key_generation.NAME,), key_generation.measure),
    Benchmark("key-release", key_release.NAMES, key_release.measure),
    Benchmark("ledger", ledger_throughput.NAMES, ledger_throughput.measure),
    Benchmark("presentations", (presentations.NAME,), presentations.measure),
    Benchmark("proofs", proofs.NAMES, proofs.measure),
    Benchmark("receipts", (receipts.NAME,), receipts.measure),
    Benchmark("records", record_transfer.NAMES, record_transfer.measure),
    Benchmark("revocation", revocation.NAMES, revocation.measure),
    Benchmark("rows", rows.NAMES, rows.measure),
    Benchmark("scaling", scaling.NAMES, scaling.measure),
    Benchmark("service-memory", service_memory.NAMES, service_memory.measure),
    Benchmark("worker-memory", worker_memory.NAMES, worker_memory.measure),
    Benchmark("state-size", state_size.NAMES, state_size.measure),
    Benchmark("study-arithmetic", (study_arithmetic.NAME,), study_arithmetic.measure),
    Benchmark("study", (study.NAME,), study.measure),
    Benchmark("studies-followed", study.FOLLOWED, study.measure_followed),
    Benchmark("studies-large", study.SUMS, study.measure_sums),
)
ORDER = [row for benchmark in BENCHMARKS for row in benchmark.rows]


def main() -> None:
    """Run what the command line asks for."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core tells of each connection that ends
    arguments = _arguments()
    if arguments.readme:
        for path, page in pages():
            path.write_text(page, encoding="utf-8")
        return
    chosen = [b for b in BENCHMARKS if arguments.only in ("", b.name, *b.rows)]
    before, load_before = read_results(), machine.load()
    console, rows = Console(width=160), list[Row]()
    for benchmark in chosen:
        console.print(f"{benchmark.name} …")
        rows.extend(benchmark.measure())
        for row in rows[-len(benchmark.rows) :]:
            console.print(f"  {row.name}: {row.value:.4g} {row.unit}")
    document = {
        "machine": machine.describe(load_before),
        "results": merged(before["results"], rows, ORDER),
    }
    RESULTS.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(terminal_table([row.document() for row in rows]))


def pages() -> list[tuple[Path, str]]:
    """Return the pages that show the results, as they should be."""
    results = read_results()
    tables = (
        (README, headlines(results)),
        (PERFORMANCE, markdown(results)),
        (OPERATIONS, memory_table(results)),
    )
    return [(path, with_table(path.read_text(encoding="utf-8"), table)) for path, table in tables]


def read_results() -> Mapping[str, Any]:
    """Return the results that were written last; without a file there are none."""
    if not RESULTS.exists():
        return {"machine": {}, "results": []}
    return json.loads(RESULTS.read_text(encoding="utf-8"))


def _arguments() -> argparse.Namespace:
    names = sorted({b.name for b in BENCHMARKS} | set(ORDER))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--only", default="", choices=names, metavar="NAME", help=", ".join(names))
    what.add_argument(
        "--readme",
        action="store_true",
        help="write the tables into README.md, docs/performance.md and docs/operations.md",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
