"""The memory of each service's pod, at rest and under the load that the bench has for it.

Four members with all their services under CometBFT on this machine. At rest: a minute after their
start, the members' shared keys made. Under load: all loads of `service_loads`, one after the other.
The target is the chart's limit. `python -m bench.service_memory` shows which load takes how much.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import psutil

from bench import machine
from bench.load.ledgers import NODE
from bench.memory_rows import KINDS, REST, WORKER, names_of, of_kind, rows
from bench.pods import Peaks, Pod, watched
from bench.results import Row
from bench.service_loads import LOADS
from bench.stage import Stage, whole_alliance
from cipherward_chain.acts import SUITE_CUSTODIAN_ONLY
from cipherward_chain.genesis import Parameters
from cipherward_client.alliance.parts import COMETBFT, Parts
from cipherward_client.alliance.running import new_plan
from tests.servers.cometbft import cometbft_binary

MEASURED = tuple(kind for kind in KINDS if kind != WORKER)
NAMES = names_of(*MEASURED)
SETTLING_SECONDS = 50.0  # what a start leaves is given back by then
REST_SECONDS = 10.0  # a heartbeat: every service has a block to follow


def measure() -> list[Row]:
    """Return the rows."""
    return rows(*asyncio.run(_measured()))


async def _measured() -> tuple[Peaks, dict[str, Peaks]]:
    """Return what every pod held at rest, and under each load."""
    parts = Parts(engine=COMETBFT, cometbft=str(cometbft_binary()))
    # The load's acts anchor records of the first suite.
    parameters = Parameters(minimum_suite=SUITE_CUSTODIAN_ONLY)
    async with whole_alliance(parts, replace(new_plan(parts), parameters=parameters)) as stage:
        await asyncio.sleep(SETTLING_SECONDS)
        pods = pods_of(stage)
        with watched(pods) as resting:
            await asyncio.sleep(REST_SECONDS)
        loads: dict[str, Peaks] = {}
        for name, load in LOADS.items():
            with watched(pods) as loaded:
                await load(stage)
            loads[name] = loaded.peaks
        if stage.supervisor.restarts:
            raise RuntimeError("a service was restarted: what it held is not known")
        return resting.peaks, loads


def pods_of(stage: Stage) -> list[Pod]:
    """Return the pods of an alliance under CometBFT; a node is in its ledger's, and by itself."""
    pods: list[Pod] = []
    for name, pid in stage.supervisor.pids.items():
        member, _, service = name.partition("/")
        pods.append(Pod(member, service, pid))
        pods.extend(
            Pod(member, NODE, child.pid)
            for child in psutil.Process(pid).children()
            if child.name() == cometbft_binary().name
        )
    return pods


def main() -> None:
    """Show the most of each kind under each load, in MiB."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core tells of each connection that ends
    rest, loads = asyncio.run(_measured())
    columns = {REST: rest, **loads}
    print(f"| load {machine.load():.1f} | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for kind in MEASURED:
        cells = [f"{max(of_kind(kind, peaks)):.0f}" for peaks in columns.values()]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
