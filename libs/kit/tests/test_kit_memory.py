"""Freed memory stays with the process, within a bound."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cipherward_kit.memory import KEPT_BYTES_MAX

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


def test_what_is_kept_is_little_beside_a_service() -> None:
    assert KEPT_BYTES_MAX <= 64 * 1024 * 1024
