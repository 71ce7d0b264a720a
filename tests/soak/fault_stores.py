"""What lies on a member's disk: looked at, damaged, filled, used twice."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.alliance.supervisor import child_environment
from cipherward_contract.store import all_pairs
from cipherward_contract.tree import StateTree
from cipherward_ledger.comet.node_rpc import NodeRefuses, open_node_rpc
from tests.soak.fault_scene import RECOVERY_SECONDS, Scene, freeze

SENTENCE = "cipherward "  # how the last line begins of a process that cannot go on


async def moment_of(scene: Scene, member: str) -> str:
    """Say whether a frozen contract's store has the newest block that its node has decided."""
    home = scene.folder.member(member)

    def committed() -> int:
        path = home.data("contract") / "state.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT height FROM committed").fetchone()[0]

    height = await asyncio.to_thread(committed)
    async with open_node_rpc(home.data("ledger") / "node") as rpc:
        try:
            await rpc.commits([height + 1])
        except NodeRefuses:
            return "after its commit"
    return "before its commit"


Stored = tuple[bytes, bytes, bytes]  # key, value and app hash as they were


async def killed_with(scene: Scene, member: str, *, lie: bool) -> Stored:
    """Change a value in a member's contract store and kill its contract and ledger.

    Both are frozen first, so that the store is at rest at a block.
    """
    contract, ledger = scene.process(f"{member}/contract"), scene.process(f"{member}/ledger")
    freeze(ledger)
    freeze(contract)
    original = await asyncio.to_thread(_changed, scene, member, lie)
    contract.kill()
    ledger.kill()
    return original


def database_of(scene: Scene, member: str) -> Path:
    """Return where a member's contract keeps its state."""
    return scene.folder.member(member).data("contract") / "state.db"


def _changed(scene: Scene, member: str, lie: bool) -> Stored:
    with closing(sqlite3.connect(database_of(scene, member))) as connection, connection:
        # Not what the node or this service's rules read at a start: some holder's entry.
        key, value = connection.execute(
            "SELECT key, value FROM state WHERE key LIKE 'transaction%' OR length(value) > 8 "
            "ORDER BY key DESC LIMIT 1"
        ).fetchone()
        (root,) = connection.execute("SELECT app_hash FROM committed").fetchone()
        other = value[:-1] + bytes([value[-1] ^ 1])
        connection.execute("UPDATE state SET value = ? WHERE key = ?", (other, key))
        if lie:
            false = StateTree(all_pairs(connection)).root
            connection.execute("UPDATE committed SET app_hash = ?", (false,))
    return key, value, root


def rewrite(scene: Scene, member: str, original: Stored) -> None:
    """Write back what was changed."""
    key, value, root = original
    with closing(sqlite3.connect(database_of(scene, member))) as connection, connection:
        connection.execute("UPDATE state SET value = ? WHERE key = ?", (value, key))
        connection.execute("UPDATE committed SET app_hash = ?", (root,))


def last_words(scene: Scene, member: str) -> str:
    """Return the newest sentence with which a process of a member ended, "" if none did."""
    logs = [scene.log(f"{member}/{service}") for service in ("ledger", "contract", "storage")]
    sentences = [line for log in logs for line in log.splitlines() if line.startswith(SENTENCE)]
    return scene.without_place(sentences[-1]) if sentences else ""


def fill(ballast: Path) -> None:
    """Take what room there is."""
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


def second(scene: Scene, member: str, service: str) -> subprocess.CompletedProcess[str]:
    """Start a member's service once more, on ports of its own."""
    plan = scene.plan(f"{member}/{service}")
    at = assign_endpoints([(member, service)], "cometbft", None)[member, service]
    ports = {"LISTEN": at.listen, "HOLDER_LISTEN": at.holder, "HEALTH_LISTEN": at.health}
    ports |= {"METRICS_LISTEN": at.metrics} | ({"P2P_LISTEN": at.p2p} if at.p2p else {})
    other = {f"CIPHERWARD_{name}": address for name, address in ports.items()}
    return subprocess.run(
        [sys.executable, "-m", plan.module],
        env=child_environment({**plan.environment, **other}),
        capture_output=True,
        text=True,
        timeout=RECOVERY_SECONDS,
        check=False,
    )
