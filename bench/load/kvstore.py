"""The peer: CometBFT's own key-value store, built into the node in Go.

The nodes have the product's configuration files and genesis, and no application of ours: what is
left is consensus, gossip and the node's stores. Its state is in memory.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.load.acts import ACT_BYTES
from bench.load.target import SUBSCRIBED, Block, Cost, Refused
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import COMETBFT, Parts
from cipherward_client.alliance.ports import HOST, free_ports
from cipherward_client.alliance.running import new_plan, open_folder
from cipherward_ledger.comet.node_config import RPC_SOCKET, NodePeer, NodePlan, Profile
from cipherward_ledger.comet.node_files import NodeHome, NodeKeys
from cipherward_ledger.comet.sockets import short_path
from cipherward_ledger.config import LedgerConfig
from tests.servers.cometbft import cometbft_binary

CALL_SECONDS, START_SECONDS, STOP_SECONDS = 60.0, 60.0, 3.0
KEY_BYTES = 16


def key_values(count: int, octets: int = ACT_BYTES) -> list[bytes]:
    """Return `count` transactions of the key-value store, of so many bytes each."""
    found: list[bytes] = []
    for _ in range(count):
        key = secrets.token_hex(KEY_BYTES // 2).encode() + b"="
        found.append(key + secrets.token_hex((octets - len(key) + 1) // 2).encode())
    return [one[:octets] for one in found]


@dataclass(frozen=True, slots=True)
class KvStore:
    """Nodes with the built-in application, called over their RPC. A `Target`."""

    sessions: Mapping[str, aiohttp.ClientSession]
    pids: Sequence[int]
    homes: Sequence[Path]

    @property
    def members(self) -> Sequence[str]:
        """Who takes transactions."""
        return tuple(self.sessions)

    async def submit(self, member: str, batch: Sequence[bytes]) -> None:
        """Hand transactions to a member's node, in one request."""
        calls = [
            _call(at, "broadcast_tx_async", tx=base64.b64encode(raw).decode())
            for at, raw in enumerate(batch)
        ]
        async with self.sessions[member].post("http://node/", json=calls) as response:
            answer = await response.read()
        if b'"error"' in answer:
            raise Refused(answer[:300].decode(errors="replace"))

    async def blocks(self, member: str) -> AsyncGenerator[Block, None]:
        """Yield the numbers of a member's new blocks; their bytes are asked for afterwards."""
        async with self.sessions[member].ws_connect("http://node/websocket") as socket:
            await socket.send_json(_call(0, "subscribe", query="tm.event='NewBlockEvents'"))
            async for message in socket:
                result = json.loads(message.data).get("result")
                if not result:
                    yield SUBSCRIBED
                    continue
                value = result["data"]["value"]
                yield Block(int(value["height"]), int(value["num_txs"]), None)

    async def transactions(self, member: str, height: int) -> Sequence[bytes]:
        """Return the transactions of a block."""
        answer = await _ask(self.sessions[member], "block", height=str(height))
        return [base64.b64decode(one) for one in answer["block"]["data"]["txs"]]

    def cost(self) -> Cost:
        """Return the nodes and their folders."""
        return Cost({"node": self.pids}, {"node": self.homes})


def _call(number: int, method: str, **parameters: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}


async def _ask(session: aiohttp.ClientSession, method: str, **parameters: str) -> Any:
    async with session.post("http://node/", json=_call(0, method, **parameters)) as response:
        body = await response.json(content_type=None)
    if "error" in body:
        raise Refused(str(body["error"])[:300])
    return body["result"]


@asynccontextmanager
async def running_kvstore(members: int, *, profile: Profile = "latency") -> AsyncGenerator[KvStore]:
    """Run so many validators; on entry each has committed a block."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        async with AsyncExitStack() as stack:
            homes = _prepared(AllianceFolder(Path(made) / "alliance"), members, profile)
            sessions: dict[str, aiohttp.ClientSession] = {}
            pids: list[int] = []
            for member, home in homes.items():
                pids.append(await stack.enter_async_context(_node(home.path)))
                sessions[member] = await stack.enter_async_context(_session(home.path))
            for session in sessions.values():
                await _first_block(session)
            yield KvStore(sessions, pids, [home.path for home in homes.values()])


def _prepared(folder: AllianceFolder, members: int, profile: Profile) -> dict[str, NodeHome]:
    genesis, _ = open_folder(folder, new_plan(Parts(engine=COMETBFT), members))
    ports = dict(zip(genesis.members, free_ports(members), strict=True))
    peers = {
        m: NodePeer(found.node_id, f"{HOST}:{ports[m]}") for m, found in genesis.members.items()
    }
    homes: dict[str, NodeHome] = {}
    for member in genesis.members:
        keys = folder.member(member)
        seeds = NodeKeys(
            keys.key(layout.CONSENSUS_KEY).read_bytes(), keys.key(layout.NODE_KEY).read_bytes()
        )
        home = homes[member] = NodeHome(folder.root / f"{member}.node")
        home.prepare(folder.genesis_file.read_bytes(), seeds, 0)
        others = [peer for other, peer in peers.items() if other != member]
        home.configure(_plan(genesis, member, peers[member].address, profile), others)
    return homes


def _plan(genesis: Genesis, member: str, listen: str, profile: Profile) -> NodePlan:
    fields = LedgerConfig.model_fields
    return NodePlan(
        moniker=member,
        p2p_listen=listen,
        profile=profile,
        heartbeat_seconds=genesis.parameters.heartbeat_seconds,
        transaction_bytes_max=genesis.parameters.transaction_bytes_max,
        pending=fields["pending_max"].default,
        pending_bytes=fields["pending_bytes_max"].default,
    )


@asynccontextmanager
async def _node(home: Path) -> AsyncGenerator[int]:
    """Run a node, which dies with this process."""
    with (home / "node.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cipherward_ledger.comet.launch",
            str(os.getpid()),
            str(cometbft_binary()),
            "start",
            "--home",
            ".",
            "--proxy_app",
            "kvstore",
            cwd=home,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _session(home: Path) -> AsyncGenerator[aiohttp.ClientSession]:
    with short_path(home / RPC_SOCKET) as name:
        connector = aiohttp.UnixConnector(path=name)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield session


async def _first_block(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            with suppress(aiohttp.ClientError, Refused, OSError):
                status = await _ask(session, "status")
                if int(status["sync_info"]["latest_block_height"]) > 0:
                    return
            await asyncio.sleep(0.05)
