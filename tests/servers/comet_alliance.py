"""An alliance whose ledgers run real consensus nodes, for tests: ledger and contract of every
member, each a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.genesis import Genesis, Issuer, Parameters, TemplateDocument
from cipherward_chain.testing import TestKeys, make_genesis, seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import exact_bytes
from cipherward_client.alliance.ports import free_ports
from cipherward_kit.channels import open_channel
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.testing import MEMBERS, TestAlliance, eventually
from tests.servers.child import Child
from tests.servers.cometbft import cometbft_binary

HOST: Final = "127.0.0.1"
SERVICES: Final = ("contract", "ledger")
START_SECONDS: Final = 60.0  # processes that import much, on a busy machine
CALL_SECONDS: Final = 20.0
EXPIRES_SECONDS: Final = 500
PORTS: Final = ("ledger", "contract", "identity", "p2p")
MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024


class ServiceProcess(Child):
    """A service's process, which may also end by itself."""

    @property
    def exit_status(self) -> int | None:
        """With which status it ended; None while it lives."""
        return None if self._process is None else self._process.poll()


@dataclass
class CometAlliance:
    """The members' processes, and what a test asks of them.

    settings are of every ledger, contract_settings of every contract, old_releases of one member's.
    """

    folder: Path
    alliance: TestAlliance
    genesis: Genesis
    keys: TestKeys
    ports: Mapping[str, Mapping[str, int]]
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    contract_settings: Mapping[str, object] = field(default_factory=dict[str, object])
    old_releases: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    children: dict[tuple[str, str], ServiceProcess] = field(
        default_factory=dict[tuple[str, str], ServiceProcess]
    )

    @classmethod
    def make(
        cls,
        folder: Path,
        members: int,
        *,
        newcomers: Sequence[str] = (),
        heartbeat_seconds: int = 3600,
        templates: Sequence[TemplateDocument] = (),
        issuers: Sequence[Issuer] = (),
        settings: Mapping[str, object] | None = None,
    ) -> CometAlliance:
        """Write the files of an alliance of so many members; `settings` are of every ledger.

        `newcomers` are in no genesis; their keys are made from their ids, as members' are.
        """
        alliance = TestAlliance(folder / "alliance", (*MEMBERS[:members], *newcomers))
        authorities = {m: ca.certificate_pem.decode() for m, ca in alliance.authorities.items()}
        genesis, keys = make_genesis(
            members,
            parameters=Parameters(heartbeat_seconds=heartbeat_seconds),
            templates=templates,
            issuers=issuers,
            ca_certificates=authorities,
            time_ns=time.time_ns(),
            engine="cometbft",
        )
        names = (*genesis.members, *newcomers)
        found = iter(free_ports(len(names) * len(PORTS)))
        ports = {m: {name: next(found) for name in PORTS} for m in names}
        made = cls(folder, alliance, genesis, keys, ports, settings or {})
        made.write("genesis.json", keys.document)
        for member in names:
            made.write(f"{member}.validator", seed_of(f"{member}/consensus"))
            made.write(f"{member}.node", seed_of(f"{member}/node"))
            made.write(f"{member}.member", seed_of(member))
        made.write_endpoints()
        return made

    def write(self, name: str, content: bytes) -> Path:
        """Write a file that only its owner may read."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def write_endpoints(self) -> None:
        """Write alliance.json from the ports."""
        endpoints = {
            member: {
                name: {"listen": f"{HOST}:{port}"}
                | ({"p2p": f"{HOST}:{ports['p2p']}"} if name == "ledger" else {})
                for name, port in ports.items()
                if name != "p2p"
            }
            for member, ports in self.ports.items()
        }
        document = {
            "chain_id": self.genesis.chain_id,
            "ledger_member": next(iter(self.ports)),
            "endpoints": endpoints,
        }
        self.write("alliance.json", json.dumps(document).encode())

    def start(self, member: str, service: str) -> None:
        """Start a service of a member."""
        key = (member, service)
        if key in self.children:
            self.children[key].kill()  # it may have ended by itself
        if service == "contract" or key not in self.children:  # whose settings a test may change
            settings = self._settings(member, service)
            environment = {ENV_PREFIX + name.upper(): str(v) for name, v in settings.items()}
            command = (sys.executable, "-m", f"cipherward_{service}")
            log = self.folder / f"{member}.{service}.log"
            self.children[key] = ServiceProcess(
                command, log, folder=self.folder, environment=environment
            )
        self.children[key].start()

    def _settings(self, member: str, service: str) -> dict[str, object]:
        settings: dict[str, object] = {
            **self.alliance.settings(member, service),
            "genesis_file": self.folder / "genesis.json",
            "data_dir": self.data_dir(member, service),
            "listen": f"{HOST}:{self.ports[member][service]}",
        }
        if service == "contract":
            settings |= self.contract_settings
            settings |= self.old_releases.get(member, {})
        if service == "ledger":
            settings |= {
                "endpoints_file": self.folder / "alliance.json",
                "validator_key_file": self.folder / f"{member}.validator",
                "node_key_file": self.folder / f"{member}.node",
                "member_key_file": self.folder / f"{member}.member",
                "p2p_listen": f"{HOST}:{self.ports[member]['p2p']}",
                "cometbft_binary": cometbft_binary(),
                **self.settings,
            }
        return settings

    def data_dir(self, member: str, service: str) -> Path:
        """Return the data folder of a service."""
        return self.folder / "data" / member / service

    def start_all(self) -> None:
        """Start every service of every member."""
        for member in self.genesis.members:
            for service in SERVICES:
                self.start(member, service)

    def kill(self, member: str, service: str) -> None:
        """SIGKILL a service; the ledger's node dies with it."""
        self.children[member, service].kill()

    def stop(self, member: str, service: str) -> None:
        """Stop a service in order."""
        self.children[member, service].stop()

    def ended(self, member: str, service: str) -> int | None:
        """Return the exit status of a service that has ended by itself."""
        return self.children[member, service].exit_status

    def stop_all(self) -> None:
        """Kill whatever runs."""
        for child in self.children.values():
            child.kill()

    def node_pid(self, member: str) -> int | None:
        """Return the process id of a member's node, None while there is none."""
        ledger = self.children[member, "ledger"].pid
        for children in Path(f"/proc/{ledger}/task").glob("*/children"):
            for pid in children.read_text().split():
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if name == cometbft_binary().name:
                    return int(pid)
        return None

    def kill_node(self, member: str) -> None:
        """SIGKILL a member's node."""
        pid = self.node_pid(member)
        assert pid is not None, f"{member} has no node"
        os.kill(pid, signal.SIGKILL)

    def logs(self) -> str:
        """Return the ends of all logs."""
        found = [*self.folder.glob("*.log"), *self.folder.glob("data/*/ledger/node/node.log")]
        return "\n".join(f"== {path}\n{path.read_text()[-3_000:]}" for path in sorted(found))

    def channel(self, member: str, service: str, caller: str) -> aio.Channel:
        """Return a channel to a service, as another of the same member."""
        return open_channel(
            f"{HOST}:{self.ports[member][service]}",
            identity=self.alliance.identity(member, caller),
            registry=self.alliance.registry,
            peer_member=member,
            peer_service=service,
            message_bytes_max=MESSAGE_BYTES_MAX,
        )

    def transaction(
        self, member: str = MEMBERS[0], acts: Sequence[tx_pb.Act] = (tx_pb.Act(tick=tx_pb.Tick()),)
    ) -> bytes:
        """Return a fresh transaction of a member."""
        return build_transaction(
            acts,
            chain_id=self.genesis.chain_id,
            expires_at=int(time.time()) + EXPIRES_SECONDS,
            signer=MemberSigner(member, seed_of(member)),
        )


@dataclass(frozen=True, slots=True)
class Member:
    """One member's ledger and contract, asked over their sockets."""

    name: str
    alliance: CometAlliance
    ledger: LedgerServiceStub
    contract: ContractServiceStub

    async def status(self) -> pb.GetStatusResponse:
        """Return where its ledger stands."""
        return await self.ledger.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS)

    async def height(self) -> int:
        """Return the height of its newest recorded block, -1 while it does not answer."""
        try:
            return (await self.status()).height
        except aio.AioRpcError:
            return -1

    async def reached(self, height: int, seconds: float = START_SECONDS) -> None:
        """Return when its ledger has recorded that height."""

        async def there() -> bool:
            return await self.height() >= height

        try:
            await eventually(there, seconds=seconds, what=f"{self.name} at {height}")
        except TimeoutError:
            raise AssertionError(self.alliance.logs()) from None

    async def submit(self, content: bytes) -> bytes:
        """Submit a transaction, again while the ledger is away; return its id."""
        ends = time.monotonic() + START_SECONDS
        while True:
            try:
                request = pb.SubmitRequest(transaction=content)
                return (await self.ledger.Submit(request, timeout=CALL_SECONDS)).transaction_id
            except aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > ends:
                    raise
            await asyncio.sleep(0.05)

    async def receipt(self, transaction_id: bytes) -> bytes:
        """Return the receipt of a transaction, waiting for it."""
        request = pb.GetReceiptRequest(transaction_id=transaction_id, wait=True)
        answer = await self.ledger.GetReceipt(request, timeout=START_SECONDS)
        return exact_bytes(answer.receipt)

    async def blocks(self, first: int, count: int) -> list[chain_pb.ProvenBlock]:
        """Return `count` blocks of its stream from `first` on."""
        found: list[chain_pb.ProvenBlock] = []
        call = self.ledger.StreamBlocks(pb.StreamBlocksRequest(from_height=first))
        async with asyncio.timeout(START_SECONDS):
            async for answer in call:
                found.append(answer.block)
                if len(found) == count:
                    call.cancel()
                    break
        return found

    async def app_hash_at(self, height: int) -> bytes:
        """Return the app hash that its contract committed at a height of the newest 128."""
        request = contract_pb.GetExecutedRequest(height=height)
        return (await self.contract.GetExecuted(request, timeout=CALL_SECONDS)).executed.app_hash


@asynccontextmanager
async def connected(alliance: CometAlliance) -> AsyncGenerator[dict[str, Member]]:
    """Open channels to all members' ledgers and contracts; they may start later."""
    members: dict[str, Member] = {}
    channels: list[aio.Channel] = []
    for name in alliance.ports:
        ledger = alliance.channel(name, "ledger", "storage")
        contract = alliance.channel(name, "contract", "ledger")
        channels += [ledger, contract]
        stubs = LedgerServiceStub(ledger), ContractServiceStub(contract)
        members[name] = Member(name, alliance, *stubs)
    try:
        yield members
    finally:
        for channel in channels:
            await channel.close()


@asynccontextmanager
async def running(alliance: CometAlliance) -> AsyncGenerator[dict[str, Member]]:
    """Run the whole alliance while the context is open; on entry every ledger has a block."""
    alliance.start_all()
    try:
        async with connected(alliance) as members:
            for member in members.values():
                await member.reached(1)
            yield members
    finally:
        await asyncio.to_thread(alliance.stop_all)
