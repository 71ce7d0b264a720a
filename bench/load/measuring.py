"""One load on one target, measured: rate, latency, and what it cost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.load import cost
from bench.load.loader import Closed, Open, Run, run
from bench.load.target import Target

MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load came to; an act of the peer is a transaction.

    rate: acts a second. offered: acts a second that were to be sent, None in a closed loop.
    backlog: acts that were not committed when the last was sent. p50, p99: seconds.
    processor: microseconds an act, by kind of process, of all members together.
    foreign: part of the machine's processor time that was none of these processes'.
    disk: bytes an act, of one member. memory: most megabytes that a process held.
    load: tasks that wanted a core, on average over the last minute.
    """

    acts: int
    rate: float
    offered: float | None
    backlog: int
    p50: float
    p99: float
    blocks: int
    processor: Mapping[str, float]
    foreign: float
    disk: Mapping[str, float]
    memory: Mapping[str, float]
    load: float

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


async def measure(
    target: Target, load: Mapping[str, Sequence[bytes]], acts: int, how: Open | Closed
) -> Measured:
    """Put a load on a target.

    Args:
        load: signed transactions by member; acts: in each.

    Raises:
        Refused, TimeoutError: as `run`.
    """
    counted = target.cost()
    before = await asyncio.to_thread(cost.read, counted)
    found = await run(target, load, how)
    after = await asyncio.to_thread(cost.read, counted)
    total = found.transactions * acts
    spent = {k: seconds - before.processor[k] for k, seconds in after.processor.items()}
    machine = (after.at - before.at) * len(os.sched_getaffinity(0))
    written = {kind: size - before.disk[kind] for kind, size in after.disk.items()}
    return Measured(
        acts=total,
        rate=total / found.seconds,
        offered=how.rate * acts if isinstance(how, Open) else None,
        backlog=found.backlog * acts,
        p50=quantile(found, 0.5),
        p99=quantile(found, 0.99),
        blocks=found.blocks,
        processor={kind: MICRO * seconds / total for kind, seconds in spent.items()},
        foreign=(after.machine - before.machine - sum(spent.values())) / machine,
        disk={kind: size / total / len(target.members) for kind, size in written.items()},
        memory=cost.peak_megabytes(counted),
        load=os.getloadavg()[0],
    )


def quantile(found: Run, part: float) -> float:
    """Return the latency below which that part of the transactions is."""
    return found.latencies[min(len(found.latencies) - 1, int(part * len(found.latencies)))]
