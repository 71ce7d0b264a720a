"""The load tool: what it sends, from when it counts, and how it finds saturation."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from itertools import count

import pytest

from bench.load.acts import ACT_BYTES, Author, signed_transactions
from bench.load.kvstore import key_values
from bench.load.loader import Closed, Open, run
from bench.load.measuring import Measured
from bench.load.saturation import find_saturation
from bench.load.target import SUBSCRIBED, Block, Cost, Refused
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_chain.transactions import check_authorization, parse_transaction
from tests.servers.need import need

CHAIN, MEMBER = "load-1", "hospital-a"


class Memory:
    """A chain in memory: one member, a block for each call, after a stall if it has one."""

    def __init__(self, stall_seconds: float = 0.0, refuses: bool = False) -> None:
        self.members = (MEMBER,)
        self.calls: list[int] = []
        self.most = 0
        self._stall = stall_seconds
        self._refuses = refuses
        self._open = 0
        self._blocks: asyncio.Queue[Sequence[bytes]] = asyncio.Queue()

    async def submit(self, member: str, batch: Sequence[bytes]) -> None:
        if self._refuses:
            raise Refused("never")
        self.calls.append(len(batch))
        self._open += len(batch)
        self.most = max(self.most, self._open)
        stall, self._stall = self._stall, 0.0
        await asyncio.sleep(stall)
        self._open -= len(batch)
        await self._blocks.put(batch)

    async def blocks(self, member: str) -> AsyncGenerator[Block, None]:
        yield SUBSCRIBED
        for height in count(1):
            transactions = await self._blocks.get()
            yield Block(height, len(transactions), transactions)

    async def transactions(self, member: str, height: int) -> Sequence[bytes]:
        raise LookupError(height)

    def cost(self) -> Cost:
        return Cost({}, {})


def loaded(number: int) -> dict[str, list[bytes]]:
    return {MEMBER: [at.to_bytes(4, "big") for at in range(number)]}


@pytest.mark.parametrize("acts", [1, 7, 50])
def test_an_act_has_500_bytes_and_its_transaction_is_valid(acts: int) -> None:
    genesis, _ = make_genesis(1)
    author = Author(genesis.chain_id, MEMBER, MemberSigner(MEMBER, seed_of(MEMBER)))
    first, second = signed_transactions(author, 2, acts)
    assert first != second
    assert abs(len(first) / acts - ACT_BYTES) < 5
    parsed = parse_transaction(first)
    assert len(parsed.body.acts) == acts
    assert check_authorization(parsed, genesis.chain_id) is None


def test_the_peers_transactions_are_as_long_and_set_a_key_each() -> None:
    made = key_values(20)
    assert {len(one) for one in made} == {ACT_BYTES}
    assert all(one.count(b"=") == 1 for one in made)
    assert len({one.partition(b"=")[0] for one in made}) == 20


async def test_a_closed_loop_commits_everything_and_never_has_more_in_flight() -> None:
    target = Memory()
    found = await run(target, loaded(100), Closed(in_flight=10, batch=5))
    assert found.transactions == len(found.latencies) == 100
    assert target.calls == [5] * 20
    # Every sender may see the same free place: a batch of each at most is beyond the bound.
    assert target.most <= 10 + 4 * 5


@pytest.mark.slow
async def test_a_stall_is_charged_to_what_waited_and_holds_nothing_else_back() -> None:
    found = await run(Memory(0.5), loaded(40), Open(rate=200, poisson=False))
    assert found.latencies[-1] >= 0.5  # the first call's
    assert found.latencies[20] < 0.5
    assert found.transactions == len(found.latencies) == 40


async def test_an_open_loop_counts_from_the_moment_a_transaction_was_due() -> None:
    # At this rate all are due long before the loop comes to send them.
    found = await run(Memory(), loaded(500), Open(rate=1e9, poisson=False))
    assert found.latencies[-1] >= found.latencies[0] > 0
    assert max(found.latencies) <= found.seconds


async def test_a_refusal_ends_the_load() -> None:
    with pytest.raises(ExceptionGroup) as refusals:
        await run(Memory(refuses=True), loaded(3), Closed(1))
    assert refusals.group_contains(Refused)


async def test_saturation_is_found_between_the_last_good_and_the_first_bad_rate() -> None:
    tried: list[float] = []

    async def load(rate: float) -> Measured:
        tried.append(rate)
        p50 = 0.1 if rate <= 900 else 1.0
        return Measured(1, rate, rate, 0, p50, p50, 1, {}, 0.0, {}, {}, 0.0)

    found = await find_saturation(load, 50.0)
    assert found.rate <= 900 <= found.rate * 1.1
    assert tried[:6] == [50, 100, 200, 400, 800, 1600]
    assert found.low.offered == 50


async def test_a_growing_backlog_is_saturation_though_latency_holds() -> None:
    async def load(rate: float) -> Measured:
        backlog = 0 if rate <= 100 else int(2 * rate)
        return Measured(1, rate, rate, backlog, 0.1, 0.1, 1, {}, 0.0, {}, {}, 0.0)

    assert (await find_saturation(load, 50.0)).rate <= 110


@pytest.mark.servers
@pytest.mark.parametrize("more", [["--acts", "5"], ["--peer"], ["--rate", "40", "--seconds", "2"]])
async def test_the_tool_measures_a_real_chain(more: list[str]) -> None:
    need("cometbft")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.load", "--json", "--members", "1", "--count", "200", *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    (found,) = json.loads(output)
    assert found["acts"] == (80 if "--rate" in more else 200)
    assert found["rate"] > 0
    assert 0 < found["p50"] <= found["p99"]
    assert found["processor"]["node"] > 0
    assert found["memory"]["node"] > 10
