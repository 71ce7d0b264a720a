"""Receipts: they verify offline, name the step that fails, and have one form."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.chain.v1 import transaction_pb2 as tx
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import Validator, ValidatorSet, header_hash, parse_header
from cipherward_chain.genesis import Genesis
from cipherward_chain.receipts import (
    BlockReceipts,
    ReceiptRejected,
    build_receipt,
    verify_receipt,
)
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestChain, TestKeys, seed_of
from cipherward_chain.testing_forgery import forged_commit
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import exact_bytes, timestamp_of

Transactions = Callable[[int], list[bytes]]


@pytest.fixture
def grown(chain: TestChain, transactions: Transactions) -> TestChain:
    """Block 1 has five transactions, the last of them refused; block 3 has one."""
    made = transactions(6)
    refused = TransactionResult(reason="POLICY_DENIED", policies=("owner",), message="no")
    chain.append(made[:5], results=[*[TransactionResult()] * 4, refused])
    chain.append(made[5:])
    return chain


def changed(raw: bytes, change: Callable[[pb.Receipt], None]) -> bytes:
    receipt = pb.Receipt.FromString(raw)
    change(receipt)
    return exact_bytes(receipt)


def test_every_transaction_has_a_receipt_that_verifies(
    grown: TestChain, genesis: Genesis, transactions: Transactions
) -> None:
    made = transactions(6)
    for height, index, raw in [*((1, i, made[i]) for i in range(5)), (3, 0, made[5])]:
        found = verify_receipt(grown.receipt(height, index), genesis.trust_root())
        assert found.transaction.raw == raw
        assert found.height == height
        assert found.time_ns == parse_header(grown.blocks[height - 1].header).time.ToNanoseconds()
        assert found.time_seconds == found.time_ns // 10**9
        assert (found.chain_id, found.engine) == ("test-chain", "solo")
        assert found.result.applied is (index != 4)


def test_a_refusal_is_proven_with_its_policies(grown: TestChain, genesis: Genesis) -> None:
    result = verify_receipt(grown.receipt(1, 4), genesis.trust_root()).result
    assert (result.reason, result.policies, result.message) == ("POLICY_DENIED", ("owner",), "no")


@pytest.mark.parametrize("count", range(1, 18))
def test_receipts_of_blocks_of_every_size_verify(
    chain: TestChain, genesis: Genesis, transactions: Transactions, count: int
) -> None:
    chain.append(transactions(count))
    for index in range(count):
        assert verify_receipt(chain.receipt(1, index), genesis.trust_root()).height == 1


def test_a_transaction_that_is_not_there_has_no_receipt(grown: TestChain) -> None:
    with pytest.raises(IndexError):
        grown.receipt(1, 5)


def test_a_thousand_random_flips_are_all_refused(grown: TestChain, genesis: Genesis) -> None:
    root = genesis.trust_root()
    receipts = [grown.receipt(1, index) for index in range(5)]
    dice = random.Random(20_261_122)  # noqa: S311 - a seed that repeats is wanted
    for _ in range(1_000):
        flipped = bytearray(dice.choice(receipts))
        bit = dice.randrange(8 * len(flipped))
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ReceiptRejected):
            verify_receipt(bytes(flipped), root)


@pytest.mark.slow
def test_every_single_flip_of_a_receipt_is_refused(grown: TestChain, genesis: Genesis) -> None:
    root, raw = genesis.trust_root(), grown.receipt(1, 0)
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ReceiptRejected):
            verify_receipt(bytes(flipped), root)


def test_a_receipt_of_another_chain_or_trust_root_is_refused(
    grown: TestChain, genesis: Genesis
) -> None:
    raw, mine = grown.receipt(1, 0), genesis.trust_root()
    thief = ValidatorSet.of([Validator(SigningKey(seed_of("thief")).public_key, 10)])
    for root, step in (
        (TrustRoot("other-chain", mine.genesis_digest, mine.validators, "solo"), "link"),
        (TrustRoot(mine.chain_id, mine.genesis_digest, thief, "solo"), "validators"),
    ):
        with pytest.raises(ReceiptRejected) as caught:
            verify_receipt(raw, root)
        assert caught.value.step == step


def _no_transaction(receipt: pb.Receipt) -> None:
    receipt.transaction = b""


def _other_result(receipt: pb.Receipt) -> None:
    receipt.result = TransactionResult(reason="OTHER").to_bytes()


def _no_result(receipt: pb.Receipt) -> None:
    receipt.result = b""


def _result_of_no_machine(receipt: pb.Receipt) -> None:
    receipt.result = exact_bytes(comet.ExecTxResult(data=b"x"))


def _other_place(receipt: pb.Receipt) -> None:
    receipt.index = 1


def _other_size(receipt: pb.Receipt) -> None:
    receipt.total = 8  # the same path as among five


def _place_outside(receipt: pb.Receipt) -> None:
    receipt.index = 9


def _junk_header(receipt: pb.Receipt) -> None:
    receipt.header = b"junk"


def _other_header(receipt: pb.Receipt) -> None:
    receipt.header = receipt.next_header


def _headers_swapped(receipt: pb.Receipt) -> None:
    receipt.header, receipt.next_header = receipt.next_header, receipt.header


def _other_validators(receipt: pb.Receipt) -> None:
    other = ValidatorSet.of([Validator(SigningKey(seed_of("thief")).public_key, 10)])
    receipt.validators = other.to_bytes()


def _no_commit(receipt: pb.Receipt) -> None:
    receipt.next_commit = b""


def _unsigned_commit(receipt: pb.Receipt) -> None:
    commit = comet.Commit.FromString(receipt.next_commit)
    commit.signatures[0].signature = bytes(64)
    receipt.next_commit = exact_bytes(commit)


def _a_change_of_nothing(receipt: pb.Receipt) -> None:
    receipt.validator_changes.add(
        header=receipt.header, commit=receipt.next_commit, validators=receipt.validators
    )


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (_no_transaction, "transaction"),
        (_other_result, "inclusion"),
        (_no_result, "result"),
        (_result_of_no_machine, "result"),
        (_other_place, "inclusion"),
        (_other_size, "inclusion"),
        (_place_outside, "inclusion"),
        (_junk_header, "form"),
        (_other_header, "link"),
        (_headers_swapped, "link"),
        (_other_validators, "validators"),
        (_no_commit, "form"),
        (_unsigned_commit, "commit"),
        (_a_change_of_nothing, "validators"),
    ],
)
def test_the_step_that_fails_is_named(
    grown: TestChain, genesis: Genesis, change: Callable[[pb.Receipt], None], step: str
) -> None:
    with pytest.raises(ReceiptRejected) as caught:
        verify_receipt(changed(grown.receipt(1, 0), change), genesis.trust_root())
    assert caught.value.step == step


def test_a_transaction_with_the_result_of_its_neighbour_is_refused(
    grown: TestChain, genesis: Genesis
) -> None:
    neighbour = pb.Receipt.FromString(grown.receipt(1, 4))

    def swap(receipt: pb.Receipt) -> None:
        receipt.result = neighbour.result
        receipt.ClearField("result_aunts")
        receipt.result_aunts.extend(neighbour.result_aunts)

    with pytest.raises(ReceiptRejected) as caught:
        verify_receipt(changed(grown.receipt(1, 3), swap), genesis.trust_root())
    assert caught.value.step == "inclusion"


SPELLINGS: list[Callable[[bytes], bytes]] = [
    lambda raw: raw + b"\xfa\x01\x00",
    lambda raw: raw + raw,
    lambda raw: b"\x18\x00" + raw,
    lambda raw: b"",
    lambda raw: raw[:-1],
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_second_spelling_of_a_receipt_is_refused(
    grown: TestChain, genesis: Genesis, spelling: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(ReceiptRejected):
        verify_receipt(spelling(grown.receipt(1, 0)), genesis.trust_root())


class Alliance:
    """A chain whose solo validator hands over to four at block 10 and 20: headers made by hand."""

    def __init__(self, grown: TestChain, keys: TestKeys) -> None:
        four = [seed_of(f"validator-{n}") for n in range(4)]
        self.seeds = {SigningKey(seed).public_key: seed for seed in four}
        self.four = ValidatorSet.of([Validator(key, 1) for key in self.seeds])
        self.three = ValidatorSet(self.four.validators[:3])
        self.one = grown.genesis.validators
        self.seeds[self.one.validators[0].public_key] = keys.validator_seed
        self._template = parse_header(grown.blocks[0].header)

    def header(self, height: int, validators: ValidatorSet, then: ValidatorSet) -> comet.Header:
        header = comet.Header()
        header.CopyFrom(self._template)
        header.height = height
        header.time.CopyFrom(timestamp_of(1_790_000_000 * 10**9 + height))
        header.validators_hash = validators.hash()
        header.next_validators_hash = then.hash()
        header.proposer_address = validators.validators[0].address
        return header

    def change(
        self, height: int, validators: ValidatorSet, then: ValidatorSet
    ) -> pb.ValidatorChange:
        header = self.header(height, validators, then)
        commit = forged_commit(header, validators, self.seeds)
        return pb.ValidatorChange(
            header=exact_bytes(header), commit=exact_bytes(commit), validators=then.to_bytes()
        )

    def receipt(
        self,
        block: pb.ProvenBlock,
        changes: list[pb.ValidatorChange],
        signers: ValidatorSet | None = None,
    ) -> bytes:
        """A receipt of block 30, signed by three validators unless others are given."""
        three = signers or self.three
        header = self.header(30, three, three)
        header.data_hash = parse_header(block.header).data_hash
        follows = self.header(31, three, three)
        follows.last_block_id.hash = header_hash(header)
        follows.last_results_hash = parse_header(block.next_header).last_results_hash
        proven = pb.ProvenBlock()
        proven.CopyFrom(block)
        proven.header, proven.next_header = exact_bytes(header), exact_bytes(follows)
        proven.next_commit = exact_bytes(forged_commit(follows, three, self.seeds))
        return build_receipt(proven, 0, three, changes)


def test_changes_of_the_validators_are_followed_from_the_trust_root(
    grown: TestChain, genesis: Genesis, keys: TestKeys
) -> None:
    alliance = Alliance(grown, keys)
    one, four, three = alliance.one, alliance.four, alliance.three
    to_four, to_three = alliance.change(10, one, four), alliance.change(20, four, three)
    block, root = grown.blocks[0], genesis.trust_root()
    assert verify_receipt(alliance.receipt(block, [to_four, to_three]), root).height == 30
    late = alliance.change(31, four, three)
    unsigned, other = pb.ValidatorChange(), pb.ValidatorChange()
    unsigned.CopyFrom(to_three)
    unsigned.commit = to_four.commit
    other.CopyFrom(to_three)
    other.validators = four.to_bytes()
    for changes in (
        [],
        [to_four],
        [to_three],
        [to_three, to_four],
        [to_four, to_four, to_three],
        [to_four, late],
        [to_four, unsigned],
        [to_four, other],
    ):
        with pytest.raises(ReceiptRejected) as caught:
            verify_receipt(alliance.receipt(block, changes), root)
        assert caught.value.step == "validators"


def test_a_change_cannot_bring_a_set_that_its_header_does_not_announce(
    grown: TestChain, genesis: Genesis, keys: TestKeys
) -> None:
    alliance = Alliance(grown, keys)
    thief = ValidatorSet.of([Validator(SigningKey(seed_of("thief")).public_key, 10)])
    alliance.seeds[thief.validators[0].public_key] = seed_of("thief")
    forged = alliance.change(10, alliance.one, alliance.four)
    forged.validators = thief.to_bytes()
    with pytest.raises(ReceiptRejected, match="announces another set"):
        verify_receipt(alliance.receipt(grown.blocks[0], [forged], thief), genesis.trust_root())


def test_a_change_that_changes_nothing_is_refused(
    grown: TestChain, genesis: Genesis, keys: TestKeys
) -> None:
    alliance = Alliance(grown, keys)
    nothing = alliance.change(10, alliance.one, alliance.one)
    raw = alliance.receipt(grown.blocks[0], [nothing], alliance.one)
    with pytest.raises(ReceiptRejected, match="announces another set"):
        verify_receipt(raw, genesis.trust_root())


def test_a_certified_transaction_of_another_chain_is_refused(
    chain: TestChain, genesis: Genesis, keys: TestKeys
) -> None:
    """A ledger that let it in would have erred; the receipt does not carry the error on."""
    foreign = build_transaction(
        [tx.Act(tick=tx.Tick())],
        chain_id="other-chain",
        expires_at=1,
        signer=MemberSigner("hospital-a", keys.member_seeds["hospital-a"]),
    )
    chain.append([foreign])
    with pytest.raises(ReceiptRejected, match="another chain"):
        verify_receipt(chain.receipt(1, 0), genesis.trust_root())


def test_the_receipts_of_a_block_are_those_made_one_by_one(
    grown: TestChain, genesis: Genesis
) -> None:
    receipts = BlockReceipts(grown.blocks[0], genesis.validators)
    assert [receipts.receipt(i) for i in range(5)] == [grown.receipt(1, i) for i in range(5)]
    with pytest.raises(IndexError):
        receipts.receipt(5)


def test_a_change_of_another_chain_is_refused(
    grown: TestChain, genesis: Genesis, keys: TestKeys
) -> None:
    alliance = Alliance(grown, keys)
    header = alliance.header(10, alliance.one, alliance.four)
    header.chain_id = "other-chain"
    commit = forged_commit(header, alliance.one, alliance.seeds)
    foreign = pb.ValidatorChange(
        header=exact_bytes(header),
        commit=exact_bytes(commit),
        validators=alliance.four.to_bytes(),
    )
    raw = alliance.receipt(
        grown.blocks[0], [foreign, alliance.change(20, alliance.four, alliance.three)]
    )
    with pytest.raises(ReceiptRejected, match="another chain"):
        verify_receipt(raw, genesis.trust_root())


def test_more_changes_than_anyone_makes_are_refused(grown: TestChain, genesis: Genesis) -> None:
    def flood(receipt: pb.Receipt) -> None:
        receipt.validator_changes.extend([pb.ValidatorChange()] * 1_001)

    with pytest.raises(ReceiptRejected) as caught:
        verify_receipt(changed(grown.receipt(1, 0), flood), genesis.trust_root())
    assert caught.value.step == "form"


def test_a_receipt_verifies_within_two_milliseconds_of_cpu(
    grown: TestChain, genesis: Genesis
) -> None:
    raw, root = grown.receipt(1, 0), genesis.trust_root()
    started = time.process_time()
    for _ in range(50):
        verify_receipt(raw, root)
    assert (time.process_time() - started) / 50 < 0.002  # measured 0.2 ms
