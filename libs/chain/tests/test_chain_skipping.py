"""Skipping verification: how far trust reaches, what ends it, and what a lying source can do."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.comet import VALIDATORS_MAX, Validator, ValidatorSet, parse_header
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import (
    CLOCK_DRIFT_SECONDS,
    LIGHT_BLOCKS_MAX,
    TRUSTING_SECONDS,
    TrustRules,
    fetch,
    skip_to,
    verify_step,
)
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.rejections import (
    BisectionTooLong,
    BlockMalformed,
    BlockRejected,
    ChainDiffers,
    CommitRejected,
    HeaderFromTheFuture,
    HeightUnexpected,
    LinkBroken,
    TimeNotIncreasing,
    TrustExpired,
    TrustInsufficient,
    ValidatorsDiffer,
)
from cipherward_chain.testing import make_genesis
from cipherward_chain.testing_forgery import forged_commit
from cipherward_chain.testing_quorum import QuorumChain, seeds_by_key
from cipherward_chain.trust import TrustPoint, checkpoint_at
from cipherward_chain.wire import NANOS, exact_bytes

POWER = 10  # of every validator


def genesis_point(chain: QuorumChain) -> TrustPoint:
    return TrustPoint.of_genesis(chain.genesis.trust_root(), chain.genesis.time_ns)


def now_of(chain: QuorumChain) -> int:
    """The time of the newest header."""
    return parse_header(chain.light_blocks[-1].header).time.ToNanoseconds()


async def newest_of(chain: QuorumChain) -> LightBlock:
    found = await chain.light_block(0)
    chain.asked.clear()
    return found


def replaced(chain: QuorumChain, newcomers: list[bytes], turn: int) -> ValidatorSet:
    """The set after the oldest validator has left for a newcomer, `turn` times."""
    keys = [v.public_key for v in chain.genesis.validators.validators] + newcomers
    return ValidatorSet.of([Validator(key, POWER) for key in keys[turn : turn + 4]])


@pytest.fixture
def renewed(quorum: QuorumChain, newcomers: list[bytes]) -> QuorumChain:
    """A chain of 80 blocks whose members all leave, one after another, for others."""
    quorum.grow(8)
    for turn in range(1, 9):
        quorum.decide(change=replaced(quorum, newcomers, turn))
        quorum.grow(8)
    return quorum


async def test_an_unchanged_set_is_skipped_in_one_step(quorum: QuorumChain) -> None:
    quorum.grow(50)
    target = await newest_of(quorum)
    path = await skip_to(genesis_point(quorum), target, quorum, now_of(quorum))
    assert [block.height for block in path] == [50]
    assert quorum.asked == []


async def test_a_set_that_changed_wholly_is_reached_by_bisection(renewed: QuorumChain) -> None:
    target = await newest_of(renewed)
    first = renewed.genesis.validators
    assert target.power_in(first) == 0
    path = await skip_to(genesis_point(renewed), target, renewed, now_of(renewed))
    assert path[-1] is target
    assert 2 < len(path) <= len(renewed.asked) + 1 < 20
    heights = [block.height for block in path]
    assert heights == sorted(set(heights))


async def test_the_first_block_and_the_next_one_are_steps_too(quorum: QuorumChain) -> None:
    quorum.grow(2)
    trusted = genesis_point(quorum)
    for height in (1, 2):
        block = await quorum.light_block(height)
        trusted = verify_step(trusted, block, now_of(quorum))
        assert (trusted.height, trusted.header_hash) == (height, block.hash)


async def test_an_announced_set_needs_no_third_of_the_old_one(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    quorum.decide(change=ValidatorSet.of([Validator(key, POWER) for key in newcomers[:4]]))
    quorum.grow(3)
    second, third = await quorum.light_block(2), await quorum.light_block(3)
    assert third.power_in(quorum.genesis.validators) == 0
    trusted = verify_step(genesis_point(quorum), second, now_of(quorum))
    assert verify_step(trusted, third, now_of(quorum)).validators == third.validators
    with pytest.raises(TrustInsufficient):
        verify_step(genesis_point(quorum), third, now_of(quorum))


@pytest.mark.parametrize(("kept", "enough"), [(1, False), (2, True)])
async def test_more_than_a_third_of_the_trusted_power_must_have_signed(
    quorum: QuorumChain, newcomers: list[bytes], kept: int, enough: bool
) -> None:
    old = [v.public_key for v in quorum.genesis.validators.validators][:kept]
    keys = [*old, *newcomers[: 4 - kept]]
    quorum.decide(change=ValidatorSet.of([Validator(key, POWER) for key in keys]))
    quorum.grow(4)
    target = await newest_of(quorum)
    assert target.power_in(quorum.genesis.validators) == kept * POWER
    if enough:
        verify_step(genesis_point(quorum), target, now_of(quorum))
    else:
        with pytest.raises(TrustInsufficient):
            verify_step(genesis_point(quorum), target, now_of(quorum))


async def test_exactly_a_third_of_the_power_is_not_enough() -> None:
    genesis, keys = make_genesis(3, engine="cometbft")
    chain = QuorumChain(genesis, seeds_by_key(keys.validator_seeds))
    alone = ValidatorSet.of(genesis.validators.validators[:1])
    chain.decide(change=alone)
    chain.grow(4)
    with pytest.raises(TrustInsufficient):
        verify_step(genesis_point(chain), await newest_of(chain), now_of(chain))


async def test_who_is_in_the_set_and_did_not_sign_lends_no_trust(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    """Two trusted validators of seven: one of them is absent."""
    old = [v.public_key for v in quorum.genesis.validators.validators][:2]
    keys = [*old, *newcomers[:5]]
    quorum.decide(change=ValidatorSet.of([Validator(key, POWER) for key in keys]))
    quorum.grow(3)
    quorum.decide(absent=frozenset(old[:1]))
    target = await newest_of(quorum)
    with pytest.raises(TrustInsufficient):
        verify_step(genesis_point(quorum), target, now_of(quorum))


# --- time


async def test_trust_ends_with_the_trusting_period(quorum: QuorumChain) -> None:
    quorum.grow(5)
    target, trusted = await newest_of(quorum), genesis_point(quorum)
    end = trusted.time_ns + TRUSTING_SECONDS * NANOS
    verify_step(trusted, target, end - 1)
    with pytest.raises(TrustExpired, match="120 days"):
        verify_step(trusted, target, end)
    with pytest.raises(TrustExpired):
        await skip_to(trusted, target, quorum, end)
    longer = TrustRules(trusting_seconds=2 * TRUSTING_SECONDS)
    assert await skip_to(trusted, target, quorum, end, longer)


async def test_a_fresh_checkpoint_renews_the_trusting_period(quorum: QuorumChain) -> None:
    """The same chain, whose genesis is too old: the newest header is trusted from day 100 on."""
    quorum.grow(3)
    quorum.decide(after_ns=100 * 86_400 * NANOS)
    quorum.grow(1)
    now = now_of(quorum) + 100 * 86_400 * NANOS
    target = await newest_of(quorum)
    with pytest.raises(TrustExpired):
        verify_step(genesis_point(quorum), target, now)
    verify_step(TrustPoint.of(await quorum.light_block(4)), target, now)


async def test_a_header_ahead_of_the_clock_is_not_believed(quorum: QuorumChain) -> None:
    quorum.grow(5)
    target = await newest_of(quorum)
    drift = CLOCK_DRIFT_SECONDS * NANOS
    verify_step(genesis_point(quorum), target, target.time_ns - drift)
    for attempt in (target.time_ns - drift - 1, quorum.genesis.time_ns - 2 * drift):
        with pytest.raises(HeaderFromTheFuture):
            await skip_to(genesis_point(quorum), target, quorum, attempt)


async def test_a_later_header_has_a_later_time(quorum: QuorumChain) -> None:
    quorum.grow(2)
    quorum.decide(after_ns=0)
    quorum.decide(after_ns=-1)
    second = TrustPoint.of(await quorum.light_block(2))
    for height in (3, 4):
        with pytest.raises(TimeNotIncreasing):
            verify_step(second, await quorum.light_block(height), now_of(quorum))


# --- what a light block must be


@pytest.mark.parametrize("field", ["header", "commit", "validators"])
async def test_a_light_block_has_one_form(quorum: QuorumChain, field: str) -> None:
    quorum.grow(2)
    for octets in (b"", b"junk", getattr(quorum.light_blocks[1], field) + b"\xfa\x01\x00"):
        raw = pb.LightBlock()
        raw.CopyFrom(quorum.light_blocks[1])
        setattr(raw, field, octets)
        with pytest.raises(BlockMalformed):
            LightBlock.parse(raw, quorum.genesis.chain_id)


async def test_a_light_block_of_another_chain_is_refused(quorum: QuorumChain) -> None:
    quorum.grow(1)
    with pytest.raises(ChainDiffers):
        LightBlock.parse(quorum.light_blocks[0], "other-chain")


def test_a_set_beyond_any_alliance_costs_no_signature(quorum: QuorumChain) -> None:
    quorum.grow(1)
    raw = pb.LightBlock()
    raw.CopyFrom(quorum.light_blocks[0])
    one = quorum.genesis.validators.to_bytes()
    raw.validators = one * (VALIDATORS_MAX // 4 + 1)
    with pytest.raises(BlockMalformed, match="1 to 100"):
        LightBlock.parse(raw, quorum.genesis.chain_id)


async def test_signatures_are_checked_before_a_header_is_believed(quorum: QuorumChain) -> None:
    quorum.grow(9)
    genuine = await newest_of(quorum)
    commit = genuine.commit
    commit.signatures[2].signature = bytes(64)
    forged = LightBlock.of(genuine.header, commit, genuine.validators)
    with pytest.raises(CommitRejected):
        verify_step(genesis_point(quorum), forged, now_of(quorum))
    with pytest.raises(CommitRejected):
        await skip_to(genesis_point(quorum), forged, quorum, now_of(quorum))


async def test_a_commit_has_an_entry_for_each_validator(quorum: QuorumChain) -> None:
    quorum.grow(2)
    genuine = await newest_of(quorum)
    del genuine.commit.signatures[0]
    forged = LightBlock.of(genuine.header, genuine.commit, genuine.validators)
    with pytest.raises(BlockMalformed, match="one entry for each"):
        LightBlock.parse(forged.raw, quorum.genesis.chain_id)


async def test_a_next_set_that_nobody_announced_to_the_reader_needs_a_third(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    """A stored checkpoint names the set of its newest header, and not what that one announces."""
    quorum.decide(change=ValidatorSet.of([Validator(key, POWER) for key in newcomers[:4]]))
    quorum.grow(4)
    client = quorum.light_client()
    client.accept(quorum.proven[0])
    assert client.checkpoint is not None
    trusted = TrustPoint.of_checkpoint(client.checkpoint)
    third = await quorum.light_block(3)
    assert trusted.height == 2
    quorum.asked.clear()
    with pytest.raises(TrustInsufficient):
        await skip_to(trusted, third, quorum, now_of(quorum))
    assert quorum.asked == []
    announced = TrustPoint.of(await quorum.light_block(2))
    assert await skip_to(announced, third, quorum, now_of(quorum)) == [third]


async def test_a_set_that_the_header_does_not_name_is_refused(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    """Trusted keys under a set of the liar's choice: the header binds the set."""
    quorum.grow(9)
    genuine = await newest_of(quorum)
    heavier = ValidatorSet.of([Validator(v.public_key, 99) for v in genuine.validators.validators])
    forged = LightBlock.of(genuine.header, genuine.commit, heavier)
    with pytest.raises(ValidatorsDiffer):
        verify_step(genesis_point(quorum), forged, now_of(quorum))


async def test_the_next_header_must_be_linked_and_have_the_announced_set(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    quorum.grow(3)
    second, third = await quorum.light_block(2), await quorum.light_block(3)
    trusted = TrustPoint.of(second)
    seeds = seeds_by_key({})
    header = parse_header(third.raw.header)
    header.last_block_id.hash = bytes(32)
    commit = forged_commit(header, third.validators, seeds)
    with pytest.raises(LinkBroken):
        verify_step(trusted, LightBlock.of(header, commit, third.validators), now_of(quorum))
    header = parse_header(third.raw.header)
    header.validators_hash = bytes(32)
    commit = forged_commit(header, third.validators, seeds)
    with pytest.raises(ValidatorsDiffer, match="announced"):
        verify_step(trusted, LightBlock.of(header, commit, third.validators), now_of(quorum))


@pytest.mark.parametrize("height", [1, 2])
async def test_what_does_not_come_later_is_refused(quorum: QuorumChain, height: int) -> None:
    quorum.grow(3)
    trusted = TrustPoint.of(await quorum.light_block(2))
    with pytest.raises(HeightUnexpected):
        verify_step(trusted, await quorum.light_block(height), now_of(quorum))


async def test_every_flipped_bit_of_a_light_block_is_refused(quorum: QuorumChain) -> None:
    quorum.grow(3)
    raw = exact_bytes(quorum.light_blocks[2])
    for bit in range(0, 8 * len(raw), 7):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            forged = pb.LightBlock.FromString(bytes(flipped))
            forged.DiscardUnknownFields()
        except Exception:
            continue
        if forged == quorum.light_blocks[2]:
            continue
        with pytest.raises(BlockRejected):
            verify_step(
                genesis_point(quorum),
                LightBlock.parse(forged, quorum.genesis.chain_id),
                now_of(quorum),
            )


# --- hostile sources


class Thieves:
    """A source of blocks that strangers signed, as far away as one asks."""

    def __init__(self, chain: QuorumChain, answer: Callable[[int], int]) -> None:
        self._chain = chain
        self._answer = answer
        self.asked = 0

    async def light_block(self, height: int) -> LightBlock:
        self.asked += 1
        return self.at(self._answer(height))

    def at(self, height: int) -> LightBlock:
        genuine = parse_header(self._chain.light_blocks[0].header)
        genuine.height = height
        genuine.time.nanos = min(height, 999_999_999)
        commit = forged_commit(genuine, self._chain.genesis.validators, {})
        return LightBlock.of(genuine, commit, self._chain.genesis.validators)


async def test_a_source_that_answers_another_height_is_refused(quorum: QuorumChain) -> None:
    quorum.grow(1)
    thieves = Thieves(quorum, lambda height: height + 1)
    with pytest.raises(HeightUnexpected, match="asked for header 7"):
        await fetch(thieves, 7)
    now = now_of(quorum) + NANOS
    with pytest.raises(HeightUnexpected):
        await skip_to(genesis_point(quorum), thieves.at(1_000), thieves, now)
    assert thieves.asked == 2


def test_the_deepest_bisection_is_within_the_bound() -> None:
    assert LIGHT_BLOCKS_MAX > 63


async def test_a_bisection_that_leads_nowhere_ends_at_its_depth(quorum: QuorumChain) -> None:
    quorum.grow(1)
    thieves = Thieves(quorum, lambda height: height)
    with pytest.raises(BlockRejected):
        await skip_to(
            genesis_point(quorum), thieves.at((1 << 62) - 1), thieves, now_of(quorum) + NANOS
        )
    assert thieves.asked <= 62


async def test_a_way_over_too_many_headers_is_given_up(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    """Every block hands the chain to another stranger, as no alliance does."""
    for turn in range(40):
        alone = Validator(newcomers[turn % len(newcomers)], POWER)
        quorum.decide(change=ValidatorSet.of([alone]))
    target = await newest_of(quorum)
    with pytest.raises(BisectionTooLong):
        await skip_to(
            genesis_point(quorum), target, quorum, now_of(quorum), TrustRules(light_blocks_max=10)
        )
    assert len(quorum.asked) == 10
    assert await skip_to(genesis_point(quorum), target, quorum, now_of(quorum))


async def test_a_header_that_the_source_lacks_is_said(renewed: QuorumChain) -> None:
    class Pruned:
        async def light_block(self, height: int) -> LightBlock:
            raise LightBlockUnavailable(f"light block {height}: NOT_FOUND")

    with pytest.raises(LightBlockUnavailable):
        await skip_to(genesis_point(renewed), await newest_of(renewed), Pruned(), now_of(renewed))


# --- from a light block to the blocks after it


async def test_sequential_following_goes_on_from_a_skipped_header(
    renewed: QuorumChain, members: tuple[Genesis, object]
) -> None:
    root = members[0].trust_root()
    target = await renewed.light_block(60)
    await skip_to(genesis_point(renewed), target, renewed, now_of(renewed))
    client = LightClient(root, checkpoint_at(target, root))
    assert client.height == 59
    for block in renewed.proven[59:]:
        client.accept(block)
    assert client.height == renewed.height - 1
    sequential = renewed.light_client()
    for block in renewed.proven:
        sequential.accept(block)
    assert sequential.checkpoint == client.checkpoint


async def test_a_checkpoint_is_gone_on_from_by_skipping(renewed: QuorumChain) -> None:
    client = renewed.light_client()
    for block in renewed.proven[:70]:
        client.accept(block)
    assert client.checkpoint is not None
    stored = Checkpoint.from_bytes(client.checkpoint.to_bytes())
    trusted = TrustPoint.of_checkpoint(stored)
    assert trusted.height == 71
    target = await newest_of(renewed)
    assert await skip_to(trusted, target, renewed, now_of(renewed))
    with pytest.raises(ValueError, match="genesis"):
        checkpoint_at(await renewed.light_block(1), renewed.genesis.trust_root())


@pytest.mark.parametrize("seed", range(6))
async def test_skipping_and_following_believe_the_same_headers(
    quorum: QuorumChain, newcomers: list[bytes], seed: int
) -> None:
    """Members come and go by dice, one at a time or all together."""
    dice = random.Random(seed)  # noqa: S311 - a seed that repeats is wanted
    keys = [*(v.public_key for v in quorum.genesis.validators.validators), *newcomers]
    for _ in range(60):
        chosen = dice.sample(keys, dice.randint(1, 7))
        new = ValidatorSet.of([Validator(key, dice.randint(1, 20)) for key in chosen])
        quorum.decide(change=new if dice.random() < 0.3 else None)
    client, followed = quorum.light_client(), list[bytes]()
    for block in quorum.proven:
        followed.append(client.accept(block).header_hash)
    for height in dice.sample(range(1, quorum.height), 8):
        target = await quorum.light_block(height)
        path = await skip_to(genesis_point(quorum), target, quorum, now_of(quorum))
        assert [block.hash for block in path] == [followed[b.height - 1] for b in path]
