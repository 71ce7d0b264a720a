"""Chains of several validators whose set changes: following block by block, and receipts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.comet import Validator, ValidatorSet, parse_header
from cipherward_chain.light import LightClient
from cipherward_chain.receipts import ReceiptRejected, verify_receipt
from cipherward_chain.rejections import BlockMalformed, CommitRejected, ValidatorsDiffer
from cipherward_chain.testing_quorum import QuorumChain
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import exact_bytes

POWER = 10
Transactions = Callable[[int], list[bytes]]


def joined(chain: QuorumChain, key: bytes) -> ValidatorSet:
    return ValidatorSet.of([*chain.genesis.validators.validators, Validator(key, POWER)])


def copy(block: pb.ProvenBlock) -> pb.ProvenBlock:
    twin = pb.ProvenBlock()
    twin.CopyFrom(block)
    return twin


def test_a_change_counts_two_blocks_after_the_one_that_brings_it(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    five = joined(quorum, newcomers[0])
    quorum.decide(change=five)  # height 1
    quorum.decide()  # announces it
    quorum.decide()  # has it
    quorum.grow(2)
    four = quorum.genesis.validators
    assert [ValidatorSet.from_bytes(b.validators) for b in quorum.light_blocks[:4]] == [
        four,
        four,
        five,
        five,
    ]
    assert parse_header(quorum.light_blocks[1].header).next_validators_hash == five.hash()
    assert [bool(block.next_validators) for block in quorum.proven] == [False, True, False, False]
    client = quorum.light_client()
    found = [client.accept(block).checkpoint.validators for block in quorum.proven]
    assert found == [four, five, five, five]


def test_sets_that_change_with_every_block_are_followed(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    for turn in range(12):
        quorum.decide(change=joined(quorum, newcomers[turn % len(newcomers)]))
    quorum.grow(3)
    client = quorum.light_client()
    for block in quorum.proven:
        client.accept(block)
        assert client.checkpoint is not None
        stored = Checkpoint.from_bytes(client.checkpoint.to_bytes())
        client = LightClient(quorum.genesis.trust_root(), stored)
    assert client.height == quorum.height - 1


def test_a_member_that_has_left_signs_no_more(quorum: QuorumChain, newcomers: list[bytes]) -> None:
    three = ValidatorSet.of(quorum.genesis.validators.validators[1:])
    quorum.decide(change=three)
    quorum.grow(4)
    client = quorum.light_client()
    for block in quorum.proven:
        client.accept(block)
    assert client.checkpoint is not None
    assert client.checkpoint.validators == three


def test_a_set_before_its_time_or_late_is_rejected(
    quorum: QuorumChain, newcomers: list[bytes]
) -> None:
    five = joined(quorum, newcomers[0])
    quorum.decide(change=five)
    quorum.grow(4)
    early, late = copy(quorum.proven[0]), copy(quorum.proven[1])
    early.next_validators = five.to_bytes()
    late.ClearField("next_validators")
    client = quorum.light_client()
    with pytest.raises(ValidatorsDiffer):
        client.accept(early)
    client.accept(quorum.proven[0])
    with pytest.raises(ValidatorsDiffer):
        client.accept(late)
    client.accept(quorum.proven[1])
    again = copy(quorum.proven[2])
    again.next_validators = five.to_bytes()
    with pytest.raises(BlockMalformed, match="not changed"):
        client.accept(again)


def test_one_of_four_may_be_away_and_two_may_not(quorum: QuorumChain) -> None:
    away = [v.public_key for v in quorum.genesis.validators.validators]
    quorum.decide()
    quorum.decide(absent=frozenset(away[:1]))
    quorum.decide(absent=frozenset(away[:2]))
    quorum.decide()
    client = quorum.light_client()
    client.accept(quorum.proven[0])
    with pytest.raises(CommitRejected, match="20 of 40"):
        client.accept(quorum.proven[1])


# --- receipts over changes of the set


@pytest.fixture
def changed(quorum: QuorumChain, newcomers: list[bytes], transactions: Transactions) -> QuorumChain:
    """Transactions in blocks 1, 6 and 11; the set changes at 4 (announced by 3) and at 9 (by 8)."""
    made = transactions(3)
    quorum.decide(made[:1])
    quorum.decide(change=joined(quorum, newcomers[0]))
    quorum.grow(3)
    quorum.decide(made[1:2])
    quorum.decide(change=joined(quorum, newcomers[1]))
    quorum.grow(3)
    quorum.decide(made[2:])
    quorum.grow(2)
    return quorum


def point(chain: QuorumChain, height: int) -> TrustPoint:
    """A header of the chain, as a reader has it from a file."""
    header = parse_header(chain.light_blocks[height - 1].header)
    return TrustPoint(
        height,
        chain.block_hash(height),
        header.time.ToNanoseconds(),
        ValidatorSet.from_bytes(chain.light_blocks[height - 1].validators),
        header.next_validators_hash,
    )


@pytest.mark.parametrize(("height", "signed"), [(1, 4), (6, 5), (11, 5)])
def test_a_receipt_stays_valid_when_its_validators_have_left(
    changed: QuorumChain, height: int, signed: int
) -> None:
    found = verify_receipt(changed.receipt(height, 0), changed.genesis.trust_root())
    assert (found.height, found.signed, found.validators) == (height, signed, signed)
    assert found.engine == "cometbft"
    assert not found.anchored


def test_a_receipt_says_how_many_signed(quorum: QuorumChain, transactions: Transactions) -> None:
    away = quorum.genesis.validators.validators[0].public_key
    quorum.decide(transactions(1))
    quorum.decide(absent=frozenset([away]))
    quorum.grow(1)
    found = verify_receipt(quorum.receipt(1, 0), quorum.genesis.trust_root())
    assert (found.signed, found.validators) == (3, 4)


@pytest.mark.parametrize("place", [1, 2, 3, 4, 6, 7, 9, 11, 12])
@pytest.mark.parametrize("height", [1, 6, 11])
def test_a_receipt_verifies_through_any_checkpoint_of_its_chain(
    changed: QuorumChain, height: int, place: int
) -> None:
    found = verify_receipt(
        changed.receipt(height, 0), changed.genesis.trust_root(), point(changed, place)
    )
    assert found.anchored is (place <= height + 1)


def test_a_receipt_without_its_changes_or_with_one_too_many_is_refused(
    changed: QuorumChain,
) -> None:
    genuine = pb.Receipt.FromString(changed.receipt(6, 0))
    assert len(genuine.validator_changes) == 1
    none, twice, more = (pb.Receipt.FromString(exact_bytes(genuine)) for _ in range(3))
    del none.validator_changes[:]
    twice.validator_changes.append(genuine.validator_changes[0])
    more.validator_changes.append(changed.changes[1])
    for forged in (none, twice, more):
        with pytest.raises(ReceiptRejected) as refused:
            verify_receipt(exact_bytes(forged), changed.genesis.trust_root())
        assert refused.value.step == "validators"


def test_stolen_keys_of_the_first_members_forge_nothing_after_a_checkpoint(
    changed: QuorumChain, transactions: Transactions
) -> None:
    """All four founders' keys are stolen: their own branch has never let anybody in."""
    thieves = QuorumChain(changed.genesis, changed.seeds)
    thieves.grow(10)
    thieves.decide(transactions(1))
    thieves.grow(2)
    forged, root = thieves.receipt(11, 0), changed.genesis.trust_root()
    assert verify_receipt(forged, root).height == 11  # the genesis alone cannot tell
    with pytest.raises(ReceiptRejected, match="past the trusted checkpoint"):
        verify_receipt(forged, root, point(changed, 9))


@pytest.mark.parametrize(("place", "step"), [(11, "link"), (12, "link")])
def test_a_header_other_than_that_of_the_checkpoint_is_refused(
    changed: QuorumChain, place: int, step: str
) -> None:
    genuine = point(changed, place)
    other = TrustPoint(place, bytes(32), genuine.time_ns, genuine.validators)
    with pytest.raises(ReceiptRejected) as refused:
        verify_receipt(changed.receipt(11, 0), changed.genesis.trust_root(), other)
    assert refused.value.step == step
