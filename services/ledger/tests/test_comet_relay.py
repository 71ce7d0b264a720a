"""Blocks that a ledger does not keep: passed on from who keeps them, once they are verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from grpc import StatusCode, aio

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.light_block import LightBlock
from cipherward_chain.root_file import RootFile
from cipherward_chain.testing import make_genesis
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_ledger.clock import Clock
from cipherward_ledger.comet.relay import Relay

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")


@dataclass
class KeepingLedger:
    """An other member's ledger, which keeps blocks from a height on."""

    chain: QuorumChain
    member: str
    first_height: int = 1
    lies: bool = False
    asked: list[int] = field(default_factory=list[int])

    @property
    def headers(self) -> KeepingLedger:
        return self

    async def light_block(self, height: int) -> LightBlock:
        return await self.chain.light_block(height)

    async def changes(self) -> Sequence[chain_pb.ValidatorChange]:
        return ()

    async def block(self, height: int) -> chain_pb.ProvenBlock:
        self.asked.append(height)
        if height < self.first_height:
            raise aio.AioRpcError(StatusCode.NOT_FOUND, aio.Metadata(), aio.Metadata())
        found = chain_pb.ProvenBlock()
        found.CopyFrom(self.chain.proven[height - 1])
        if self.lies:
            found.transactions.append(b"slipped in")
        return found


class Others:
    """All of them; they answer."""

    def __init__(self, *ledgers: KeepingLedger) -> None:
        self.all = ledgers
        self.looked = 0

    async def statuses(self) -> list[tuple[KeepingLedger, pb.GetStatusResponse]]:
        self.looked += 1
        return [(one, pb.GetStatusResponse(first_height=one.first_height)) for one in self.all]


@pytest.fixture
def chain() -> QuorumChain:
    made = QuorumChain(GENESIS, seeds_by_key(KEYS.validator_seeds))
    made.grow(30)
    return made


def relay(chain: QuorumChain, others: Any) -> Relay:
    clock = Clock(lambda: GENESIS.time_ns + 1_000_000_000)
    assert chain.genesis is GENESIS
    return Relay(others, RootFile.of_genesis(GENESIS), clock)


async def test_a_follower_gets_one_block_after_another_from_who_keeps_them(
    chain: QuorumChain,
) -> None:
    short, long = KeepingLedger(chain, "a", 20), KeepingLedger(chain, "b", 5)
    others = Others(short, long)
    passing = relay(chain, others)
    assert await passing.first_height() == 5
    for height in range(7, 25):
        assert await passing.get(height) == chain.proven[height - 1]
    assert long.asked == list(range(7, 20))  # then the first that keeps it
    assert short.asked == list(range(20, 25))
    assert others.looked == 1
    assert await passing.get(4) is None


async def test_a_block_with_a_lie_is_passed_over(chain: QuorumChain) -> None:
    liar, honest = KeepingLedger(chain, "a", lies=True), KeepingLedger(chain, "b")
    passing = relay(chain, Others(liar, honest))
    assert await passing.get(1) == chain.proven[0]
    assert await passing.get(12) == chain.proven[11]
    assert liar.asked == honest.asked == [1, 12]
    assert await relay(chain, Others(liar)).get(12) is None


async def test_nobody_else_is_an_answer_too(chain: QuorumChain) -> None:
    passing = relay(chain, Others())
    assert await passing.first_height() == 0
    assert await passing.get(3) is None
