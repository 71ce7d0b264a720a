"""The light client: what it accepts, and each reason for which it rejects."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.checkpoint import (
    Checkpoint,
    CheckpointForeign,
    CheckpointMalformed,
    TrustRoot,
)
from cipherward_chain.comet import (
    Validator,
    ValidatorSet,
    ValidatorsMalformed,
    header_hash,
    parse_commit,
    parse_header,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient, check_next, verify_commit
from cipherward_chain.orders import Order
from cipherward_chain.rejections import (
    BlockMalformed,
    BlockRejected,
    ChainDiffers,
    CommitRejected,
    DataDiffers,
    HeightUnexpected,
    LinkBroken,
    OrdersRejected,
    ResultsDiffer,
    TimeNotIncreasing,
    ValidatorsDiffer,
)
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestChain, TestKeys, make_genesis, seed_of
from cipherward_chain.testing_forgery import forged_commit, resigned
from cipherward_chain.wire import exact_bytes, timestamp_of

Transactions = Callable[[int], list[bytes]]


def copy(block: pb.ProvenBlock) -> pb.ProvenBlock:
    twin = pb.ProvenBlock()
    twin.CopyFrom(block)
    return twin


@pytest.fixture
def long_chain(chain: TestChain, transactions: Transactions) -> TestChain:
    """Blocks 1 (three transactions, two orders), 2 (empty), 3 (one transaction), all proven."""
    made = transactions(4)
    orders = [chain.order(0, "release_key", record=bytes(16)), chain.order(1, "notify", to="b")]
    chain.append(made[:3], orders=orders)
    chain.append(made[3:])
    return chain


@pytest.fixture
def first(long_chain: TestChain) -> pb.ProvenBlock:
    return copy(long_chain.blocks[0])


def test_a_genuine_chain_is_accepted_block_by_block(
    long_chain: TestChain, transactions: Transactions
) -> None:
    long_chain.heartbeat()
    client = long_chain.light_client()
    found = [client.accept(block) for block in long_chain.blocks]
    assert [block.height for block in found] == [1, 2, 3, 4]
    assert found[0].transactions == tuple(transactions(3))
    assert [order.instruction for order in found[0].orders] == ["release_key", "notify"]
    assert found[0].results == (TransactionResult().to_bytes(),) * 3
    assert found[1].transactions == found[1].orders == ()
    assert found[0].app_hash == found[1].app_hash != found[2].app_hash
    assert found[0].next_time_ns == found[1].time_ns
    assert found[3].app_hash == long_chain.state.root()
    assert client.height == 4


def test_a_stored_checkpoint_goes_on_where_it_stands(
    long_chain: TestChain, genesis: Genesis
) -> None:
    client = long_chain.light_client()
    client.accept(long_chain.blocks[0])
    stored = client.accept(long_chain.blocks[1]).checkpoint.to_bytes()
    again = LightClient(genesis.trust_root(), Checkpoint.from_bytes(stored))
    assert again.height == 2
    assert again.accept(long_chain.blocks[2]).height == 3


def test_verifying_alone_does_not_move_the_client(long_chain: TestChain) -> None:
    client = long_chain.light_client()
    verified = client.verify(long_chain.blocks[0])
    assert client.height == 0
    assert client.verify(long_chain.blocks[0]) == verified
    client.stand_on(verified.checkpoint)
    assert client.height == 1


def test_a_rejected_block_changes_nothing(long_chain: TestChain) -> None:
    client = long_chain.light_client()
    forged = copy(long_chain.blocks[0])
    forged.transactions.pop()
    with pytest.raises(BlockRejected):
        client.accept(forged)
    assert client.height == 0
    assert client.accept(long_chain.blocks[0]).height == 1


def test_a_checkpoint_of_another_chain_or_genesis_is_refused(long_chain: TestChain) -> None:
    checkpoint = long_chain.light_client().accept(long_chain.blocks[0]).checkpoint
    for other in (make_genesis(chain_id="other-chain")[0], make_genesis(members=3)[0]):
        with pytest.raises(CheckpointForeign):
            LightClient(other.trust_root(), checkpoint)


@pytest.mark.parametrize("cut", [slice(0, -1), slice(1, None), slice(0, 0)])
def test_bytes_that_are_no_checkpoint_are_refused(long_chain: TestChain, cut: slice) -> None:
    stored = long_chain.light_client().accept(long_chain.blocks[0]).checkpoint.to_bytes()
    with pytest.raises(CheckpointMalformed):
        Checkpoint.from_bytes(stored[cut])


def test_a_checkpoint_of_a_later_format_is_refused(long_chain: TestChain) -> None:
    stored = long_chain.light_client().accept(long_chain.blocks[0]).checkpoint.to_bytes()
    with pytest.raises(CheckpointMalformed, match="format 2"):
        Checkpoint.from_bytes(stored.replace(b"fformat\x01", b"fformat\x02"))


def test_a_block_left_out_or_repeated_is_rejected(long_chain: TestChain) -> None:
    client = long_chain.light_client()
    with pytest.raises(HeightUnexpected):
        client.accept(long_chain.blocks[1])
    client.accept(long_chain.blocks[0])
    with pytest.raises(HeightUnexpected):
        client.accept(long_chain.blocks[0])


def test_a_next_header_that_skips_a_height_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock
) -> None:
    first.next_header = long_chain.blocks[1].next_header
    first.next_commit = long_chain.blocks[1].next_commit
    with pytest.raises(HeightUnexpected):
        long_chain.light_client().accept(first)


def test_a_block_of_another_chain_with_the_same_keys_is_rejected(
    first: pb.ProvenBlock,
) -> None:
    other, _ = make_genesis(chain_id="other-chain")
    with pytest.raises(ChainDiffers):
        LightClient(other.trust_root()).accept(first)


def test_a_header_of_another_protocol_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, genesis: Genesis, keys: TestKeys
) -> None:
    def change(header: comet.Header) -> None:
        header.version.block = 12

    with pytest.raises(ChainDiffers):
        long_chain.light_client().accept(resigned(first, genesis, keys, change))


def test_a_branch_that_was_not_certified_is_rejected(
    genesis: Genesis, keys: TestKeys, long_chain: TestChain, transactions: Transactions
) -> None:
    """Both branches are signed by the true validator: which came first decides."""
    branch = TestChain(genesis, keys)
    branch.append(transactions(3))
    branch.append(transactions(1))
    client = long_chain.light_client()
    client.accept(long_chain.blocks[0])
    with pytest.raises(LinkBroken):
        client.accept(branch.blocks[1])


def test_a_next_header_that_names_another_block_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, genesis: Genesis, keys: TestKeys
) -> None:
    def change(header: comet.Header) -> None:
        header.last_block_id.hash = bytes(32)

    with pytest.raises(LinkBroken):
        long_chain.light_client().accept(resigned(first, genesis, keys, change))


def test_a_first_header_with_a_block_before_it_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, genesis: Genesis, keys: TestKeys
) -> None:
    first_header = parse_header(first.header)
    first_header.last_block_id.hash = bytes(32)
    first.header = exact_bytes(first_header)

    def change(header: comet.Header) -> None:
        header.last_block_id.hash = header_hash(first_header)

    with pytest.raises(LinkBroken, match="before it"):
        long_chain.light_client().accept(resigned(first, genesis, keys, change))


@pytest.mark.parametrize("field", ["validators_hash", "next_validators_hash"])
def test_a_first_header_cannot_bring_validators_of_its_own(
    long_chain: TestChain, first: pb.ProvenBlock, field: str
) -> None:
    """Nothing signs the first header before its successor: its sets are those of the genesis."""
    thief = ValidatorSet.of([Validator(SigningKey(seed_of("thief")).public_key, 10)])
    header = parse_header(first.header)
    setattr(header, field, thief.hash())
    first.header = exact_bytes(header)
    follows = parse_header(first.next_header)
    follows.last_block_id.hash = header_hash(header)
    follows.validators_hash = header.next_validators_hash
    follows.proposer_address = thief.validators[0].address
    first.next_header = exact_bytes(follows)
    seeds = {thief.validators[0].public_key: seed_of("thief")}
    first.next_commit = exact_bytes(forged_commit(follows, thief, seeds))
    first.next_validators = thief.to_bytes()
    with pytest.raises(ValidatorsDiffer):
        long_chain.light_client().accept(first)


@pytest.mark.parametrize("later_ns", [0, -1])
def test_a_header_that_is_not_later_is_rejected(
    long_chain: TestChain,
    first: pb.ProvenBlock,
    genesis: Genesis,
    keys: TestKeys,
    later_ns: int,
) -> None:
    time = parse_header(first.header).time
    at = time.seconds * 10**9 + time.nanos + later_ns

    def change(header: comet.Header) -> None:
        header.time.CopyFrom(timestamp_of(at))

    with pytest.raises(TimeNotIncreasing):
        long_chain.light_client().accept(resigned(first, genesis, keys, change))


def test_transactions_that_are_not_those_of_the_header_are_rejected(
    long_chain: TestChain, first: pb.ProvenBlock
) -> None:
    genuine = list(first.transactions)
    for transactions in (genuine[:-1], [*genuine, b"more"], genuine[::-1]):
        forged = copy(first)
        del forged.transactions[:]
        forged.transactions.extend(transactions)
        with pytest.raises(DataDiffers):
            long_chain.light_client().accept(forged)


def test_results_that_are_not_certified_are_rejected(
    long_chain: TestChain, first: pb.ProvenBlock
) -> None:
    refused = TransactionResult(reason="REFUSED").to_bytes()
    for results in ([refused, *first.results[1:]], first.results[:2], []):
        forged = copy(first)
        del forged.results[:]
        forged.results.extend(results)
        with pytest.raises(ResultsDiffer):
            long_chain.light_client().accept(forged)


def _proof_of_another_state(block: pb.ProvenBlock) -> None:
    block.orders_proof.siblings[3] = bytes(32)


def _proof_of_another_key(block: pb.ProvenBlock) -> None:
    block.orders_proof.key = b"parameters"


def _order_left_out(block: pb.ProvenBlock) -> None:
    block.orders.pop()


def _order_added(block: pb.ProvenBlock) -> None:
    block.orders.append(Order(1, 2, bytes(16), "t", "release_key", {}).to_bytes())


def _orders_swapped(block: pb.ProvenBlock) -> None:
    block.orders.reverse()


def _order_not_canonical(block: pb.ProvenBlock) -> None:
    block.orders[0] += b"\0"


@pytest.mark.parametrize(
    "change",
    [
        _proof_of_another_state,
        _proof_of_another_key,
        _order_left_out,
        _order_added,
        _orders_swapped,
        _order_not_canonical,
    ],
)
def test_orders_that_are_not_proven_are_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, change: Callable[[pb.ProvenBlock], None]
) -> None:
    change(first)
    with pytest.raises(OrdersRejected):
        long_chain.light_client().accept(first)


def test_orders_without_a_proof_are_rejected(long_chain: TestChain, first: pb.ProvenBlock) -> None:
    first.ClearField("orders_proof")
    with pytest.raises(OrdersRejected, match="not proven"):
        long_chain.light_client().accept(first)


@pytest.mark.parametrize(("height", "index"), [(1, 1), (2, 0)])
def test_an_order_that_is_numbered_wrongly_is_rejected(
    chain: TestChain, transactions: Transactions, height: int, index: int
) -> None:
    """The state machine itself erred: the proof is right, the number is not."""
    order = Order(height, index, bytes(16), "t", "release_key", {})
    block = chain.append(transactions(1), orders=[order])
    with pytest.raises(OrdersRejected, match="numbered"):
        chain.light_client().accept(block)


def test_the_orders_of_an_earlier_block_are_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, transactions: Transactions
) -> None:
    """The same entry under the same app hash: its height says whose orders they are."""
    client = long_chain.light_client()
    client.accept(long_chain.blocks[0])
    client.accept(long_chain.blocks[1])
    forged = copy(long_chain.blocks[2])
    forged.orders.extend(first.orders)
    forged.orders_proof.CopyFrom(first.orders_proof)
    with pytest.raises(OrdersRejected):
        client.accept(forged)


def test_an_empty_block_that_orders_something_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock
) -> None:
    client = long_chain.light_client()
    client.accept(long_chain.blocks[0])
    with_orders, with_proof = copy(long_chain.blocks[1]), copy(long_chain.blocks[1])
    with_orders.orders.extend(first.orders)
    with_proof.orders_proof.CopyFrom(first.orders_proof)
    for forged in (with_orders, with_proof):
        with pytest.raises(OrdersRejected):
            client.accept(forged)


@pytest.mark.parametrize("field", ["header", "next_header", "next_commit", "next_validators"])
@pytest.mark.parametrize("octets", [b"junk", b"\xfa\x01\x00", b"\x0a\x00\x0a\x00"])
def test_a_part_that_is_no_message_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, field: str, octets: bytes
) -> None:
    setattr(first, field, octets)
    with pytest.raises(BlockMalformed):
        long_chain.light_client().accept(first)


@pytest.mark.parametrize("field", ["header", "next_header", "next_commit"])
def test_a_part_with_an_unknown_field_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, field: str
) -> None:
    setattr(first, field, getattr(first, field) + b"\xfa\x01\x00")  # field 31, empty
    with pytest.raises(BlockMalformed):
        long_chain.light_client().accept(first)


def test_a_set_that_has_not_changed_is_not_sent_again(
    long_chain: TestChain, first: pb.ProvenBlock, genesis: Genesis
) -> None:
    first.next_validators = genesis.validators.to_bytes()
    with pytest.raises(BlockMalformed):
        long_chain.light_client().accept(first)


def test_a_set_that_was_not_announced_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock
) -> None:
    thief = ValidatorSet.of([Validator(SigningKey(seed_of("thief")).public_key, 10)])
    first.next_validators = thief.to_bytes()
    with pytest.raises(ValidatorsDiffer):
        long_chain.light_client().accept(first)


def test_every_flipped_bit_of_a_proven_block_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock
) -> None:
    raw = exact_bytes(first)
    for bit in range(0, 8 * len(raw), 13):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            forged = pb.ProvenBlock.FromString(bytes(flipped))
            forged.DiscardUnknownFields()
        except Exception:
            continue
        if forged == first:
            continue
        with pytest.raises(BlockRejected):
            long_chain.light_client().accept(forged)


# --- commits of several validators, and changes of the set


FOUR = [seed_of(f"validator-{n}") for n in range(4)]
SEEDS = {SigningKey(seed).public_key: seed for seed in FOUR}
SET = ValidatorSet.of([Validator(key, 1) for key in SEEDS])
PUBLIC = [validator.public_key for validator in SET.validators]


@pytest.fixture
def header(first: pb.ProvenBlock) -> comet.Header:
    made = parse_header(first.next_header)
    made.validators_hash = SET.hash()
    made.proposer_address = SET.validators[0].address
    return made


def test_three_of_four_commit_and_two_do_not(header: comet.Header) -> None:
    three = {key: SEEDS[key] for key in PUBLIC[:3]}
    verify_commit(header, forged_commit(header, SET, three), SET)
    two = {key: SEEDS[key] for key in PUBLIC[:2]}
    with pytest.raises(CommitRejected, match="2 of 4"):
        verify_commit(header, forged_commit(header, SET, two), SET)


def test_exactly_two_thirds_do_not_commit(header: comet.Header) -> None:
    three = ValidatorSet.of([Validator(key, 1) for key in PUBLIC[:3]])
    header.validators_hash = three.hash()
    header.proposer_address = three.validators[0].address
    seeds = {v.public_key: SEEDS[v.public_key] for v in three.validators[:2]}
    with pytest.raises(CommitRejected, match="2 of 3"):
        verify_commit(header, forged_commit(header, three, seeds), three)


def test_votes_for_no_block_do_not_count_and_are_checked(header: comet.Header) -> None:
    verify_commit(header, forged_commit(header, SET, SEEDS, nil=frozenset(PUBLIC[:1])), SET)
    with pytest.raises(CommitRejected, match="2 of 4"):
        verify_commit(header, forged_commit(header, SET, SEEDS, nil=frozenset(PUBLIC[:2])), SET)
    forged = forged_commit(header, SET, SEEDS, nil=frozenset(PUBLIC[:1]))
    forged.signatures[0].signature = bytes(64)
    with pytest.raises(CommitRejected):
        verify_commit(header, forged, SET)


def test_power_counts_not_heads(header: comet.Header) -> None:
    heavy = ValidatorSet.of([Validator(PUBLIC[0], 7), *(Validator(k, 1) for k in PUBLIC[1:])])
    header.validators_hash = heavy.hash()
    verify_commit(header, forged_commit(header, heavy, {PUBLIC[0]: SEEDS[PUBLIC[0]]}), heavy)
    rest = {key: SEEDS[key] for key in PUBLIC[1:]}
    with pytest.raises(CommitRejected, match="3 of 10"):
        verify_commit(header, forged_commit(header, heavy, rest), heavy)


def _another_height(commit: comet.Commit) -> None:
    commit.height += 1


def _another_round(commit: comet.Commit) -> None:
    commit.round += 1


def _negative_round(commit: comet.Commit) -> None:
    commit.round = -1


def _another_block(commit: comet.Commit) -> None:
    commit.block_id.hash = bytes(32)


def _other_parts(commit: comet.Commit) -> None:
    commit.block_id.part_set_header.total += 1


def _no_parts(commit: comet.Commit) -> None:
    commit.block_id.part_set_header.hash = b""


def _another_time(commit: comet.Commit) -> None:
    commit.signatures[0].timestamp.nanos ^= 1


def _another_address(commit: comet.Commit) -> None:
    commit.signatures[0].validator_address = commit.signatures[1].validator_address


def _one_twice(commit: comet.Commit) -> None:
    commit.signatures[0].CopyFrom(commit.signatures[1])


def _one_too_few(commit: comet.Commit) -> None:
    commit.signatures.pop()


def _one_too_many(commit: comet.Commit) -> None:
    commit.signatures.add().CopyFrom(commit.signatures[0])


def _unknown_flag(commit: comet.Commit) -> None:
    commit.signatures[0].block_id_flag = comet.BLOCK_ID_FLAG_UNSPECIFIED


def _absent_with_a_signature(commit: comet.Commit) -> None:
    commit.signatures[0].block_id_flag = comet.BLOCK_ID_FLAG_ABSENT


def _nil_that_is_a_vote(commit: comet.Commit) -> None:
    commit.signatures[0].block_id_flag = comet.BLOCK_ID_FLAG_NIL


def _short_signature(commit: comet.Commit) -> None:
    commit.signatures[0].signature = commit.signatures[0].signature[:-1]


@pytest.mark.parametrize(
    "change",
    [
        _another_height,
        _another_round,
        _negative_round,
        _another_block,
        _other_parts,
        _no_parts,
        _another_time,
        _another_address,
        _one_twice,
        _one_too_few,
        _one_too_many,
        _unknown_flag,
        _absent_with_a_signature,
        _nil_that_is_a_vote,
        _short_signature,
    ],
)
def test_a_commit_with_anything_wrong_is_rejected(
    header: comet.Header, change: Callable[[comet.Commit], None]
) -> None:
    commit = forged_commit(header, SET, SEEDS)
    verify_commit(header, commit, SET)
    change(commit)
    with pytest.raises(CommitRejected):
        verify_commit(header, commit, SET)


def test_a_vote_of_an_unknown_kind_is_not_taken_for_one_for_no_block(header: comet.Header) -> None:
    commit = forged_commit(header, SET, SEEDS, nil=frozenset(PUBLIC[:1]))
    verify_commit(header, commit, SET)
    commit.signatures[0].block_id_flag = comet.BLOCK_ID_FLAG_UNSPECIFIED
    with pytest.raises(CommitRejected, match="unknown kind"):
        verify_commit(header, commit, SET)


def test_a_round_below_zero_is_rejected_although_signed(header: comet.Header) -> None:
    verify_commit(header, forged_commit(header, SET, SEEDS, round_=3), SET)
    with pytest.raises(CommitRejected, match="round"):
        verify_commit(header, forged_commit(header, SET, SEEDS, round_=-1), SET)


def test_a_next_header_with_a_set_that_was_not_announced_does_not_follow(
    first: pb.ProvenBlock, genesis: Genesis
) -> None:
    one, two = parse_header(first.header), parse_header(first.next_header)
    check_next(one, two, genesis.chain_id)
    two.validators_hash = SET.hash()
    with pytest.raises(ValidatorsDiffer, match="announced"):
        check_next(one, two, genesis.chain_id)


def test_a_validator_has_power_and_an_ed25519_key() -> None:
    for validator in (Validator(PUBLIC[0], 0), Validator(PUBLIC[0][1:], 1)):
        with pytest.raises(ValidatorsMalformed, match="no power or no Ed25519 key"):
            ValidatorSet((validator,))


@pytest.mark.parametrize("name", ["proposer_address", "last_block_id"])
def test_a_header_with_a_short_hash_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, name: str
) -> None:
    header = parse_header(first.header)
    if name == "last_block_id":
        header.last_block_id.hash = bytes(31)
    else:
        header.proposer_address = bytes(19)
    first.header = exact_bytes(header)
    with pytest.raises(BlockMalformed):
        long_chain.light_client().accept(first)


def test_a_proposer_that_is_no_validator_is_rejected(header: comet.Header) -> None:
    header.proposer_address = bytes(20)
    with pytest.raises(ValidatorsDiffer):
        verify_commit(header, forged_commit(header, SET, SEEDS), SET)


def test_a_changed_set_of_validators_is_followed(
    long_chain: TestChain, genesis: Genesis, keys: TestKeys
) -> None:
    """Header 2 announces four validators: they sign header 3, and the old one signs no more."""

    def announce(header: comet.Header) -> None:
        header.next_validators_hash = SET.hash()

    old = genesis.validators.validators[0].public_key
    one = resigned(long_chain.blocks[0], genesis, keys, announce)
    client = long_chain.light_client()
    client.accept(one)
    two = copy(long_chain.blocks[1])
    two.header = one.next_header
    three = parse_header(two.next_header)
    three.last_block_id.hash = parse_commit(one.next_commit).block_id.hash
    three.validators_hash = three.next_validators_hash = SET.hash()
    three.proposer_address = SET.validators[1].address
    two.next_header = exact_bytes(three)
    two.next_commit = exact_bytes(
        forged_commit(three, genesis.validators, {old: keys.validator_seed})
    )
    with pytest.raises(ValidatorsDiffer):
        client.accept(two)
    two.next_commit = exact_bytes(forged_commit(three, SET, SEEDS))
    with pytest.raises(ValidatorsDiffer):  # the set itself was not sent
        client.accept(two)
    two.next_validators = SET.to_bytes()
    assert client.accept(two).checkpoint.validators == SET
    stored = client.checkpoint
    assert stored is not None
    assert Checkpoint.from_bytes(stored.to_bytes()) == stored


def test_a_trust_root_with_other_validators_accepts_nothing(
    genesis: Genesis, first: pb.ProvenBlock
) -> None:
    root = TrustRoot(genesis.chain_id, genesis.digest, SET, "cometbft")
    with pytest.raises(ValidatorsDiffer):
        LightClient(root).accept(first)


def _with_proposer(message: comet.ValidatorSet) -> None:
    message.proposer.CopyFrom(message.validators[0])


def _with_priority(message: comet.ValidatorSet) -> None:
    message.validators[0].proposer_priority = 1


def _with_total(message: comet.ValidatorSet) -> None:
    message.total_voting_power = 4


def _with_another_address(message: comet.ValidatorSet) -> None:
    message.validators[0].address = bytes(20)


def _without_power(message: comet.ValidatorSet) -> None:
    message.validators[0].voting_power = 0


def _out_of_order(message: comet.ValidatorSet) -> None:
    one, two = message.validators[0], comet.Validator()
    two.CopyFrom(one)
    one.CopyFrom(message.validators[1])
    message.validators[1].CopyFrom(two)


def _twice(message: comet.ValidatorSet) -> None:
    message.validators[1].CopyFrom(message.validators[0])


def _empty(message: comet.ValidatorSet) -> None:
    message.Clear()


@pytest.mark.parametrize(
    "change",
    [
        _with_proposer,
        _with_priority,
        _with_total,
        _with_another_address,
        _without_power,
        _out_of_order,
        _twice,
        _empty,
    ],
)
def test_a_set_of_validators_has_one_form(change: Callable[[comet.ValidatorSet], None]) -> None:
    assert ValidatorSet.from_bytes(SET.to_bytes()) == SET
    message = comet.ValidatorSet.FromString(SET.to_bytes())
    change(message)
    with pytest.raises(ValidatorsMalformed):
        ValidatorSet.from_bytes(exact_bytes(message))


@pytest.mark.parametrize("name", ["version", "time", "last_block_id", "validators_hash"])
def test_a_header_without_what_is_always_written_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, name: str
) -> None:
    header = parse_header(first.header)
    header.ClearField(name)  # pyright: ignore[reportArgumentType] - the stubs know literal names only
    first.header = exact_bytes(header)
    with pytest.raises(BlockMalformed):
        long_chain.light_client().accept(first)


@pytest.mark.parametrize("clear", ["block_id", "timestamp", "parts"])
def test_a_commit_without_what_is_always_written_is_rejected(
    long_chain: TestChain, first: pb.ProvenBlock, clear: str
) -> None:
    commit = parse_commit(first.next_commit)
    if clear == "block_id":
        commit.ClearField("block_id")
    elif clear == "parts":
        commit.block_id.ClearField("part_set_header")
    else:
        commit.signatures[0].ClearField("timestamp")
    first.next_commit = exact_bytes(commit)
    with pytest.raises(BlockMalformed):
        long_chain.light_client().accept(first)
