"""Headers from other ledgers: believed from the genesis, over changes of the set, whoever lies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.root_file import RootFile
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import make_genesis, seed_of
from cipherward_chain.wire import exact_bytes
from cipherward_ledger.comet.priorities import turn_at
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved, VerifiedHeaders
from cipherward_ledger.history import Term
from cipherward_ledger.testing_chain import DecidedChain

GENESIS, KEYS = make_genesis(members=4, engine="cometbft")
HEIGHT = 40


@dataclass
class ChainLedger:
    """An other member's ledger that keeps a chain's headers from a height on."""

    chain: DecidedChain
    member: str = "hospital-b"
    kept_from: int = 1
    omitted: Sequence[int] = ()  # of its changes
    asked: list[int] = field(default_factory=list[int])

    @property
    def headers(self) -> ChainLedger:
        return self

    async def light_block(self, height: int) -> LightBlock:
        self.asked.append(height)
        at = height or len(self.chain.blocks)
        if not self.kept_from <= at <= len(self.chain.blocks):
            raise LightBlockUnavailable("it has none")
        return self.light(at)

    def light(self, height: int) -> LightBlock:
        decided = self.chain.blocks[height - 1]
        raw = chain_pb.LightBlock(
            header=decided.block.header,
            commit=decided.block.commit,
            validators=decided.validators.to_bytes(),
        )
        return LightBlock.parse(raw, GENESIS.chain_id)

    async def changes(self) -> list[chain_pb.ValidatorChange]:
        blocks = self.chain.blocks
        found = [
            chain_pb.ValidatorChange(
                header=now.block.header,
                commit=now.block.commit,
                validators=then.validators.to_bytes(),
            )
            for now, then in itertools.pairwise(blocks)
            if now.validators != then.validators
        ]
        return [one for place, one in enumerate(found) if place not in self.omitted]


@pytest.fixture
def chain() -> DecidedChain:
    """Forty blocks, in which the four founders give way to four others, one after another."""
    made = DecidedChain(GENESIS, KEYS)
    for height in range(1, HEIGHT + 1):
        powers = None
        if height % 4 == 0 and height <= 32:
            step = height // 4 - 1
            leaving = f"hospital-{'abcd'[step // 2]}/consensus"
            powers = {leaving: 0} if step % 2 else {f"newcomer-{step}": 10}
        made.decide([], powers=powers, seconds=1.0)
    assert not {v.public_key for v in made.blocks[-1].validators.validators} & {
        v.public_key for v in GENESIS.validators.validators
    }
    return made


def verified(*ledgers: ChainLedger) -> VerifiedHeaders:
    newest_ns = ledgers[0].chain.blocks[-1].block.time_ns
    return VerifiedHeaders(ledgers, RootFile.of_genesis(GENESIS), lambda: newest_ns)  # type: ignore[arg-type]  # as far as it is used


async def test_a_pruned_ledgers_headers_are_believed_though_no_founder_is_left(
    chain: DecidedChain,
) -> None:
    headers = verified(ChainLedger(chain, kept_from=HEIGHT - 4))
    block = await headers.light_block(HEIGHT - 2)
    assert block.header == ChainLedger(chain).light(HEIGHT - 2).header
    terms = await headers.terms(HEIGHT - 2)
    assert len(terms) == 9
    assert terms[-1].validators == chain.blocks[-1].validators


async def test_a_lie_is_passed_over_and_the_next_ledger_asked(chain: DecidedChain) -> None:
    forged = DecidedChain(GENESIS, KEYS)
    for _ in range(HEIGHT):
        forged.decide([], absent=2, seconds=2.0)  # two of four have signed
    liar, honest = ChainLedger(forged, "hospital-a"), ChainLedger(chain)
    headers = verified(liar, honest)
    block = await headers.light_block(30)
    assert block.header == honest.light(30).header
    assert 30 in liar.asked
    with pytest.raises(NoHeaderBelieved):
        await verified(liar).light_block(30)


async def test_a_lying_height_is_not_believed(chain: DecidedChain) -> None:
    class Shifted(ChainLedger):
        async def light_block(self, height: int) -> LightBlock:
            return self.light(height - 1)

    with pytest.raises(NoHeaderBelieved):
        await verified(Shifted(chain)).light_block(20)
    with pytest.raises(NoHeaderBelieved, match="height 41 is not available"):
        await verified(ChainLedger(chain)).light_block(HEIGHT + 1)


@pytest.mark.parametrize("omitted", [0, 3, 7])
async def test_a_history_that_leaves_a_change_out_is_not_taken(
    chain: DecidedChain, omitted: int
) -> None:
    with pytest.raises(NoHeaderBelieved):
        await verified(ChainLedger(chain, omitted=[omitted])).terms(HEIGHT - 2)
    terms = await verified(ChainLedger(chain, omitted=[omitted]), ChainLedger(chain)).terms(38)
    assert len(terms) == 9


def test_equal_validators_take_turns_by_address() -> None:
    terms = [Term(1, GENESIS.validators, None)]
    order = [v.address for v in GENESIS.validators.validators]
    assert [turn_at(h, terms).proposer for h in range(1, 9)] == order * 2
    assert turn_at(1_000_000_007, terms).proposer == order[(1_000_000_007 - 1) % 4]


def test_a_newcomer_begins_behind_the_others_as_in_cometbft() -> None:
    # Worked out by hand from validator_set.go: 4 of power 10, a fifth is added for height 3.
    newcomer = Validator(SigningKey(seed_of("newcomer")).public_key, 10)
    five = ValidatorSet.of([*GENESIS.validators.validators, newcomer])
    terms = [Term(1, GENESIS.validators, None), Term(3, five, None)]
    turn = turn_at(3, terms)
    # Before: -20 -20 20 20, and the newcomer at -(50 + 50 // 8) = -56; the mean is -12 (rounded
    # down), so -8 -8 32 32 -44; then each gains 10 and the first of the highest pays 50.
    assert sorted(turn.priorities.values()) == [-34, -8, 2, 2, 42]
    assert turn.priorities[newcomer.address] == -34
    longest = [turn_at(height, terms).proposer for height in range(3, 103)]
    assert {longest.count(v.address) for v in five.validators} <= {19, 20, 21}


def test_a_long_chain_costs_no_more_than_a_short_one() -> None:
    uneven = ValidatorSet.of(
        [
            Validator(v.public_key, p)
            for v, p in zip(GENESIS.validators.validators, (1, 2, 3, 4), strict=True)
        ]
    )
    terms = [Term(1, uneven, None)]
    plain = turn_at(10_000, terms)
    assert turn_at(10_000 + 10 * 10**9, terms) == plain  # ten turns are a round of them


def test_light_blocks_survive_the_way_through_json(chain: DecidedChain) -> None:
    from cipherward_ledger.comet.json_form import CommitAnswer
    from cipherward_ledger.comet.light_proxy import commit_json, header_json

    block = ChainLedger(chain).light(17)
    absent = comet.Commit()
    absent.CopyFrom(block.commit)
    answer = CommitAnswer.model_validate(
        {"signed_header": {"header": header_json(block.header), "commit": commit_json(absent)}}
    )
    assert exact_bytes(answer.signed_header.header.message()) == exact_bytes(block.header)
    assert exact_bytes(answer.signed_header.commit.message()) == exact_bytes(block.commit)
