"""How a node without blocks begins: by what other ledgers say, as far as it can be believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.root_file import RootFile
from cipherward_chain.testing import make_genesis
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_ledger.application import Committed
from cipherward_ledger.clock import NANOSECONDS, Clock
from cipherward_ledger.comet.node_files import NodeHome
from cipherward_ledger.comet.state_sync import AHEAD_BLOCKS, StateSync
from cipherward_ledger.testing_chain import Desk, open_desk

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")
FRESH_SECONDS = 30.0
EMPTY = Committed(0, b"", None, 1)


@dataclass
class OtherLedger:
    """Says where its chain stands, and answers headers of the chain that there is."""

    chain: QuorumChain
    height: int
    first_height: int = 1
    snapshot_height: int = 0
    member: str = "hospital-b"

    @property
    def headers(self) -> OtherLedger:
        return self

    async def light_block(self, height: int) -> LightBlock:
        if height > self.chain.height:
            raise LightBlockUnavailable("it has none")
        return await self.chain.light_block(height or min(self.height, self.chain.height))

    async def changes(self) -> Sequence[chain_pb.ValidatorChange]:
        return ()


class Others:
    def __init__(self, *ledgers: OtherLedger) -> None:
        self.all = ledgers

    async def statuses(self) -> list[tuple[OtherLedger, pb.GetStatusResponse]]:
        return [
            (
                one,
                pb.GetStatusResponse(
                    height=one.height,
                    first_height=one.first_height,
                    snapshot_height=one.snapshot_height,
                ),
            )
            for one in self.all
        ]


@pytest.fixture(scope="module")
def chain() -> QuorumChain:
    made = QuorumChain(GENESIS, seeds_by_key(KEYS.validator_seeds))
    made.grow(AHEAD_BLOCKS + 20)
    return made


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, GENESIS) as one:
        yield one


def sync(desk: Desk, home: Path, chain: QuorumChain, *ledgers: OtherLedger, age: float) -> Any:
    """Return the state sync of a member whose clock is `age` seconds after the newest header."""
    newest_ns = LightBlock.parse(chain.light_blocks[-1], GENESIS.chain_id).time_ns
    clock = Clock(lambda: newest_ns + round(age * NANOSECONDS))
    others: Any = Others(*ledgers)
    trusted = RootFile.of_genesis(GENESIS)
    return StateSync(NodeHome(home), others, trusted, desk.recorder, clock, FRESH_SECONDS)


async def test_a_new_alliance_begins_at_its_first_block(
    desk: Desk, tmp_path: Path, chain: QuorumChain
) -> None:
    others = [OtherLedger(chain, 0, first_height=0) for _ in range(2)]
    start = await sync(desk, tmp_path, chain, *others, age=0).decide(EMPTY)
    assert (start.plan, start.signed_height) == (None, 0)
    alone = await sync(desk, tmp_path, chain, age=0).decide(EMPTY)
    assert (alone.plan, alone.signed_height) == (None, 0)


async def test_a_chain_well_ahead_with_a_snapshot_is_synced_with(
    desk: Desk, tmp_path: Path, chain: QuorumChain
) -> None:
    short = OtherLedger(chain, chain.height, first_height=60, snapshot_height=100)
    far = OtherLedger(chain, chain.height, first_height=40, snapshot_height=100)
    lying = OtherLedger(chain, chain.height, first_height=10**9, snapshot_height=10**9)
    home = NodeHome(tmp_path / "node")
    (home.path / "data" / "blockstore.db").mkdir(parents=True)
    one = sync(desk, home.path, chain, short, far, lying, age=1)
    start = await one.decide(EMPTY)
    assert start.plan is not None
    assert start.plan.trust_height == 40
    assert start.plan.trust_hash == (await chain.light_block(40)).hash
    assert home.syncing.exists()
    assert not (home.path / "data" / "blockstore.db").exists()


async def test_without_a_snapshot_all_blocks_are_fetched(
    desk: Desk, tmp_path: Path, chain: QuorumChain
) -> None:
    start = await sync(desk, tmp_path, chain, OtherLedger(chain, chain.height), age=1).decide(EMPTY)
    assert start.plan is None
    assert not NodeHome(tmp_path).syncing.exists()


async def test_a_sync_that_led_nowhere_ends_in_fetching_all_blocks_if_they_are_kept(
    desk: Desk, tmp_path: Path, chain: QuorumChain
) -> None:
    whole = OtherLedger(chain, chain.height, snapshot_height=100)
    pruned = OtherLedger(chain, chain.height, first_height=40, snapshot_height=100)
    again = await sync(desk, tmp_path, chain, whole, pruned, age=1).decide(EMPTY, again=True)
    assert again.plan is None
    again = await sync(desk, tmp_path, chain, pruned, age=1).decide(EMPTY, again=True)
    assert again.plan is not None


@pytest.mark.parametrize(("age", "beyond"), [(1.0, 1), (FRESH_SECONDS + 1, 0)])
async def test_a_node_with_a_new_folder_signs_nothing_that_an_earlier_one_may_have(
    desk: Desk, tmp_path: Path, chain: QuorumChain, age: float, beyond: int
) -> None:
    others = [OtherLedger(chain, chain.height), OtherLedger(chain, chain.height)]
    start = await sync(desk, tmp_path, chain, *others, age=age).decide(EMPTY)
    assert start.signed_height == chain.height + beyond


async def test_a_node_with_blocks_is_left_alone(
    desk: Desk, tmp_path: Path, chain: QuorumChain
) -> None:
    ahead = OtherLedger(chain, chain.height, snapshot_height=100)
    one = sync(desk, tmp_path, chain, ahead, age=1)
    start = await one.decide(Committed(7, bytes(32), None, 1))
    assert start.plan is None
    assert not NodeHome(tmp_path).syncing.exists()
