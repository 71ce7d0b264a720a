"""Ten thousand random histories on two independent executors: the service, and a plain reference.

Two processes play half of them each, from seeds that are printed: whoever wants other histories
changes SEEDS.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

SEEDS = (20_261_123, 20_261_124)  # one a process
HISTORIES = 10_000
ROOT = Path(__file__).parents[2]
# Half an hour on two idle cores; several times that where others use them.
SOAK_SECONDS = 4 * 3_600
TOLD_BYTES_MAX = 10_000  # of a process that found a difference: the shortest history and both sides

# Every way in which the contracts of a history end. A sweep that leaves one out has shown less.
ENDS = {
    *("consent expired", "consent revoked"),
    *(
        "emergency-access reviewed",
        "emergency-access reviewed_late",
        "emergency-access handed_over",
    ),
    *("erasure erased", "erasure unfinished"),
    *("data-permit expired", "data-permit lapsed", "data-permit rejected"),
    *("data-permit revoked", "data-permit surrendered"),
    *("study ended", "study failed", "study rejected", "study released", "study withdrawn"),
    *("suspension lapsed", "suspension reinstated", "suspension rejected"),
    *("removal lapsed", "removal rejected", "removal removed"),
    *("template-adoption adopted", "template-adoption lapsed", "template-adoption rejected"),
}


async def play(seed: int, count: int) -> dict[str, Counter[str]]:
    """Play histories in a process of their own; return what they came to."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.reference", str(seed), str(count)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 24,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    told = output.decode(errors="replace")
    assert process.returncode == 0, f"seed {seed}:\n{told[-TOLD_BYTES_MAX:]}"
    found: dict[str, int | dict[str, int]] = json.loads(told.splitlines()[-1])
    counters = {name: Counter(value) for name, value in found.items() if isinstance(value, dict)}
    counters["figures"] = Counter({k: v for k, v in found.items() if isinstance(v, int)})
    return counters


async def test_ten_thousand_histories_end_the_same_on_both_executors() -> None:
    started = time.monotonic()
    async with asyncio.timeout(SOAK_SECONDS), asyncio.TaskGroup() as group:
        tasks = [group.create_task(play(seed, HISTORIES // len(SEEDS))) for seed in SEEDS]
    parts = [task.result() for task in tasks]
    total = {name: sum((part[name] for part in parts), Counter[str]()) for name in parts[0]}
    print(f"\nseeds {SEEDS}, {time.monotonic() - started:.0f} s")
    for name in ("figures", "reasons", "applied", "ends", "mishaps"):
        print(f"{name}: {dict(total[name].most_common())}")
    assert total["figures"]["histories"] >= HISTORIES
    assert not ENDS - total["ends"].keys()
