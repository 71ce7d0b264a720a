"""A hospital's part of a large study, on its own disk: how much memory it takes, and how long.

200,000 rows of 20 variables with references, a fifth of a million patients: contributed part by
part, then counted and summed for means, covariances and a regression of all variables, with one
patient in a thousand out, and the cohort remembered. Memory is what the process holds at its
greatest beyond what it held before the step, in a process of its own; the rows alone are 32 MB.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import re
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.results import Row, Spread, Target
from cipherward_compute.cohorts import Cohort, Cohorts, CohortWatch
from cipherward_compute.datasets import DataSets
from cipherward_compute.datasets_form import Column, Header, RowsEnd, RowsPart
from cipherward_compute.opt_outs import OptOuts
from cipherward_compute.schema import SCHEMA
from cipherward_compute.vault import Vault
from cipherward_kit.database import Database
from cipherward_studies.plan import Plan
from cipherward_studies.spec import Draft
from cipherward_threshold.switching import RequesterKey

ROWS, VARIABLES = 200_000, 20
WARM_ROWS = 20_000  # everything is imported and every pool has grown
PART_ROWS = 6_553  # 1 MiB of values
PROFILE = "additive-1"
HEIGHT = 1  # the block that orders the study's counts
NAMES = ("rows: contribute", "rows: count and sum", "rows: contribute, peak", "rows: sum, peak")
SECONDS = Target(5.0, at_least=False)
# Two parts as they come, sealed and in SQLite; 16 bytes of each reference, twice while sorted.
CONTRIBUTE_MEGABYTES = Target(40.0, at_least=False)
# Two chunks of 65,536 rows, and what the analyses make of one.
SUM_MEGABYTES = Target(150.0, at_least=False)


@dataclass(frozen=True, slots=True)
class Found:
    """Seconds, and megabytes beyond what the process held before."""

    contribute_seconds: float
    sum_seconds: float
    contribute_megabytes: float
    sum_megabytes: float


def measure() -> list[Row]:
    """Return the rows."""
    one = in_a_process(ROWS)
    values = (
        (one.contribute_seconds, "s", SECONDS),
        (one.sum_seconds, "s", SECONDS),
        (one.contribute_megabytes, "MB", CONTRIBUTE_MEGABYTES),
        (one.sum_megabytes, "MB", SUM_MEGABYTES),
    )
    return [
        Row(name, value, unit, Spread.extremes([value]), target)
        for name, (value, unit, target) in zip(NAMES, values, strict=True)
    ]


def in_a_process(rows: int) -> Found:
    """Return what one run finds in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run, rows).result()


def _run(rows: int) -> Found:
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as folder:
        return asyncio.run(_measured(Path(folder), rows))


async def _measured(folder: Path, rows: int) -> Found:
    async with Database(folder / "compute.db", SCHEMA) as database:
        vault = Vault(bytes(32))
        opt_outs = OptOuts(database, vault)
        data_sets = DataSets(database, vault, opt_outs)
        cohorts = Cohorts(database, vault, time.time)
        plan = Plan.of(_draft().spec(RequesterKey.generate(PROFILE, bytes(32)).public_key()))
        await _contributed(data_sets, WARM_ROWS)
        await _summed(plan, data_sets, cohorts)
        for row in range(0, rows, 1000):
            await opt_outs.choose("reference", _references(row, row + 1), "out")
        contributing = await _watched(lambda: _contributed(data_sets, rows))
        summing = await _watched(lambda: _summed(plan, data_sets, cohorts))
        return Found(contributing[0], summing[0], contributing[1], summing[1])


async def _contributed(data_sets: DataSets, rows: int) -> None:
    columns = tuple(Column(f"v{place}", "mmol/L") for place in range(VARIABLES))
    header = Header(str(uuid.uuid4()), "cohort-1", columns)
    if await data_sets.contribute(header, _parts(rows)) != rows:
        raise AssertionError("not all rows are stored")


async def _parts(rows: int) -> AsyncIterator[RowsPart | RowsEnd]:
    """Yield the rows as they come from a hospital, made as they are asked for."""
    numbers = np.random.default_rng(rows)
    for start in range(0, rows, PART_ROWS):
        stop = min(rows, start + PART_ROWS)
        values = numbers.uniform(0, 10, (stop - start, VARIABLES))
        yield RowsPart(values.tobytes(), _references(start, stop))
    yield RowsEnd(rows)


def _references(start: int, stop: int) -> bytes:
    """Return the references of some rows: the same ones every time, all different."""
    return b"".join(
        hashlib.blake2b(b"%d" % row, digest_size=16).digest() for row in range(start, stop)
    )


async def _summed(plan: Plan, data_sets: DataSets, cohorts: Cohorts) -> None:
    """Count and sum as the steps of a study do, and remember the cohort."""
    rows = await data_sets.taking_part(plan.spec.data_set, HEIGHT)
    if rows is None:
        raise AssertionError("there are no rows")
    watch = CohortWatch(plan)
    chunks = rows.chunks(plan.spec.names)
    counts = await asyncio.to_thread(lambda: plan.count(watch.columns(chunks)))
    patients = await asyncio.to_thread(watch.fingerprints)
    cohort = Cohort(plan.spec.data_set, plan.spec.minimum, patients)
    await cohorts.admit(uuid.uuid4().bytes, cohort)
    again = (chunk.columns for chunk in rows.chunks(plan.spec.names))
    values = await asyncio.to_thread(lambda: plan.local(again, (), b""))
    if counts[0] != values[0] or counts[0] != patients.size:
        raise AssertionError("the patients that were counted are not those that were summed")


def _draft() -> Draft:
    names = [f"v{place}" for place in range(VARIABLES)]
    return Draft.from_document(
        {
            "data_set": "cohort-1",
            "variables": [{"name": name, "low": 0, "high": 10, "unit": "mmol/L"} for name in names],
            "analyses": [
                {"kind": "moments", "variables": names, "statistics": ["mean", "covariance"]},
                {"kind": "linear_regression", "outcome": "v0", "predictors": names[1:]},
            ],
            "minimum": 20,
        }
    )


async def _watched(step: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Return how many seconds a step takes, and by how many megabytes it grows at most."""
    _forget_peak()
    before = _megabytes("VmRSS")
    began = time.perf_counter()
    await step()
    return time.perf_counter() - began, max(0.0, _megabytes("VmHWM") - before)


def _forget_peak() -> None:
    """Let VmHWM begin anew with what is held now (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _megabytes(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1000


if __name__ == "__main__":
    for size in map(int, sys.argv[1:] or [str(ROWS)]):
        print(size, in_a_process(size))
