"""Freed memory stays with the process, within a bound."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cipherward_kit.memory import KEPT_BYTES_MAX, PAUSE_SECONDS, Leftovers

MESSAGES = 20
# Touches and frees 1 MiB again and again, and prints the pages that the kernel had to bring.
SCRIPT = f"""
import resource
from cipherward_kit.memory import keep_freed_memory
kept = {{kept}} and keep_freed_memory()
bytearray(1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({MESSAGES}):
    held = [bytearray(1 << 20) for _ in range(4)]
    del held
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kept: bool) -> tuple[bool, int]:
    """Return whether the bounds were set, and the page faults of the script."""
    script = SCRIPT.format(kept=kept)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    said, count = done.stdout.split()
    return said == "True", int(count)


@pytest.mark.slow
def test_memory_that_is_freed_serves_the_next_message() -> None:
    known, kept = faults(kept=True)
    if not known:
        pytest.skip("this C library has no such bounds")
    assert 10 * kept < faults(kept=False)[1]


JOB = """
import sys
from cipherward_kit.memory import keep_freed_memory
from cipherward_kit.worker import run_job

def private_bytes():
    with open("/proc/self/smaps_rollup") as file:
        found = [line.split()[1] for line in file if line.startswith("Private_Dirty:")]
    return 1024 * int(found[0])

def work():
    pieces = [bytearray(64 * 1024) for _ in range(1024)]
    held.append(pieces[-1])  # at the end of the heap: what lies before it is no longer trimmed

held = []
known = keep_freed_memory()
before = private_bytes()
run_job(work) if {given_back} else work()
print(known, private_bytes() - before)
"""


def left(*, given_back: bool) -> tuple[bool, int]:
    """Return whether the C library is glibc, and the bytes that a job of 64 MiB has left."""
    script = JOB.format(given_back=given_back)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    said, count = done.stdout.split()
    return said == "True", int(count)


@pytest.mark.slow
def test_what_a_job_leaves_goes_back_to_the_machine() -> None:
    known, after = left(given_back=True)
    if not known:
        pytest.skip("this C library does not give it back")
    _, without = left(given_back=False)
    assert after < 16 * 1024 * 1024 < 48 * 1024 * 1024 < without


def test_many_jobs_in_a_row_give_memory_back_now_and_then() -> None:
    seconds = [100.0]
    leftovers = Leftovers(lambda: seconds[0])
    bytearray(8 * 1024 * 1024)  # something to give back, unless this C library never does
    leftovers.give_back()
    for _ in range(3):
        seconds[0] += PAUSE_SECONDS / 4
        assert not leftovers.give_back()


def test_what_is_kept_is_little_beside_a_service() -> None:
    assert KEPT_BYTES_MAX <= 64 * 1024 * 1024
