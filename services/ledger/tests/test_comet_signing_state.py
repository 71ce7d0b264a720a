"""What the chain shows of this node's votes, held to what the node has signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.wire import NANOS, timestamp_of
from cipherward_ledger.comet.errors import ConsensusKeyShared, NodeFilesUnusable
from cipherward_ledger.comet.node_files import SIGNED_PRECOMMIT, NodeHome
from cipherward_ledger.comet.signing_state import CLOCKS_APART_NS, VOTES_KEPT, SigningState

OWN, OTHER = bytes([9]) * 20, bytes([8]) * 20
BEGAN_NS = 1_700_000_000 * NANOS
BEFORE_NS, SINCE_NS = BEGAN_NS - NANOS, BEGAN_NS + CLOCKS_APART_NS + 1
MINE, ANOTHER = b"m" * 64, b"a" * 64
PREVOTE = 2


class Node:
    """A node's record, and the guard that reads it."""

    def __init__(self, folder: Path) -> None:
        self.home = NodeHome(folder)
        self.home.signed.parent.mkdir()

    def guard(self, *, fresh: bool = False) -> SigningState:
        return SigningState(self.home, OWN, fresh=fresh, began_ns=BEGAN_NS)

    def signed(
        self, height: int, round_: int = 0, step: int = SIGNED_PRECOMMIT, signature: bytes = MINE
    ) -> None:
        record: dict[str, Any] = {"height": str(height), "round": round_, "step": step}
        if signature:
            record["signature"] = base64.b64encode(signature).decode()
        self.home.signed.write_text(json.dumps(record))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def block(
    height: int,
    flag: comet.BlockIdFlag.ValueType = comet.BLOCK_ID_FLAG_COMMIT,
    time_ns: int = BEFORE_NS,
) -> abci.RequestFinalizeBlock:
    """Return a block that shows how this node voted for the one before."""
    request = abci.RequestFinalizeBlock(height=height, time=timestamp_of(time_ns))
    validator = abci.VoteValidator(address=OWN)
    request.decided_last_commit.votes.add(validator=validator, block_id_flag=flag)
    return request


def commit(
    height: int,
    signature: bytes = MINE,
    round_: int = 0,
    time_ns: int = BEFORE_NS,
    flag: comet.BlockIdFlag.ValueType = comet.BLOCK_ID_FLAG_COMMIT,
) -> comet.Commit:
    """Return a commit with another's vote and this node's."""
    found = comet.Commit(height=height, round=round_)
    found.signatures.add(validator_address=OTHER, signature=b"o" * 64)
    found.signatures.add(
        validator_address=OWN,
        signature=signature,
        block_id_flag=flag,
        timestamp=timestamp_of(time_ns),
    )
    return found


@pytest.mark.parametrize(
    ("time_ns", "kind"),
    [(BEFORE_NS, NodeFilesUnusable), (SINCE_NS, ConsensusKeyShared)],
    ids=["made before this process", "made while it runs"],
)
async def test_a_vote_above_the_record_stops_the_node(
    node: Node, time_ns: int, kind: type[Exception]
) -> None:
    node.signed(4)
    with pytest.raises(kind):
        await node.guard().look(block(6, time_ns=time_ns))
    with pytest.raises(kind):
        await node.guard().compare_newest(commit(6, time_ns=time_ns))


async def test_a_vote_on_record_or_none_at_all_stops_nothing(node: Node) -> None:
    for height in (5, 9):
        node.signed(height)
        await node.guard().look(block(6))
        await node.guard().compare_newest(commit(5))
    node.signed(4)
    await node.guard().look(block(6, comet.BLOCK_ID_FLAG_ABSENT))
    await node.guard().compare_newest(commit(6, flag=comet.BLOCK_ID_FLAG_ABSENT))


async def test_a_new_folder_bears_the_votes_of_an_earlier_one(node: Node) -> None:
    """ADR 0013 says from where it signs."""
    node.signed(4, signature=b"")
    guard = node.guard(fresh=True)
    await guard.look(block(6))
    await guard.compare_newest(commit(6))
    guard.compare(commit(6))


async def test_a_new_folder_is_stopped_by_a_vote_that_somebody_makes_now(node: Node) -> None:
    node.signed(4, signature=b"")
    with pytest.raises(ConsensusKeyShared, match="at height 5"):
        await node.guard(fresh=True).look(block(6, time_ns=SINCE_NS))
    with pytest.raises(ConsensusKeyShared, match="installed twice"):
        await node.guard(fresh=True).compare_newest(commit(6, time_ns=SINCE_NS))


@pytest.mark.parametrize(
    "flag", [comet.BLOCK_ID_FLAG_COMMIT, comet.BLOCK_ID_FLAG_NIL], ids=["for", "nil"]
)
async def test_another_signature_at_a_height_of_its_own_vote_is_a_second_process(
    node: Node, flag: comet.BlockIdFlag.ValueType
) -> None:
    """Twins vote for the same block, each at its own time: nothing but the signature differs."""
    node.signed(5)
    guard = node.guard()
    await guard.look(block(5, comet.BLOCK_ID_FLAG_ABSENT))
    assert guard.voted_at(5)
    guard.compare(commit(5, flag=flag))
    with pytest.raises(ConsensusKeyShared, match="at height 5"):
        guard.compare(commit(5, ANOTHER, flag=flag, time_ns=SINCE_NS))


async def test_an_older_copy_that_has_voted_anew_is_named_when_the_first_vote_is_in_a_block(
    node: Node,
) -> None:
    """Nothing told that it lacked this one vote before it made it again."""
    node.signed(5)
    guard = node.guard()
    await guard.look(block(5))
    with pytest.raises(NodeFilesUnusable, match="older copy"):
        guard.compare(commit(5, ANOTHER))


async def test_a_vote_in_a_round_in_which_the_node_has_cast_none_is_another_ones(
    node: Node,
) -> None:
    guard = node.guard()
    for place in ((5, 0, SIGNED_PRECOMMIT), (5, 1, PREVOTE)):
        node.signed(*place)
        await guard.look(block(5))
        with pytest.raises(ConsensusKeyShared):
            guard.compare(commit(5, ANOTHER, round_=1, time_ns=SINCE_NS))


async def test_a_record_of_a_later_vote_says_nothing_of_an_earlier_one(node: Node) -> None:
    guard = node.guard()
    for place in ((6, 0, PREVOTE), (5, 2, PREVOTE)):
        node.signed(*place)
        await guard.look(block(5))
        guard.compare(commit(5, ANOTHER, round_=1, time_ns=SINCE_NS))


async def test_a_height_that_was_decided_before_this_process_is_not_compared(node: Node) -> None:
    node.signed(5)
    guard = node.guard()
    assert not guard.voted_at(5)
    guard.compare(commit(5, ANOTHER, time_ns=SINCE_NS))


async def test_few_votes_are_remembered(node: Node) -> None:
    guard = node.guard()
    for height in range(1, VOTES_KEPT + 2):
        node.signed(height)
        await guard.look(block(height, comet.BLOCK_ID_FLAG_ABSENT))
    assert [guard.voted_at(height) for height in (1, 2, VOTES_KEPT + 1)] == [False, True, True]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"height": "x", "round": 0, "step": 3}'])
async def test_a_record_that_cannot_be_read_stops_the_node(node: Node, content: str) -> None:
    node.home.signed.write_text(content)
    with pytest.raises(NodeFilesUnusable, match="cannot be read"):
        await node.guard().look(block(6))
