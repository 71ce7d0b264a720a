"""A node that is no member's, with the alliance's genesis file and every member's address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.testing import seed_of
from cipherward_client.alliance.ports import free_ports
from cipherward_kit.testing import eventually
from cipherward_ledger.comet.node_config import NodePeer, NodePlan
from cipherward_ledger.comet.node_files import NodeHome, NodeKeys
from cipherward_ledger.comet.node_rpc import NodeAway, NodeRpc, open_node_rpc
from tests.servers.child import Child
from tests.servers.comet_alliance import HOST, CometAlliance
from tests.servers.cometbft import cometbft_binary

KEYS = NodeKeys(seed_of("stranger's votes"), seed_of("stranger's node"))
START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Stranger:
    """The running node."""

    rpc: NodeRpc
    log: Path

    async def height(self) -> int:
        """Return the height of its newest block."""
        return (await self.rpc.status()).height

    def refusals(self) -> int:
        """Return how many of its connections were ended by the other side."""
        return self.log.read_text().count("EOF")

    async def up(self) -> bool:
        """Return whether it answers."""
        try:
            await self.height()
        except NodeAway:
            return False
        return True


@asynccontextmanager
async def stranger(
    alliance: CometAlliance, folder: Path, keys: NodeKeys = KEYS
) -> AsyncGenerator[Stranger]:
    """Run the stranger's node, which dials every member, while the context is open."""
    home = NodeHome(folder / "stranger")
    (port,) = free_ports(1)
    plan = NodePlan(
        moniker="stranger",
        p2p_listen=f"{HOST}:{port}",
        profile="latency",
        heartbeat_seconds=alliance.genesis.parameters.heartbeat_seconds,
        transaction_bytes_max=alliance.genesis.parameters.transaction_bytes_max,
        pending=100,
        pending_bytes=1_000_000,
    )
    peers = [
        NodePeer(member.node_id, f"{HOST}:{alliance.ports[member.id]['p2p']}")
        for member in alliance.genesis.members.values()
    ]
    await asyncio.to_thread(home.prepare, alliance.keys.document, keys, 0)
    await asyncio.to_thread(home.configure, plan, peers)
    config = home.config / "config.toml"
    # Its application is one that every node has built in, and it lets anybody in.
    text = config.read_text().replace("unix://application.sock", "kvstore")
    config.write_text(text.replace("filter_peers = true", "filter_peers = false"))
    log = folder / "stranger.log"
    child = Child((str(cometbft_binary()), "start", "--home", "."), log, folder=home.path)
    child.start()
    try:
        async with open_node_rpc(home.path) as rpc:
            running = Stranger(rpc, log)
            await eventually(running.up, seconds=START_SECONDS)
            yield running
    finally:
        await asyncio.to_thread(child.kill)
