"""Four hospitals on CometBFT, Kafka and MongoDB, whose parts a test kills, parts and starts."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from cipherward_chain.endpoints import Endpoint
from cipherward_chain.genesis import Genesis, Parameters
from cipherward_client.alliance.create import AlliancePlan, create_alliance
from cipherward_client.alliance.layout import (
    CHAIN_SERVICES,
    MEMBER_SERVICES,
    AllianceFolder,
    MemberFolder,
)
from cipherward_client.alliance.parts import COMETBFT, KAFKA, MONGO, Parts
from cipherward_client.alliance.plans import Deployment, endpoints_document, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.alliance.running import write_store_address
from cipherward_client.alliance.supervisor import ProcessPlan, Supervisor, serving, supervised
from tests.servers.child import ServerFailed
from tests.servers.cometbft import cometbft_binary
from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.mongo import MongoServer, running_mongo
from tests.servers.need import need
from tests.soak.dev_alliance import POLL_SECONDS, until
from tests.soak.fault_links import Links, open_links

# Silence ends rights after three: short, so that the cells which wait for that are.
HEARTBEAT_SECONDS = 3
FRESH_SECONDS = 3 * HEARTBEAT_SECONDS
# Of any one recovery: a cold start takes ten seconds when two cores do everything at once.
RECOVERY_SECONDS = 240.0
# Of one member, in memory: ten times what the matrix writes, and filled in a second.
DISK_BYTES = 768 * 1024 * 1024
BALLAST = "ballast"
# A JVM that starts cold beside thirty busy processes may need more than its 90 s once.
SERVER_STARTS = 3
SERVICES = (*CHAIN_SERVICES, *MEMBER_SERVICES)


@dataclass(slots=True)
class Scene:
    """The alliance, its servers and its network; `lost` has the last words of what gave up."""

    folder: AllianceFolder
    genesis: Genesis
    deployment: Deployment
    addresses: dict[tuple[str, str], Endpoint]
    links: Links
    kafka: KafkaServer
    mongo: MongoServer
    supervisor: Supervisor
    lost: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def members(self) -> tuple[str, ...]:
        """The members, in the order of their index."""
        return tuple(self.genesis.members)

    def others(self, *members: str) -> list[str]:
        """Return everybody else."""
        return [member for member in self.members if member not in members]

    def plan(self, name: str) -> ProcessPlan:
        """Return what a process (member/service) is told: its ledger reaches nodes by the links."""
        member, service = name.split("/")
        plan = self.deployment.process_plan((member, service), self.addresses[member, service])
        if service != "ledger":
            return plan
        seen = str(self.folder.root / f"seen-by-{member}.json")
        return replace(plan, environment={**plan.environment, "CIPHERWARD_ENDPOINTS_FILE": seen})

    def write_views(self) -> None:
        """Write how each member's ledger reaches the others' nodes."""
        for member in self.members:
            nodes = self.links.seen_by(member)
            seen = {
                (m, s): replace(at, p2p=nodes[m]) if at.p2p else at
                for (m, s), at in self.addresses.items()
            }
            document = endpoints_document(self.genesis.chain_id, seen, self.folder)
            (self.folder.root / f"seen-by-{member}.json").write_bytes(document)

    def process(self, name: str) -> psutil.Process:
        """Return a living service."""
        return psutil.Process(self.supervisor.pids[name])

    def node(self, member: str) -> psutil.Process | None:
        """Return a member's consensus node; None while there is none."""
        pid = self.supervisor.pids.get(f"{member}/ledger")
        with suppress(psutil.Error):
            for child in psutil.Process(pid).children() if pid else []:
                if child.name() == cometbft_binary().name:
                    return child
        return None

    def log(self, name: str) -> str:
        """Return the log of a process."""
        return self.supervisor.log_file(name).read_text(errors="replace")

    def without_place(self, words: str) -> str:
        """Return a process's words without where this run's folder is."""
        return words.replace(str(self.folder.root), "DIR")

    async def kill(self, name: str) -> float:
        """SIGKILL a service; return the seconds until its successor is ready."""
        await until(lambda: name in self.supervisor.pids, RECOVERY_SECONDS, f"{name} is away")
        began, pid = time.monotonic(), self.supervisor.pids[name]
        self.process(name).kill()
        await until(
            lambda: self.supervisor.pids.get(name, pid) != pid,
            RECOVERY_SECONDS,
            f"{name} did not start again: {self.lost}",
        )
        await self.ready(name)
        return time.monotonic() - began

    async def kill_node(self, member: str) -> float:
        """SIGKILL a consensus node; return the seconds until its ledger is ready again."""
        node = await self._living_node(member)
        began = time.monotonic()
        node.kill()

        def replaced() -> bool:
            found = self.node(member)
            return found is not None and found.pid != node.pid

        await until(replaced, RECOVERY_SECONDS, f"the node of {member} did not start again")
        await self.ready(f"{member}/ledger")
        return time.monotonic() - began

    async def _living_node(self, member: str) -> psutil.Process:
        async with asyncio.timeout(RECOVERY_SECONDS):
            while True:
                if found := self.node(member):
                    return found
                await asyncio.sleep(POLL_SECONDS)

    async def ready(self, *names: str) -> None:
        """Return when these services say that they serve."""
        async with asyncio.timeout(RECOVERY_SECONDS), asyncio.TaskGroup() as group:
            for name in names:
                member, service = name.split("/")
                group.create_task(serving(self.addresses[member, service].health))

    async def take_down(self, *members: str) -> None:
        """SIGKILL all processes of members, which stay down."""
        names = [f"{member}/{service}" for member in members for service in SERVICES]
        alive = [name for name in names if name in self.supervisor.pids]
        processes = [self.process(name) for name in alive]
        self.supervisor.dismiss(alive)
        for process in processes:
            process.kill()
        await self.supervisor.end(names)

    async def bring_up(self, *members: str) -> None:
        """Start all processes of members again, and wait until they are ready."""
        await self.start([f"{member}/{service}" for member in members for service in SERVICES])

    async def start_server(self, server: KafkaServer | MongoServer) -> None:
        """Start a server that was killed; again when the machine was too busy for it."""
        for _ in range(SERVER_STARTS - 1):
            with suppress(ServerFailed):
                return await asyncio.to_thread(server.start)
        return await asyncio.to_thread(server.start)

    async def start(self, names: Sequence[str]) -> None:
        """Start processes that were taken down or gave up, and wait until they are ready."""
        for name in names:
            self.lost.pop(name, None)
        await self.supervisor.start([self.plan(name) for name in names])


@asynccontextmanager
async def fault_scene(root: Path) -> AsyncGenerator[Scene]:
    """Run a new alliance in `root`, with servers of its own, while the context is open.

    Skips, or fails where servers are required, when one of them cannot run here.
    """
    for name in ("cometbft", "kafka", "mongo"):
        need(name)
    async with AsyncExitStack() as stack:
        running = await asyncio.to_thread(stack.enter_context, running_kafka(root / "kafka"))
        kafka: KafkaServer = running
        mongo = await asyncio.to_thread(stack.enter_context, running_mongo(root / "mongo"))
        parts = Parts(COMETBFT, KAFKA, MONGO, kafka.bootstrap, mongo.uri, str(cometbft_binary()))
        folder = AllianceFolder(root / "alliance")
        folder.root.mkdir(mode=0o700)
        plan = AlliancePlan(
            "faults",
            parameters=Parameters(heartbeat_seconds=HEARTBEAT_SECONDS),
            engine=COMETBFT,
        )
        genesis = await asyncio.to_thread(create_alliance, folder, plan)
        members = tuple(genesis.members)
        write_store_address(folder, parts, members)
        addresses = assign_endpoints(services_of(members, COMETBFT), COMETBFT, None)
        document = endpoints_document(genesis.chain_id, addresses, folder)
        folder.endpoints_file.write_bytes(document)
        nodes = {member: addresses[member, "ledger"].p2p for member in members}
        links = await stack.enter_async_context(open_links(nodes))
        lost: dict[str, str] = {}

        def tell(name: str, words: str) -> None:
            lost[name] = words
            print(json.dumps({"stopped for good": name, "words": words}), flush=True)

        deployment = Deployment(folder, genesis.chain_id, parts)
        supervisor = await stack.enter_async_context(supervised([], folder.logs, lost=tell))
        scene = Scene(folder, genesis, deployment, addresses, links, kafka, mongo, supervisor, lost)
        scene.write_views()
        yield scene


@contextmanager
def room_for(home: MemberFolder) -> Generator[None]:
    """Give a member's data a small disk of its own while the context is open, if we may."""
    data = home.data("")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "cipherward", str(data)]
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        yield
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(data)], check=True)


def freeze(process: psutil.Process) -> None:
    """SIGSTOP a process: it keeps what it holds and does nothing."""
    process.send_signal(signal.SIGSTOP)
