"""What the bench says of a pod's memory: every process and every peak of it, beside its limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench import service_memory, worker_memory
from bench.chart_memory import VALUES, QuantityUnknown, mebibytes, pod_memory
from bench.memory_rows import KINDS, WORKER, names_of, rows, table
from bench.pods import MIB, Pod, PodWatch, watched

BLOCK = 64 * MIB
# A page that is never written is not resident. Each line that it reads is one step.
STEPS = f"""
print("small", flush=True); input()
held = b"x" * {BLOCK}
print("large", flush=True); input()
del held
print("small", flush=True); input()
"""


class Process:
    """A process of its own that is small, then large, then small again: a step at a time."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        assert popen.stdin is not None
        assert popen.stdout is not None
        self._input, self._output = popen.stdin, popen.stdout
        self.pid = popen.pid
        assert self._output.readline() == "small\n"

    def step(self) -> str:
        """Let it go on; return what it is then."""
        self._input.write("\n")
        self._input.flush()
        return self._output.readline().strip()


@pytest.fixture
def process() -> Iterator[Process]:
    command = (sys.executable, "-S", "-c", STEPS)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


def peaks(most: dict[str, int]) -> dict[Pod, int]:
    """Return peaks of two members' pods: so many MiB, and one MiB less."""
    return {
        Pod(member, kind, 1): (number - less) * MIB
        for kind, number in most.items()
        for member, less in (("hospital-a", 0), ("hospital-b", 1))
    }


def test_a_peak_between_two_samples_is_seen(process: Process) -> None:
    pod = Pod("hospital-a", "storage", process.pid)
    watch = PodWatch([pod])
    watch.sample()
    before = watch.peaks[pod]
    assert (process.step(), process.step()) == ("large", "small")
    watch.sample()
    assert watch.peaks[pod] > before + BLOCK - MIB  # the kernel counts pages some dozens at a time


def test_a_peak_from_before_the_watch_is_forgotten(process: Process) -> None:
    pod = Pod("hospital-a", "storage", process.pid)
    process.step()
    with watched([pod]) as first:
        pass
    process.step()
    with watched([pod]) as second:
        pass
    assert first.peaks[pod] > BLOCK > second.peaks[pod] > 0


def test_what_a_process_has_started_is_of_its_pod(process: Process) -> None:
    process.step()
    own, alone = Pod("hospital-a", "ledger", os.getpid()), Pod("hospital-a", "node", process.pid)
    with watched([own, alone]) as watch:
        pass
    assert watch.peaks[alone] > BLOCK
    assert watch.peaks[own] > watch.peaks[alone] + 10 * MIB  # of an interpreter with all its tests


def test_a_pod_that_has_ended_held_nothing() -> None:
    with subprocess.Popen((sys.executable, "-S", "-c", "")) as gone:
        gone.wait(timeout=10)
    pod = Pod("hospital-a", "identity", gone.pid)
    with watched([pod]) as watch:
        pass
    assert watch.peaks[pod] == 0


def test_a_row_is_of_the_greatest_member_under_the_heaviest_load() -> None:
    rest = peaks(dict.fromkeys(KINDS, 80))
    few, many = dict.fromkeys(KINDS, 90), dict.fromkeys(KINDS, 85)
    found = rows(rest, {"records": peaks(few), "acts": peaks({**many, "contract": 300})})
    assert tuple(row.name for row in found) == names_of(*KINDS)
    by_name = {row.name: row.document() for row in found}
    contract = by_name["service-memory: contract, under load"]
    assert (contract["value"], contract["spread"]["low"]) == (300, 299)
    assert contract["spread"]["of"] == "min..max of 2 pods, most under acts"
    assert contract["target"] == f"≤ {pod_memory('contract').limit} MiB"
    assert by_name["service-memory: storage, under load"]["value"] == 90
    assert by_name["service-memory: storage, at rest"]["value"] == 80


def test_every_kind_of_pod_is_measured_once() -> None:
    measured = [*service_memory.NAMES, *worker_memory.NAMES]
    assert sorted(measured) == sorted(names_of(*KINDS))
    alone = rows(peaks({WORKER: 90}), {"jobs": peaks({WORKER: 300})})
    assert tuple(row.name for row in alone) == worker_memory.NAMES


def test_a_pod_above_the_charts_limit_is_told() -> None:
    rest = peaks(dict.fromkeys(KINDS, 80))
    over = dict.fromkeys(KINDS, 80) | {"identity": pod_memory("identity").limit + 1}
    missed = [row.name for row in rows(rest, {"people": peaks(over)}) if not row.document()["met"]]
    assert missed == ["service-memory: identity, under load"]


def test_the_page_shows_what_was_measured_beside_what_the_chart_gives() -> None:
    rest, load = peaks(dict.fromkeys(KINDS, 80)), peaks(dict.fromkeys(KINDS, 150))
    document = {"results": [row.document() for row in rows(rest, {"acts": load})]}
    shown = table(document).splitlines()
    given = pod_memory("ledger")
    assert f"| ledger | 80 Mi | 150 Mi | {given.request} Mi | {given.limit} Mi |" in shown
    assert "| of it, the node | 80 Mi | 150 Mi |  |  |" in shown
    assert len(shown) == 2 + len(KINDS)


@pytest.mark.parametrize("quantity", ["512", "1G", "1.5Gi", "Gi", ""])
def test_a_quantity_in_another_unit_is_refused(quantity: str) -> None:
    with pytest.raises(QuantityUnknown):
        mebibytes(quantity)


def test_quantities_are_read_as_kubernetes_reads_them() -> None:
    assert (mebibytes("160Mi"), mebibytes("3Gi")) == (160, 3_072)
    assert VALUES.is_file()
