"""Fifty kills at seeded instants, under load: services, consensus nodes, Kafka and MongoDB."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tests.soak.conftest import SEED
from tests.soak.fault_oracle import Oracle
from tests.soak.fault_report import cell
from tests.soak.fault_scene import SERVICES, Scene

pytestmark = [
    pytest.mark.soak,
    pytest.mark.servers,
    pytest.mark.asyncio(loop_scope="module"),
    # aiokafka leaves its socket when the probe of a broker that starts is cancelled.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KILLS = 50
SERVER_KILLS = 2  # of each of the two servers, which all members share here
INSTANT_SECONDS = 2.0  # a kill comes within so long after there was room for it
AWAY_AT_ONCE = 3  # so many are recovering while the next is killed: consensus may halt meanwhile
KAFKA, MONGO, NODE = "kafka", "mongo", "node"
# Every so many kills all chains and contracts are compared; at the end they are in any case.
COMPARED_EVERY = 10


def victims(scene: Scene, choose: random.Random) -> list[str]:
    """Return whom to kill, in order: every service and node twice or once, and the servers."""
    each = [f"{member}/{part}" for member in scene.members for part in (*SERVICES, NODE)]
    servers = [KAFKA, MONGO] * SERVER_KILLS
    some = choose.sample(each, KILLS - len(servers) - len(each))
    found = [*each, *some, *servers]
    choose.shuffle(found)
    return found


async def killed(scene: Scene, victim: str) -> float:
    """SIGKILL somebody; return the seconds until it is back."""
    if victim in (KAFKA, MONGO):
        server = scene.kafka if victim == KAFKA else scene.mongo
        began = time.monotonic()
        await asyncio.to_thread(server.kill)
        await scene.start_server(server)
        return time.monotonic() - began
    member, part = victim.split("/")
    return await (scene.kill_node(member) if part == NODE else scene.kill(victim))


async def test_fifty_random_kills_lose_nothing_and_apply_nothing_twice(oracle: Oracle) -> None:
    choose = random.Random(SEED)  # noqa: S311 - victims and instants, so that a failure repeats
    print(f"\nseed {SEED}")
    recoveries: list[float] = []
    places = asyncio.Semaphore(AWAY_AT_ONCE)

    async def recover(number: int, victim: str) -> None:
        try:
            seconds = await killed(oracle.scene, victim)
        finally:
            places.release()
        recoveries.append(seconds)
        print(
            f"kill {number:2} {victim:22} back in {seconds:5.1f} s; height {oracle.height}, "
            f"{len(oracle.acknowledged)} acts, {len(oracle.records)} records",
            flush=True,
        )

    async with cell(oracle, "50 random kills under load") as found:
        in_order = list(enumerate(victims(oracle.scene, choose), 1))
        for start in range(0, len(in_order), COMPARED_EVERY):
            async with asyncio.TaskGroup() as group:
                for number, victim in in_order[start : start + COMPARED_EVERY]:
                    await places.acquire()
                    await asyncio.sleep(choose.uniform(0, INSTANT_SECONDS))  # is the test
                    group.create_task(recover(number, victim))
            for member in oracle.scene.members:
                await oracle.committed(member)
            await oracle.settled()
        recoveries.sort()
        found.counts = {"kills": len(recoveries), "records": len(oracle.records)}
        found.counts["acts"] = len(oracle.acknowledged)
        found.seconds["back, median"] = recoveries[len(recoveries) // 2]
        found.seconds["back, slowest"] = recoveries[-1]
        found.what = f"up to {AWAY_AT_ONCE} away at once; one app hash, every acknowledged act once"
    assert len(recoveries) == KILLS
    for kept in oracle.records:
        assert await oracle.reopened(kept)
