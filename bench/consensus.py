"""Real consensus with contract executing, beside CometBFT's own key-value store in Go.

Acts of 500 bytes, signed by the hospitals, go to every member's ledger over mTLS; an act counts
when the ledger that took it shows it in a proven block. The peer's nodes have the same
configuration and get transactions of 500 bytes over their RPC. Ours and the peer's turns alternate,
each in a chain of its own, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench.load.kvstore import KvStore, running_kvstore
from bench.load.ledgers import Ledgers, running_ledgers
from bench.load.measuring import Measured
from bench.load.putting import closed_load, open_load
from bench.results import Row, Spread, Target
from cipherward_ledger.comet.node_config import Profile

ONE = ("comet-1",)
ONE_BATCHED = ("comet-1-batched",)
FOUR = ("comet-4", "comet-4-throughput", "ledger-memory", "node-memory")
FOUR_SINGLE = ("comet-4-single",)
LATENCY = ("comet-4-latency", "comet-4-latency-p99")
TURNS = 3
ACTS = 50  # of a batched transaction
IN_FLIGHT = 4_000  # acts: about a second of them
IN_FLIGHT_BATCHED = 8_000  # two blocks of them, so that the next is there when one is decided
WARM = 2_000  # acts before each measurement
CALM_RATE, CALM_SECONDS = 50.0, 30.0  # acts a second: a quiet alliance
MEMORY = Target(150.0, at_least=False)


@dataclass(frozen=True, slots=True)
class Shape:
    """A row's load: how many members, acts a transaction and acts in all."""

    members: int
    acts: int
    count: int
    peer_count: int
    profile: Profile = "latency"
    everything: bool = False


def measure_one() -> list[Row]:
    """Return the row of one validator, an act a transaction."""
    ours, peer = _turns(Shape(1, 1, 20_000, 60_000))
    return [_rate(ONE[0], ours, peer, Target(0.2, at_least=True, of_ratio=True))]


def measure_one_batched() -> list[Row]:
    """Return the row of one validator, 50 acts a transaction."""
    ours, peer = _turns(Shape(1, ACTS, 60_000, 60_000))
    return [_rate(ONE_BATCHED[0], ours, peer, Target(0.3, at_least=True, of_ratio=True))]


def measure_four() -> list[Row]:
    """Return the rows of four members with all their services, 50 acts a transaction."""
    ships, peer = _turns(Shape(4, ACTS, 30_000, 20_000, everything=True))
    tuned, peer_tuned = _turns(Shape(4, ACTS, 30_000, 20_000, "throughput", everything=True))
    ledger = [one.memory["ledger"] for one in (*ships, *tuned)]
    node = [one.memory["node"] for one in (*ships, *tuned)]
    return [
        _rate(FOUR[0], ships, peer, Target(1_000, at_least=True)),
        _rate(FOUR[1], tuned, peer_tuned, Target(1_300, at_least=True)),
        Row(FOUR[2], statistics.median(ledger), "MB", Spread.extremes(ledger), MEMORY),
        Row(FOUR[3], statistics.median(node), "MB", Spread.extremes(node), MEMORY),
    ]


def measure_four_single() -> list[Row]:
    """Return the row of four members with all their services, an act a transaction."""
    ours, peer = _turns(Shape(4, 1, 8_000, 20_000, everything=True))
    return [_rate(FOUR_SINGLE[0], ours, peer, Target(1_000, at_least=True))]


def measure_latency() -> list[Row]:
    """Return the rows of four members at 50 acts a second, as a Poisson process."""
    found = asyncio.run(_calm())
    p50, p99 = [one.p50 for one in found], [one.p99 for one in found]
    kind = f"runs of {CALM_RATE * CALM_SECONDS:.0f} acts"
    return [
        Row(
            LATENCY[0],
            statistics.median(p50),
            "s",
            Spread.extremes(p50, kind),
            Target(0.15, at_least=False),
        ),
        Row(
            LATENCY[1],
            statistics.median(p99),
            "s",
            Spread.extremes(p99, kind),
            Target(0.4, at_least=False),
        ),
    ]


def _turns(shape: Shape) -> tuple[list[Measured], list[Measured]]:
    return asyncio.run(_alternating(shape))


async def _alternating(shape: Shape) -> tuple[list[Measured], list[Measured]]:
    ours: list[Measured] = []
    peer: list[Measured] = []

    def alliance() -> AbstractAsyncContextManager[Ledgers | KvStore]:
        return running_ledgers(shape.members, profile=shape.profile, everything=shape.everything)

    def store() -> AbstractAsyncContextManager[Ledgers | KvStore]:
        return running_kvstore(shape.members, profile=shape.profile)

    in_flight = IN_FLIGHT if shape.acts == 1 else IN_FLIGHT_BATCHED
    for _ in range(TURNS):
        ours.append(await _turn(alliance, shape.acts, shape.count, in_flight))
        peer.append(await _turn(store, 1, shape.peer_count, in_flight))
    return ours, peer


async def _turn(
    opened: Callable[[], AbstractAsyncContextManager[Ledgers | KvStore]],
    acts: int,
    count: int,
    in_flight: int,
) -> Measured:
    async with opened() as target:
        await closed_load(target, acts, WARM, in_flight)
        return await closed_load(target, acts, count, in_flight)


async def _calm() -> list[Measured]:
    async with running_ledgers(4, everything=True) as target:
        await closed_load(target, 1, WARM, IN_FLIGHT)
        return [await open_load(target, 1, CALM_RATE, CALM_SECONDS) for _ in range(TURNS)]


def _rate(name: str, ours: Sequence[Measured], peer: Sequence[Measured], target: Target) -> Row:
    rates = [one.rate for one in ours]
    ratios = [a.rate / b.rate for a, b in zip(ours, peer, strict=True)]
    foreign = statistics.median(one.foreign for one in (*ours, *peer))
    kind = (
        f"turns; ratio {min(ratios):.2f}..{max(ratios):.2f}; "
        f"{foreign:.0%} of the cores were others'"
    ).replace("%", " %")
    return Row(
        name,
        statistics.median(rates),
        "acts/s",
        Spread.extremes(rates, kind),
        target,
        peer=f"Go kvstore, {statistics.median(one.rate for one in peer):,.0f}/s",
        ratio=statistics.median(ratios),
    )
