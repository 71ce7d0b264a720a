"""A record key made by four members' services: from the proposal to the key in force.

An alliance with all its processes, solo engine. The clock starts when the first transaction, the
proposal, is about to be signed, and stops when this process has verified the proof of the key: the
votes, every phase of the ceremony and its last message lie between. Phases end as soon as all have
spoken, so the window only has to be long enough. Every run makes the key of another epoch.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from bench.results import Row, Spread, Target
from bench.stage import whole_alliance
from cipherward_chain.group_keys import RECORD
from cipherward_client.alliance.shared_keys import WINDOW_BLOCKS
from cipherward_client.sdk.ceremonies import make_group_key

NAME = "key-generation"
RUNS = 5
TARGET = Target(10.0, at_least=False)


def measure() -> list[Row]:
    """Return the row."""
    found = asyncio.run(_measure(RUNS))
    return [Row(NAME, statistics.median(found), "s", Spread.extremes(found), TARGET)]


async def _measure(runs: int) -> list[float]:
    found: list[float] = []
    async with whole_alliance() as stage:
        hospitals = list(stage.hospitals.values())
        for _ in range(runs):
            started = time.perf_counter()
            entry = await make_group_key(hospitals, RECORD, window=WINDOW_BLOCKS)
            found.append(time.perf_counter() - started)
            if len(entry.guardians) != len(hospitals):
                raise AssertionError("a member has no share")
    return found
