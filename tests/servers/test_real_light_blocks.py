"""The light client against CometBFT itself while its validators change.

One node runs the engine's own key-value application, whose transactions change the set; the other
validators of the set are nowhere, and have too little power to be missed.
"""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.light import check_next
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_skipping import skip_to, verify_step
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.rejections import TrustInsufficient
from cipherward_chain.rfc3339 import parse_time
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import seed_of
from cipherward_chain.trust import TrustPoint
from cipherward_client.alliance.ports import free_ports
from cipherward_ledger.comet.json_form import CommitAnswer, StatusAnswer, ValidatorsAnswer
from tests.servers.child import Child
from tests.servers.cometbft import cometbft_binary
from tests.servers.need import need

pytestmark = [pytest.mark.servers, pytest.mark.slow]

WAIT_SECONDS = 30.0
ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Node:
    """A running node, asked over its RPC; it is a source of light blocks."""

    rpc: str
    genesis: dict[str, Any]

    def ask(self, method: str, **arguments: str | int) -> Any:
        query = urllib.parse.urlencode(arguments)
        url = f"http://{self.rpc}/{method}?{query}"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)["result"]

    def height(self) -> int:
        status = StatusAnswer.model_validate(self.ask("status"))
        return status.sync_info.latest_block_height

    def change(self, seed: bytes, power: int) -> int:
        """Give a validator that nobody runs some power, 0 to remove it; return the block."""
        key = base64.b64encode(SigningKey(seed).public_key).decode()
        transaction = f"val=ed25519!{key}!{power}".encode()
        done = self.ask("broadcast_tx_commit", tx="0x" + transaction.hex())
        assert done["check_tx"]["code"] == done["tx_result"]["code"] == 0
        return int(done["height"])

    def reach(self, height: int) -> None:
        ends = time.monotonic() + WAIT_SECONDS
        while self.height() < height:
            assert time.monotonic() < ends, f"block {height} was not made in time"
            time.sleep(0.02)

    async def light_block(self, height: int) -> LightBlock:
        height = height or self.height()
        try:
            signed = CommitAnswer.model_validate(self.ask("commit", height=height)).signed_header
            answer = self.ask("validators", height=height, per_page=100)
        except urllib.error.HTTPError as error:
            raise LightBlockUnavailable(str(error)) from error
        validators = ValidatorsAnswer.model_validate(answer).validator_set()
        made = LightBlock.of(signed.header.message(), signed.commit.message(), validators)
        return LightBlock.parse(made.raw, self.genesis["chain_id"])

    def point(self) -> TrustPoint:
        (only,) = self.genesis["validators"]
        key = base64.b64decode(only["pub_key"]["value"])
        validators = ValidatorSet.of([Validator(key, int(only["power"]))])
        root = TrustRoot(self.genesis["chain_id"], bytes(32), validators, "cometbft")
        return TrustPoint.of_genesis(root, parse_time(self.genesis["genesis_time"]))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Generator[Node]:
    need("cometbft")
    home = tmp_path_factory.mktemp("node")
    log, binary = home / "log", str(cometbft_binary())
    rpc, p2p = (f"127.0.0.1:{port}" for port in free_ports(2))
    command = [binary, "--home", str(home)]
    settings = [
        *("--proxy_app", "kvstore"),
        *("--rpc.laddr", f"tcp://{rpc}", "--p2p.laddr", f"tcp://{p2p}"),
    ]
    subprocess.run([*command, "init"], check=True, stdout=subprocess.DEVNULL, timeout=60)
    _let_it_hurry(home / "config" / "config.toml")
    running = Child([*command, "node", *settings], log, folder=home)
    running.start()
    try:
        made = Node(rpc, json.loads((home / "config" / "genesis.json").read_text()))
        running.wait_until_ready(lambda: made.reach(2), OSError)
        yield made
    finally:
        running.kill()


def _let_it_hurry(config: Path) -> None:
    """A block as soon as the last one is decided; rounds that nobody leads are over soon."""
    text = config.read_text()
    for name, value in (("timeout_commit", "10ms"), ("timeout_propose", "100ms")):
        lines = [
            f'{name} = "{value}"' if line.startswith(f"{name} =") else line
            for line in text.splitlines()
        ]
        text = "\n".join(lines) + "\n"
    config.write_text(text)


async def sets_around(node: Node, height: int) -> list[ValidatorSet]:
    return [(await node.light_block(height + n)).validators for n in range(4)]


async def test_a_change_of_the_engines_set_counts_two_blocks_later(node: Node) -> None:
    height = node.change(seed_of("absent one"), 1)
    node.reach(height + 4)
    before, announced, after, kept = await sets_around(node, height)
    assert before == announced != after == kept
    header = (await node.light_block(height + 1)).header
    assert header.next_validators_hash == after.hash()
    height = node.change(seed_of("absent one"), 0)
    node.reach(height + 4)
    sets = await sets_around(node, height)
    assert (sets[1], sets[2]) == (after, before)


async def test_every_header_of_the_engine_is_believed_one_by_one(node: Node) -> None:
    node.change(seed_of("absent two"), 2)
    node.reach(node.height() + 3)
    trusted, header = node.point(), None
    for height in range(1, node.height() + 1):
        block = await node.light_block(height)
        trusted = verify_step(trusted, block, time.time_ns())
        if header is not None:
            check_next(header, block.header, node.genesis["chain_id"])
        header = block.header


async def test_the_engines_newest_header_is_believed_by_skipping(node: Node) -> None:
    """An absent validator's vote is missing in every commit, and its power in the trust."""
    height = node.change(seed_of("absent three"), 1)
    node.reach(height + 3)
    newest = await node.light_block(0)
    assert len(newest.signers) < len(newest.validators.validators)
    path = await skip_to(node.point(), newest, node, time.time_ns())
    assert [block.hash for block in path] == [newest.hash]
    stranger = TrustPoint(1, bytes(32), node.point().time_ns, _absent_alone(newest))
    with pytest.raises(TrustInsufficient):
        verify_step(stranger, newest, time.time_ns())


def _absent_alone(block: LightBlock) -> ValidatorSet:
    signed = set(block.signers)
    return ValidatorSet.of([v for v in block.validators.validators if v not in signed])
