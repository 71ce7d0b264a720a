"""Three honest members, and a fourth that breaks the protocol as a test tells it to."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.comet.v1 import abci_pb2 as abci
from cipherward_chain.receipts import VerifiedReceipt, verify_receipt
from cipherward_client.alliance.ports import free_ports
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.testing import MEMBERS
from tests.byzantine.hostile_ledger import AGAINST_ALL, LIES_FOLDER, PROPOSAL, SIGNER_SOCKET
from tests.servers.comet_alliance import HOST, SERVICES, CometAlliance, Member, ServiceProcess

HONEST: Final = MEMBERS[:3]
LIAR: Final = MEMBERS[3]
HEARTBEAT_SECONDS: Final = 2
DRIVEN_SECONDS: Final = 90.0  # for four turns of a proposer that wastes its own, on a busy machine
REPOSITORY: Final = Path(__file__).parents[2]


def environment_of(settings: Mapping[str, object]) -> dict[str, str]:
    """Return a service's settings as its environment says them."""
    return {ENV_PREFIX + name.upper(): str(value) for name, value in settings.items()}


@dataclass(frozen=True, slots=True)
class Twin:
    """The liar a second time; `port` is its ledger's."""

    contract: ServiceProcess
    ledger: ServiceProcess
    port: int

    @contextmanager
    def running(self) -> Generator[None]:
        """Run both while the context is open."""
        self.contract.start()
        self.ledger.start()
        try:
            yield
        finally:
            self.ledger.kill()
            self.contract.kill()


@dataclass
class HostileAlliance(CometAlliance):
    """The alliance whose last member's ledger is `hostile_ledger`."""

    signer_socket: str = ""  # in the liar's node folder; "" leaves the node its own key
    metrics_ports: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def lies(self) -> Path:
        """The folder whose files are the lies that are told now."""
        return self.folder / "lies"

    def start(self, member: str, service: str) -> None:
        """Start a service; the liar's ledger is another program."""
        key = (member, service)
        if key == (LIAR, "ledger") and key not in self.children:
            self.lies.mkdir(exist_ok=True)
            self.children[key] = self.hostile_process(self._settings(*key), self.lies, LIAR)
        super().start(member, service)

    def hostile_process(
        self, settings: Mapping[str, object], lies: Path, name: str, signer: str | None = None
    ) -> ServiceProcess:
        """Return the process, not started, of a hostile ledger that looks for its lies there."""
        environment = environment_of(settings)
        environment |= {LIES_FOLDER: str(lies), "PYTHONPATH": str(REPOSITORY)}
        environment[SIGNER_SOCKET] = self.signer_socket if signer is None else signer
        return ServiceProcess(
            (sys.executable, "-m", "tests.byzantine.hostile_ledger"),
            self.folder / f"{name}.ledger.log",
            folder=self.folder,
            environment=environment,
        )

    def twin(self, seen_by: str) -> Twin:
        """Prepare a second ledger, contract and node of the liar, with the same keys.

        Its node dials one member only, `seen_by`; its ledger votes against every block.
        """
        lies = self.folder / "twins-lies"
        lies.mkdir()
        (lies / AGAINST_ALL).touch()
        ports = dict(zip((*SERVICES, "p2p"), free_ports(3), strict=True))
        document = json.loads((self.folder / "alliance.json").read_bytes())
        for member, services in document["endpoints"].items():
            if member == LIAR:
                for service in SERVICES:
                    services[service]["listen"] = f"{HOST}:{ports[service]}"
            if member != seen_by:
                services["ledger"].pop("p2p")
        endpoints = self.write("twin.json", json.dumps(document).encode())
        settings: dict[str, dict[str, object]] = {
            service: {
                **self._settings(LIAR, service),
                "data_dir": self.folder / "data" / "twin" / service,
                "listen": f"{HOST}:{ports[service]}",
            }
            for service in SERVICES
        }
        settings["ledger"] |= {
            "endpoints_file": endpoints,
            "p2p_listen": f"{HOST}:{ports['p2p']}",
            "metrics_listen": f"{HOST}:0",
        }
        contract = ServiceProcess(
            (sys.executable, "-m", "cipherward_contract"),
            self.folder / "twin.contract.log",
            folder=self.folder,
            environment=environment_of(settings["contract"]),
        )
        ledger = self.hostile_process(settings["ledger"], lies, "twin", signer="")
        return Twin(contract, ledger, ports["ledger"])

    def _settings(self, member: str, service: str) -> dict[str, object]:
        settings = super()._settings(member, service)
        if service == "ledger":
            if member not in self.metrics_ports:
                (self.metrics_ports[member],) = free_ports(1)
            settings["metrics_listen"] = f"{HOST}:{self.metrics_ports[member]}"
        return settings

    @contextmanager
    def lying(self, lie: str, content: bytes = b"") -> Generator[None]:
        """Have the liar tell a lie while the context is open."""
        path = self.lies / lie
        partial = self.folder / f"{lie}.partial"
        partial.write_bytes(content)
        partial.rename(path)  # it is read whole, or not at all
        try:
            yield
        finally:
            path.unlink()

    def proposing(self, *transactions: bytes) -> AbstractContextManager[None]:
        """Have the liar's blocks hold exactly these transactions while the context is open."""
        prepared = abci.ResponsePrepareProposal(txs=transactions)
        return self.lying(PROPOSAL, prepared.SerializeToString())

    async def counted(self, member: str, name: str, **labels: str) -> float:
        """Return a counter of a member's ledger, as its page of metrics says it."""
        port = self.metrics_ports[member]
        page = await asyncio.to_thread(_page, f"http://{HOST}:{port}/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == f"cipherward_ledger_{name}_total"
            and labels.items() <= sample.labels.items()
        )


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


async def commit(member: Member, *acts: tx_pb.Act) -> VerifiedReceipt:
    """Have a fresh transaction committed through a member; return what its receipt proves."""
    content = member.alliance.transaction(member.name, acts or (tx_pb.Act(tick=tx_pb.Tick()),))
    receipt = await member.receipt(await member.submit(content))
    verified = verify_receipt(receipt, member.alliance.genesis.trust_root())
    assert verified.transaction.raw == content
    assert verified.result.applied, verified.result
    return verified


async def driven(member: Member, until: Callable[[], Awaitable[bool]]) -> None:
    """Have blocks made through a member until something is so, or fail."""
    ends = time.monotonic() + DRIVEN_SECONDS
    while not await until():
        assert time.monotonic() < ends, member.alliance.logs()
        await commit(member)


async def agree(members: Sequence[Member]) -> None:
    """Commit through each; then all have the same state."""
    height = max([(await commit(member)).height for member in members])
    for member in members:
        await member.reached(height + 1)
    assert len({await member.app_hash_at(height) for member in members}) == 1


async def proven_since(member: Member, height: int) -> list[chain_pb.ProvenBlock]:
    """Return the proven blocks behind a height."""
    count = await member.height() - 1 - height
    return await member.blocks(height + 1, count) if count > 0 else []


async def committed_since(member: Member, height: int) -> list[bytes]:
    """Return every transaction of the proven blocks behind a height."""
    blocks = await proven_since(member, height)
    return [content for block in blocks for content in block.transactions]
