"""The fault matrix: what stops, what goes on and how long it takes, one fault after another.

Four hospitals on CometBFT, Kafka and MongoDB under a constant load. After each fault everything
that any ledger has acknowledged is held against all four chains (see `Oracle.settled`).
"""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from cipherward_client.sdk.credentials import admit_holder
from tests.soak.conftest import SEED
from tests.soak.dev_alliance import until
from tests.soak.fault_checks import (
    POLL_SECONDS,
    RECORD_BYTES,
    proven,
    record_passes,
    refuses,
    stands_still,
    until_identity_says,
)
from tests.soak.fault_oracle import Oracle
from tests.soak.fault_report import cell
from tests.soak.fault_scene import (
    BALLAST,
    FRESH_SECONDS,
    HEARTBEAT_SECONDS,
    RECOVERY_SECONDS,
    freeze,
)
from tests.soak.fault_stores import fill, killed_with, last_words, moment_of, rewrite, second

pytestmark = [
    pytest.mark.soak,
    pytest.mark.servers,
    pytest.mark.asyncio(loop_scope="module"),
    # aiokafka leaves its socket when the probe of a broker that starts is cancelled.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

A, B, C, D = (f"hospital-{letter}" for letter in "abcd")
HEAVY_ACTS = 250  # one batch: contract executes it for some hundred milliseconds
CONTRACT_KILLS = 12  # under heavy blocks, at random offsets
KILLS_MAX = 30  # until every moment was hit
INSTANT_SECONDS = 0.6
STALE = "CHAIN_STALE"


async def test_kill_contract_while_idle(oracle: Oracle) -> None:
    async with cell(oracle, "kill -9 of contract, idle") as found:
        oracle.paused.set()
        found.seconds["ready again"] = await oracle.scene.kill(f"{B}/contract")
        found.seconds["commits again"] = await oracle.committed(B)
        found.what = "its node waits, the other three go on"


async def test_kill_contract_around_its_commit(oracle: Oracle) -> None:
    """Under heavy blocks, at seeded instants; what the store then holds says which it was."""
    choose = random.Random(SEED)  # noqa: S311 - instants, so that a failure repeats
    async with cell(oracle, "kill -9 of contract, executing") as found:
        moments = {"before its commit": 0, "after its commit": 0}
        slowest = 0.0
        for number in range(KILLS_MAX):
            if number >= CONTRACT_KILLS and all(moments.values()):
                break
            await oracle.submit(A, HEAVY_ACTS)
            await asyncio.sleep(choose.uniform(0, INSTANT_SECONDS))  # the instant is the test
            process = oracle.scene.process(f"{B}/contract")
            freeze(process)
            moment = await moment_of(oracle.scene, B)
            moments[moment] += 1
            slowest = max(slowest, await oracle.scene.kill(f"{B}/contract"))
            await oracle.committed(B)
        found.counts = moments
        found.seconds["ready again at most"] = slowest
        found.what = "the block is executed again from its parent, or found committed"
        assert all(moments.values()), moments


@pytest.mark.parametrize("member", [A, C])
async def test_kill_a_consensus_node(oracle: Oracle, member: str) -> None:
    async with cell(oracle, f"kill -9 of the node ({member})") as found:
        found.seconds["ready again"] = await oracle.scene.kill_node(member)
        found.seconds["commits again"] = await oracle.committed(member)
        found.what = "the ledger starts it again and hands it what its mempool had"


async def test_kill_a_ledger(oracle: Oracle) -> None:
    async with cell(oracle, "kill -9 of the ledger") as found:
        found.seconds["ready again"] = await oracle.scene.kill(f"{C}/ledger")
        found.seconds["commits again"] = await oracle.committed(C)
        found.what = "its node ends with it; both are started again"


@pytest.mark.parametrize("service", ["identity", "storage", "compute"])
async def test_kill_a_consumer(oracle: Oracle, service: str) -> None:
    async with cell(oracle, f"kill -9 of {service}") as found:
        found.seconds["ready again"] = await oracle.scene.kill(f"{B}/{service}")
        began = time.monotonic()
        await record_passes(oracle, B)
        found.seconds["a record stored and opened"] = time.monotonic() - began
        found.what = "only its own service is away; it goes on at its own height"


async def test_kill_kafka(oracle: Oracle) -> None:
    async with cell(oracle, "kill -9 of Kafka") as found:
        code = await admit_holder(oracle.hospitals[A])
        began = time.monotonic()
        await asyncio.to_thread(oracle.scene.kafka.kill)
        found.seconds["chain commits"] = await oracle.committed(A)
        await until_identity_says(oracle, A, code, STALE)
        found.seconds["services say CHAIN_STALE"] = time.monotonic() - began
        found.seconds["chain commits still"] = await oracle.committed(B)
        back = time.monotonic()
        await oracle.scene.start_server(oracle.scene.kafka)
        found.seconds["Kafka up"] = time.monotonic() - back
        back = time.monotonic()
        for member in oracle.scene.members:
            await record_passes(oracle, member)
        found.seconds["records at all four"] = time.monotonic() - back
        found.what = "consensus goes on; services lag, refuse what is sensitive, catch up"


async def test_kill_mongo(oracle: Oracle) -> None:
    async with cell(oracle, "kill -9 of MongoDB") as found:
        putting = asyncio.create_task(record_passes(oracle, A))
        await asyncio.to_thread(oracle.scene.mongo.kill)
        found.seconds["chain commits"] = await oracle.committed(A)
        back = time.monotonic()
        await oracle.scene.start_server(oracle.scene.mongo)
        found.seconds["MongoDB up"] = time.monotonic() - back
        await putting
        found.seconds["record under way stored"] = time.monotonic() - back
        for member in oracle.scene.members:
            await record_passes(oracle, member)
        found.seconds["records at all four"] = time.monotonic() - back
        found.what = "consensus goes on; an upload under way waits, and is stored"


async def test_one_member_down(oracle: Oracle) -> None:
    async with cell(oracle, "1 of 4 members down") as found:
        before = oracle.height
        await oracle.scene.take_down(D)
        found.seconds["others commit"] = await oracle.committed(A)
        await until(lambda: oracle.height > before + 20, RECOVERY_SECONDS, "the chain stands still")
        back = time.monotonic()
        await oracle.scene.bring_up(D)
        found.seconds["back and ready"] = time.monotonic() - back
        found.seconds["commits again"] = await oracle.committed(D)
        found.what = "the chain goes on; back, it catches up"


async def test_two_members_down(oracle: Oracle) -> None:
    async with cell(oracle, "2 of 4 members down") as found:
        await oracle.scene.take_down(C, D)
        pending = await stands_still(oracle, A, B)
        back = time.monotonic()
        await oracle.scene.bring_up(C)
        for name in pending:
            await proven(oracle, A, name)
        found.seconds["pending acts commit, with 3 up"] = time.monotonic() - back
        await oracle.scene.bring_up(D)
        found.seconds["fourth ready"] = time.monotonic() - back
        found.counts["acts pending"] = len(pending)
        found.what = "halts without a fork; goes on when one is back"


async def test_a_flipped_byte_in_a_contract_store(oracle: Oracle) -> None:
    scene = oracle.scene
    async with cell(oracle, "flipped byte in contract's store") as found:
        began = time.monotonic()
        original = await killed_with(scene, D, lie=False)
        await until(lambda: f"{D}/contract" in scene.lost, RECOVERY_SECONDS, "it went on")
        found.seconds["stopped"] = time.monotonic() - began
        found.what = f"stops alone: “{scene.without_place(scene.lost[f'{D}/contract'])}”"
        found.seconds["others commit"] = await oracle.committed(A)
        await asyncio.to_thread(rewrite, scene, D, original)
        back = time.monotonic()
        await scene.start([f"{D}/contract"])
        found.seconds["repaired and committing"] = (
            await oracle.committed(D) + time.monotonic() - back
        )


async def test_a_consistent_lie_in_a_contract_store(oracle: Oracle) -> None:
    """The state and its hash are changed together: only the chain itself can say it is wrong."""
    scene = oracle.scene
    async with cell(oracle, "another state with its own app hash") as found:
        began = time.monotonic()
        original = await killed_with(scene, D, lie=True)
        await until(lambda: f"{D}/ledger" in scene.lost, RECOVERY_SECONDS, "it went on")
        found.seconds["stopped"] = time.monotonic() - began
        found.what = f"stops alone: “{scene.without_place(scene.lost[f'{D}/ledger'])}”"
        found.seconds["others commit"] = await oracle.committed(A)
        freeze(scene.process(f"{D}/contract"))
        await asyncio.to_thread(rewrite, scene, D, original)
        await scene.kill(f"{D}/contract")
        back = time.monotonic()
        await scene.start([f"{D}/ledger"])
        found.seconds["repaired and committing"] = (
            await oracle.committed(D) + time.monotonic() - back
        )


async def test_partition_in_halves(oracle: Oracle) -> None:
    async with cell(oracle, "partition 2-2") as found:
        oracle.scene.links.part((A, B), (C, D))
        pending = await stands_still(oracle, A, C)
        healed = time.monotonic()
        oracle.scene.links.heal()
        for name in pending:
            await proven(oracle, A, name)
            await proven(oracle, C, name)
        found.seconds["healed to all pending acts"] = time.monotonic() - healed
        found.counts["acts pending"] = len(pending)
        found.what = "neither half goes on; healed, what waited on both sides commits"


async def test_a_member_cut_off_serves_nothing_sensitive(oracle: Oracle) -> None:
    async with cell(oracle, "partition 3-1") as found:
        kept = await oracle.put(D, RECORD_BYTES)
        code = await admit_holder(oracle.hospitals[D])
        cut = time.monotonic()
        oracle.scene.links.part((A, B, C), (D,))
        found.seconds["others commit"] = await oracle.committed(A)
        await until_identity_says(oracle, D, code, STALE)
        found.seconds["CHAIN_STALE"] = time.monotonic() - cut
        assert found.seconds["CHAIN_STALE"] < FRESH_SECONDS + 2 * HEARTBEAT_SECONDS
        found.seconds["others commit still"] = await oracle.committed(B)
        healed = time.monotonic()
        oracle.scene.links.heal()
        await until_identity_says(oracle, D, code, "")
        found.seconds["healed to serving"] = time.monotonic() - healed
        assert await oracle.reopened(kept)
        found.seconds["commits again"] = await oracle.committed(D)
        found.what = "three go on; the fourth refuses after three heartbeats, and comes back"


async def test_a_full_disk(oracle: Oracle) -> None:
    scene = oracle.scene
    data = scene.folder.member(D).data("")
    if not data.is_mount():
        pytest.skip("only root can give one member a small disk")
    async with cell(oracle, "full disk of one member") as found:
        ballast = data / BALLAST
        began = time.monotonic()
        await asyncio.to_thread(fill, ballast)
        found.seconds["others commit"] = await oracle.committed(A)
        async with asyncio.timeout(RECOVERY_SECONDS):
            while not await refuses(oracle, D):
                await asyncio.to_thread(fill, ballast)
                await asyncio.sleep(POLL_SECONDS)
        found.seconds["its ledger refuses"] = time.monotonic() - began
        await until(lambda: scene.lost, RECOVERY_SECONDS, "it did not stop")
        words = last_words(scene, D)
        found.seconds["others commit still"] = await oracle.committed(B)
        ballast.unlink()
        back = time.monotonic()
        await scene.start(sorted(scene.lost))
        await scene.ready(*[f"{D}/{service}" for service in ("contract", "ledger", "storage")])
        found.seconds["with room, committing"] = await oracle.committed(D) + time.monotonic() - back
        found.what = f"stops, the others go on; comes back when there is room: “{words}”"


@pytest.mark.parametrize("service", ["ledger", "contract"])
async def test_a_second_process_on_one_data_folder_refuses(oracle: Oracle, service: str) -> None:
    async with cell(oracle, f"second {service} on one data folder") as found:
        began = time.monotonic()
        done = await asyncio.to_thread(second, oracle.scene, A, service)
        found.seconds["refused"] = time.monotonic() - began
        words = done.stderr.strip().splitlines()[-1]
        found.what = f"exit {done.returncode}: “{oracle.scene.without_place(words)}”"
        assert done.returncode == 4, done.stderr
        found.seconds["the first commits"] = await oracle.committed(A)


async def test_every_record_of_the_whole_run_opens(oracle: Oracle) -> None:
    async with cell(oracle, "after all faults") as found:
        began = time.monotonic()
        for kept in oracle.records:
            assert await oracle.reopened(kept)
        found.seconds["every record opened"] = time.monotonic() - began
        found.counts["records"] = len(oracle.records)
        found.counts["acts acknowledged in all"] = len(oracle.acknowledged)
        found.what = "one app hash; every acknowledged act once"
