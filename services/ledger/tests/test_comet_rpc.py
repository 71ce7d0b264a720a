"""The node's answers become bytes that the chain's hashes cover; transactions reach the node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import data_hash, header_hash, parse_commit, parse_header
from cipherward_chain.light import verify_commit
from cipherward_chain.testing import GENESIS_TIME_NS
from cipherward_kit.testing import eventually
from cipherward_ledger.comet import broadcaster as broadcasting
from cipherward_ledger.comet.broadcaster import BATCH_MAX, Broadcaster
from cipherward_ledger.comet.node_rpc import NodeAway, NodeRefuses, NodeRpc, open_node_rpc
from cipherward_ledger.comet.testing import Json, RecordedNode, serve_recorded
from cipherward_ledger.mempool import Bounds, Entry, Mempool

# Answers of CometBFT 0.40.0: four validators, one of them away in the newest commit.
RECORDED = Path(__file__).parent / "recorded_node_answers.json"


@pytest.fixture
def answers() -> dict[str, Json]:
    return json.loads(RECORDED.read_bytes())


@pytest.fixture
async def node(answers: dict[str, Json]) -> RecordedNode:
    return RecordedNode(answers)


@pytest.fixture
async def rpc(node: RecordedNode, tmp_path: Path) -> AsyncIterator[NodeRpc]:
    async with serve_recorded(tmp_path, node) as opened:
        yield opened


def heights(answers: dict[str, Json]) -> list[int]:
    return sorted(int(name.split()[1]) for name in answers if name.startswith("commit "))


async def test_headers_and_commits_are_reproduced_to_the_byte(
    rpc: NodeRpc, answers: dict[str, Json]
) -> None:
    found = await rpc.commits(heights(answers))
    validators = await rpc.validators(found[-1].header.height)
    flags: set[int] = set()
    for certified in found:
        header = parse_header(certified.header_bytes)  # refuses whatever has a second form
        commit = parse_commit(certified.commit_bytes)
        assert header_hash(header) == commit.block_id.hash
        assert header.validators_hash == validators.hash()
        verify_commit(header, commit, validators)  # every signature, over its own bytes
        flags |= {signature.block_id_flag for signature in commit.signatures}
    assert flags == {comet.BLOCK_ID_FLAG_COMMIT, comet.BLOCK_ID_FLAG_ABSENT}


async def test_a_blocks_transactions_are_those_of_its_header(
    rpc: NodeRpc, answers: dict[str, Json]
) -> None:
    for certified in await rpc.commits(heights(answers)):
        header = certified.header
        if header.data_hash != data_hash(()):
            assert data_hash(await rpc.transactions(header.height)) == header.data_hash
            return
    raise AssertionError("no recorded block has transactions")


async def test_the_status_is_read(rpc: NodeRpc) -> None:
    status = await rpc.status()
    assert status.height >= 1
    assert not status.catching_up


async def test_what_the_node_does_not_have_is_refused_in_its_words(rpc: NodeRpc) -> None:
    with pytest.raises(NodeRefuses, match="it has none"):
        await rpc.commits([999])


@pytest.mark.parametrize("spoilt", ["AppHash", "chain", "height"])
async def test_a_commit_of_another_header_is_refused(
    rpc: NodeRpc, answers: dict[str, Json], spoilt: str
) -> None:
    header = answers["commit 1"]["result"]["signed_header"]["header"]  # type: ignore[index]
    change = {
        "AppHash": ("app_hash", "00" * 32),
        "chain": ("chain_id", "b"),
        "height": ("height", "2"),
    }
    name, value = change[spoilt]
    header[name] = value
    with pytest.raises(NodeRefuses, match="not for its header"):
        await rpc.commits([1])


@pytest.mark.parametrize("result", [None, {}, {"signed_header": {"header": 1}}, []])
async def test_an_answer_out_of_form_is_refused(
    rpc: NodeRpc, answers: dict[str, Json], result: object
) -> None:
    answers["commit 1"] = {"result": result}
    with pytest.raises(NodeRefuses, match="out of form"):
        await rpc.commits([1])


async def test_a_node_that_is_not_there_is_away(tmp_path: Path) -> None:
    async with open_node_rpc(tmp_path) as rpc:
        with pytest.raises(NodeAway):
            await rpc.status()


def entry(number: int, size: int = 100) -> Entry:
    content = number.to_bytes(8, "big") + bytes(size)
    return Entry(b"id" + content[:8], b"hash" + content[:8], content, GENESIS_TIME_NS)


class Handing:
    """A broadcaster with its mempool, and a gate before the blocks are recorded."""

    def __init__(self, rpc: NodeRpc) -> None:
        self.mempool = Mempool(Bounds(100_000, 1 << 30))
        self.recorded = asyncio.Event()
        self.broadcaster = Broadcaster(self.mempool, rpc, self._recorded)
        self.task = asyncio.create_task(self.broadcaster.run())

    async def _recorded(self) -> None:
        await self.recorded.wait()


@pytest.fixture
async def handing(rpc: NodeRpc) -> AsyncIterator[Handing]:
    made = Handing(rpc)
    made.recorded.set()
    yield made
    made.task.cancel()
    await asyncio.wait([made.task])


async def test_what_arrives_is_handed_over_once_in_order(
    handing: Handing, node: RecordedNode
) -> None:
    entries = [entry(number) for number in range(2 * BATCH_MAX + 1)]
    for one in entries[:300]:
        handing.mempool.add(one)
    handing.broadcaster.node_changed(True)
    await eventually(lambda: len(node.handed) == 300)
    for one in entries[300:]:
        handing.mempool.add(one)
    await eventually(lambda: len(node.handed) == len(entries))
    assert node.handed == [one.content for one in entries]


async def test_large_transactions_are_handed_over_in_smaller_requests(
    handing: Handing, node: RecordedNode
) -> None:
    entries = [entry(number, size=65_000) for number in range(40)]
    for one in entries:
        handing.mempool.add(one)
    handing.broadcaster.node_changed(True)
    await eventually(lambda: len(node.handed) >= 40)
    assert node.handed == [one.content for one in entries]


async def test_a_node_that_was_started_again_is_handed_everything_again(
    handing: Handing, node: RecordedNode
) -> None:
    handing.mempool.add(entry(1))
    handing.broadcaster.node_changed(True)
    await eventually(lambda: len(node.handed) == 1)
    handing.broadcaster.node_changed(False)
    handing.mempool.add(entry(2))
    node.known.clear()
    handing.recorded.clear()
    handing.broadcaster.node_changed(True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(node.handed) == 1  # first the blocks that it has are recorded
    handing.recorded.set()
    await eventually(lambda: node.handed == [entry(n).content for n in (1, 1, 2)])


async def test_a_full_node_is_offered_the_same_again(handing: Handing, node: RecordedNode) -> None:
    node.full = True
    handing.mempool.add(entry(1))
    handing.broadcaster.node_changed(True)
    await asyncio.sleep(0)
    node.full = False
    await eventually(lambda: node.handed == [entry(1).content])


async def test_what_is_in_no_block_after_a_while_is_handed_over_again(
    handing: Handing, node: RecordedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcasting, "AGAIN_SECONDS", 0.05)
    stays, included = entry(1), entry(2)
    handing.mempool.add(stays)
    handing.mempool.add(included)
    handing.broadcaster.node_changed(True)
    await eventually(lambda: len(node.handed) >= 2)
    handing.mempool.remove([included.id])
    node.handed.clear()
    await eventually(lambda: len(node.handed) >= 3)  # the node knows it, which is no refusal
    assert set(node.handed[-2:]) == {stays.content}
