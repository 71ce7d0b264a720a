"""The witness: members that show two chains are found out, whoever signed both is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import LightSource
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.root_file import RootFile
from cipherward_chain.testing import BLOCK_NS, make_genesis, seed_of
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS
from cipherward_client.sdk.witness import Witnessed, witness

LAG_SECONDS = 30


@pytest.fixture
def chain() -> QuorumChain:
    """Ten blocks of four members."""
    genesis, keys = make_genesis(engine="cometbft")
    made = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    made.grow(10)
    return made


class Behind:
    """A member that has the first blocks only."""

    def __init__(self, chain: QuorumChain, height: int) -> None:
        self._chain, self._height = chain, height

    async def light_block(self, height: int) -> LightBlock:
        if height > self._height:
            raise LightBlockUnavailable(f"light block {height}: NOT_FOUND")
        return await self._chain.light_block(height or self._height)


class Away:
    """A member that does not answer."""

    async def light_block(self, height: int) -> LightBlock:
        raise LightBlockUnavailable(f"light block {height}: UNAVAILABLE")


async def seen_by(
    chain: QuorumChain, *shown: LightSource, point: TrustPoint | None = None
) -> Witnessed:
    names = [f"hospital-{chr(ord('a') + place)}" for place in range(len(shown))]
    begin = point or RootFile.of_genesis(chain.genesis).point
    now_ns = chain.genesis.time_ns + 100 * NANOS
    return await witness(dict(zip(names, shown, strict=True)), begin, now_ns, LAG_SECONDS)


def parted(chain: QuorumChain, *, after: int = 3) -> QuorumChain:
    """Let all four sign a second chain from here on; return it."""
    twin = chain.fork()
    chain.grow(after)
    twin.decide(after_ns=2 * BLOCK_NS)
    twin.grow(after - 1)
    return twin


async def test_members_that_show_one_chain_agree_on_what_the_slowest_has(
    chain: QuorumChain,
) -> None:
    seen = await seen_by(chain, chain, Behind(chain, 8), chain, Behind(chain, 9))
    assert seen.split is None
    assert seen.agreed is not None
    assert seen.agreed.height == 8
    assert {m: head.height for m, head in seen.heads.items()} == {
        "hospital-a": 10,
        "hospital-b": 8,
        "hospital-c": 10,
        "hospital-d": 9,
    }
    assert (seen.lagging, seen.away, seen.refused) == ([], {}, {})


async def test_two_chains_that_all_have_signed_are_found_out(chain: QuorumChain) -> None:
    twin = parted(chain)
    seen = await seen_by(chain, chain, chain, twin, chain)
    assert seen.agreed is None
    assert seen.split is not None
    assert seen.split.height == 13
    assert sorted(seen.split.sides.values()) == [
        ("hospital-a", "hospital-b", "hospital-d"),
        ("hospital-c",),
    ]
    assert seen.split.evidence is not None
    fork = seen.split.evidence.verify(chain.genesis.validators)
    assert fork.double_signed == chain.genesis.validators.validators


async def test_a_branch_is_found_under_a_longer_chain(chain: QuorumChain) -> None:
    """The liar's branch is shorter: the others are asked for its newest header."""
    twin = parted(chain)
    chain.grow(5)
    seen = await seen_by(chain, chain, twin, chain)
    assert seen.split is not None
    assert seen.split.height == 13


async def test_a_ledger_that_shows_each_reader_something_else_is_found_out(
    chain: QuorumChain,
) -> None:
    """It answers the common past truly, and has a newest block of its own."""
    twin = parted(chain)
    chain.grow(1)

    class TwoFaced:
        async def light_block(self, height: int) -> LightBlock:
            return await (twin if height in (0, 13) else chain).light_block(height)

    seen = await seen_by(chain, chain, TwoFaced(), chain)
    assert seen.split is not None
    assert seen.split.height == 13
    assert ("hospital-b",) in seen.split.sides.values()


async def test_who_is_away_or_lags_behind_is_said_and_hides_nothing(chain: QuorumChain) -> None:
    chain.decide(after_ns=(LAG_SECONDS + 1) * NANOS)
    seen = await seen_by(chain, chain, Behind(chain, 10), Away(), chain)
    assert seen.lagging == ["hospital-b"]
    assert list(seen.away) == ["hospital-c"]
    assert "UNAVAILABLE" in seen.away["hospital-c"]
    assert seen.agreed is not None
    assert seen.agreed.height == 11
    assert seen.compared == ["hospital-a", "hospital-d"]


async def test_a_single_member_agrees_with_nobody(chain: QuorumChain) -> None:
    seen = await seen_by(chain, chain, Away(), Away(), Away())
    assert seen.agreed is None
    assert seen.compared == ["hospital-a"]
    assert (await seen_by(chain, Away())).heads == {}


async def test_a_chain_that_the_root_does_not_lead_to_is_refused(chain: QuorumChain) -> None:
    keys = seeds_by_key({f"stranger-{n}": seed_of(f"stranger-{n}") for n in range(4)})
    theirs = ValidatorSet.of([Validator(key, 10) for key in keys])
    foreign = QuorumChain(replace(chain.genesis, validators=theirs), keys)
    foreign.grow(10)
    ahead = chain.fork()
    ahead.decide(after_ns=3_600 * NANOS)
    seen = await seen_by(chain, chain, foreign, ahead, chain)
    assert set(seen.refused) == {"hospital-b", "hospital-c"}
    assert seen.refused["hospital-b"].startswith("VALIDATORS_DIFFER")
    assert seen.refused["hospital-c"].startswith("HEADER_FROM_THE_FUTURE")
    assert seen.compared == ["hospital-a", "hospital-d"]


async def test_a_checkpoint_is_what_members_must_agree_with(chain: QuorumChain) -> None:
    point = TrustPoint.of(await chain.light_block(10))
    seen = await seen_by(chain, chain, chain, Behind(chain, 9), point=point)
    assert seen.agreed is not None
    assert seen.refused["hospital-c"].startswith("HEIGHT_UNEXPECTED")
    other = TrustPoint(10, bytes(32), point.time_ns, point.validators)
    seen = await seen_by(chain, chain, chain, point=other)
    assert set(seen.refused) == {"hospital-a", "hospital-b"}
    assert "trust root" in seen.refused["hospital-a"]


@pytest.mark.parametrize(("heard", "enough"), [(2, False), (3, True)])
async def test_a_checkpoint_needs_more_members_than_may_be_lying(heard: int, enough: bool) -> None:
    """Two of seven members may lie: what two agree on may be their own chain."""
    genesis, keys = make_genesis(members=7, engine="cometbft")
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    chain.grow(5)
    seen = await seen_by(chain, *[chain] * heard, *[Away()] * (7 - heard))
    assert seen.agreed is not None
    assert (seen.checkpoint is not None) is enough
