"""Blocks of a solo chain: CometBFT's form, and time that only goes forward."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    PART_BYTES,
    block_id,
    commit_hash,
    data_hash,
    empty_commit,
    parse_commit,
    parse_header,
    part_set,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import check_next, verify_commit
from cipherward_chain.merkle import EMPTY_ROOT, root
from cipherward_chain.solo import Executed, NotTheValidator, SoloBlock, SoloProposer
from cipherward_chain.testing import TestKeys, seed_of
from cipherward_chain.wire import parse_exact


@pytest.fixture
def proposer(genesis: Genesis, keys: TestKeys) -> SoloProposer:
    return SoloProposer(genesis, keys.validator_seed)


def three_blocks(proposer: SoloProposer, genesis: Genesis) -> list[SoloBlock]:
    one = proposer.next_block(None, Executed(bytes(32)), [b"a"], genesis.time_ns + 5)
    two = proposer.next_block(one, Executed(b"\1" * 32, root([b"r"])), [], genesis.time_ns + 6)
    three = proposer.next_block(two, Executed(b"\1" * 32), [b"b", b"c"], genesis.time_ns + 7)
    return [one, two, three]


def test_blocks_link_verify_and_carry_the_commit_before(
    proposer: SoloProposer, genesis: Genesis
) -> None:
    blocks = three_blocks(proposer, genesis)
    before = empty_commit()
    for block in blocks:
        header, commit = parse_header(block.header), parse_commit(block.commit)
        verify_commit(header, commit, genesis.validators)
        whole = parse_exact(comet.Block, block.block)
        assert whole.header == header
        assert whole.last_commit == before
        assert header.last_commit_hash == commit_hash(before)
        assert header.data_hash == data_hash(whole.data.txs)
        assert commit.block_id == block_id(header, block.block)
        before = commit
    for one, other in pairwise(blocks):
        check_next(parse_header(one.header), parse_header(other.header), genesis.chain_id)


def test_the_next_header_certifies_what_execution_answered(
    proposer: SoloProposer, genesis: Genesis
) -> None:
    _, two, three = three_blocks(proposer, genesis)
    assert parse_header(two.header).last_results_hash == root([b"r"])
    assert parse_header(two.header).app_hash == b"\1" * 32
    assert parse_header(three.header).last_results_hash == EMPTY_ROOT


def test_a_header_names_the_machine_version_that_executes_it(
    proposer: SoloProposer, genesis: Genesis
) -> None:
    one = proposer.next_block(None, Executed(bytes(32)), [], genesis.time_ns + 5)
    two = proposer.next_block(one, Executed(bytes(32), machine_version=2), [], genesis.time_ns + 6)
    versions = [parse_header(block.header).version.app for block in (one, two)]
    assert versions == [genesis.machine_version, 2]
    verify_commit(parse_header(two.header), parse_commit(two.commit), proposer.validators)


def test_the_same_block_is_made_again_byte_for_byte(
    proposer: SoloProposer, genesis: Genesis
) -> None:
    assert three_blocks(proposer, genesis) == three_blocks(proposer, genesis)


def test_a_clock_that_was_set_back_stops_no_block(proposer: SoloProposer, genesis: Genesis) -> None:
    early = proposer.next_block(None, Executed(b""), [], 0)
    assert early.time_ns == genesis.time_ns
    later = proposer.next_block(early, Executed(b""), [], 0)
    assert later.time_ns == genesis.time_ns + 1


def test_another_key_makes_no_blocks(genesis: Genesis) -> None:
    with pytest.raises(NotTheValidator):
        SoloProposer(genesis, seed_of("thief"))


@pytest.mark.parametrize(
    ("length", "parts"),
    [(1, 1), (PART_BYTES, 1), (PART_BYTES + 1, 2), (5 * PART_BYTES, 5)],
)
def test_a_block_is_cut_into_parts_of_64_kib(length: int, parts: int) -> None:
    octets = bytes(length)
    found = part_set(octets)
    assert found.total == parts
    cut = [octets[at : at + PART_BYTES] for at in range(0, length, PART_BYTES)]
    assert found.hash == root(cut)
