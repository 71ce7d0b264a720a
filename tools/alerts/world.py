"""A running alliance whose alerts are tried out: four hospitals, their people, a Prometheus."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from grpc import aio

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.genesis import Parameters
from cipherward_client.alliance.create import create_alliance
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import ALL_EMBEDDED, COMETBFT, EMBEDDED, KAFKA, Parts
from cipherward_client.alliance.ports import free_ports
from cipherward_client.alliance.running import RunningAlliance, new_plan, running_alliance
from cipherward_client.alliance.supervisor import ProcessPlan
from cipherward_client.cli.canary import canary_settings
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.records import WalletOwner, put_record
from cipherward_client.wallet.file import save_wallet
from cipherward_client.wallet.wallet import Wallet
from tests.servers.cometbft import cometbft_binary
from tests.servers.development import metrics_targets
from tests.servers.kafka import KafkaServer, running_kafka
from tests.servers.prometheus import PrometheusServer, running_prometheus
from tools.alerts import shortened

A, B, C, D = (f"hospital-{letter}" for letter in "abcd")
CANARY: Final = f"{A}/canary"
# Two exact results: two studies spend the whole budget of their data set when they are approved.
PARAMETERS: Final = Parameters(
    heartbeat_seconds=3, stale_heartbeats=3, template_delay_seconds=0, data_set_releases_max=2
)
# Seconds of emergency-access: a review is due after 72 hours, the hand-over comes after 7 days.
SOONER: Final = {259_200: 5, 604_800: 600}
# The canaries' own times, in proportion to those of the rules.
CANARY_SECONDS: Final = {
    "ROUND_SECONDS": "2",
    "ACT_ROUND_SECONDS": "5",
    "SETTLE_SECONDS": "3",
    "EXPIRY_SECONDS": "15",
}
CALL_SECONDS: Final = 5.0  # of one call, and one wait for a database
PAUSE_SECONDS: Final = 0.05  # between two calls of a caller: twenty a second


def _sooner(value: Value) -> Value:
    if isinstance(value, dict):
        return {name: _sooner(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sooner(one) for one in value]
    return SOONER.get(value, value) if type(value) is int else value


def _emergency(document: dict[str, Value]) -> dict[str, Value]:
    found = cast("dict[str, Any]", _sooner(document))
    found["terms"]["visit_seconds"]["minimum"] = 1
    return found


def _leaky_consent(document: dict[str, Value]) -> dict[str, Value]:
    """Return the template of consents as somebody has weakened it: no storage hears of an end."""
    found = cast("dict[str, Any]", document)
    del found["transitions"]["revoke"]["instructions"]
    return found


CHANGES: Final = {"emergency-access": _emergency, "consent": _leaky_consent}


def found_alliance(root: Path, parts: Parts) -> AllianceFolder:
    """Make an alliance of four hospitals with the shipped templates, two of them changed."""
    folder = AllianceFolder(root)
    root.mkdir(mode=0o700)
    create_alliance(folder, replace(new_plan(parts), parameters=PARAMETERS))
    genesis = json.loads(folder.genesis_file.read_bytes())
    for template in cast("list[dict[str, str]]", genesis["app_state"]["templates"]):
        if change := CHANGES.get(template["name"]):
            document = change(dict(decode_map(bytes.fromhex(template["document"]))))
            template["document"] = encode(document).hex()
    folder.genesis_file.write_text(json.dumps(genesis, indent=1) + "\n")
    return folder


@dataclass
class World:
    """What causes work with.

    desk: the folder in which the commands of runbooks are run. kafka: the broker; None where the
    ledger itself feeds the services. names: what words in capitals stand for in those commands, as
    causes know it. settings: what processes are told besides at their next start, by their names.
    """

    running: RunningAlliance
    alliance: Alliance
    hospitals: dict[str, Hospital]
    prometheus: PrometheusServer
    desk: Path
    kafka: KafkaServer | None
    names: dict[str, str] = field(default_factory=dict[str, str])
    settings: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    _wallets: dict[str, Wallet] = field(default_factory=dict[str, Wallet])

    @property
    def passphrase_file(self) -> Path:
        """The passphrase of the wallets that lie on the desk."""
        return self.desk / "passphrase"

    async def lay_out(self, name: str, wallet: Wallet) -> None:
        """Put a wallet on the desk, for commands that need one."""
        passphrase = secrets.token_hex(16)
        await asyncio.to_thread(save_wallet, self.desk / name, wallet, passphrase)
        await asyncio.to_thread(self.passphrase_file.write_text, passphrase)

    async def person(
        self, name: str, member: str, schema: str = "patient", role: str = ""
    ) -> Wallet:
        """Return the wallet of somebody who was at the desk of a member, made once."""
        if name not in self._wallets:
            wallet = Wallet.create(self.alliance.chain_id)
            code = await admit_holder(self.hospitals[member], schema, role=role)
            await obtain_credential(self.alliance, wallet, member, code)
            self._wallets[name] = wallet
        return self._wallets[name]

    async def clinician(self, name: str = "clinician") -> Wallet:
        """Return a clinician of another hospital than the records'."""
        return await self.person(name, B, "staff", "clinician")

    async def record(self, member: str, content: bytes = b"a letter") -> tuple[Wallet, bytes]:
        """Put a record at a member; return its owner's wallet and its id."""
        owner = await self.person(f"patient of {member}", member)
        owned = WalletOwner(self.alliance, owner)
        return owner, (await put_record(self.hospitals[member], content, owned)).record_id

    @contextmanager
    def frozen(self, *names: str) -> Generator[None]:
        """SIGSTOP processes while the context is open: they hold what they have, and are silent."""
        pids = [self.running.supervisor.pids[name] for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def plan(self, name: str) -> ProcessPlan:
        """Return what a service's process is told at its start."""
        member, service = name.split("/")
        endpoint = self.running.endpoints.of(member, service)
        plan = self.running.deployment.process_plan((member, service), endpoint)
        environment = {**plan.environment, **self.settings.get(name, {})}
        return replace(plan, environment=environment, vital=False)

    @asynccontextmanager
    async def stopped(self, *names: str) -> AsyncGenerator[None]:
        """Stop processes while the context is open.

        Canaries are silent while they start again: what leaks here is no reason not to be ready.
        """
        await self.running.supervisor.end(names)
        try:
            yield
        finally:
            canaries = self.running.supervisor.pids.keys() & {CANARY}
            with self.frozen(*canaries):
                await self.running.supervisor.start([self.plan(name) for name in names])

    async def ensure_canaries(self) -> None:
        """Run the first member's canaries from now on, and let Prometheus scrape them."""
        if CANARY in self.running.supervisor.pids:
            return
        health, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
        environment = canary_settings(self.running.folder, A, None)
        environment |= {f"CIPHERWARD_{name}": value for name, value in CANARY_SECONDS.items()}
        environment |= {"CIPHERWARD_HEALTH_LISTEN": health, "CIPHERWARD_METRICS_LISTEN": metrics}
        module = "cipherward_client.canaries"
        plan = ProcessPlan(CANARY, module, environment, health, stage=3, vital=False)
        self.prometheus.scrape(self.targets() | {metrics: {"member": A, "component": "canary"}})
        await self.running.supervisor.start([plan])

    def targets(self) -> dict[str, dict[str, str]]:
        """Return what is scraped, with the labels that the chart gives."""
        found = metrics_targets(self.running.folder.root)
        return {address: dict(labels) for address, labels in found.items()}


@asynccontextmanager
async def calling(
    call: Callable[[], Awaitable[object]], callers: int, pause_seconds: float = PAUSE_SECONDS
) -> AsyncGenerator[None]:
    """Let so many callers call all the time while the context is open, whatever is answered."""

    async def one() -> None:
        while True:
            with suppress(aio.AioRpcError):
                await call()
            await asyncio.sleep(pause_seconds)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(callers)]
        yield
        for task in tasks:
            task.cancel()


def _parts(kafka: KafkaServer | None) -> Parts:
    if kafka is None:
        return ALL_EMBEDDED
    return Parts(COMETBFT, KAFKA, EMBEDDED, kafka=kafka.bootstrap, cometbft=str(cometbft_binary()))


@asynccontextmanager
async def opened_world(root: Path, *, networked: bool) -> AsyncGenerator[World]:
    """Run everything in a folder while the context is open.

    Args:
        networked: each hospital has a ledger and a consensus node of its own, and blocks go over
            Kafka; else one ledger runs the chain for all.

    Raises:
        ServerFailed: Prometheus does not run.
        ProcessRefused, ProcessNotReady: a service does not.
    """
    rules = root / "rules.yaml"
    shortened.write(rules)
    with ExitStack() as servers:
        kafka = servers.enter_context(running_kafka(root / "kafka")) if networked else None
        parts = _parts(kafka)
        folder = await asyncio.to_thread(found_alliance, root / "alliance", parts)
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(running_alliance(folder.root, parts=parts))
            opened = Alliance.open(folder.endpoints_file, folder.genesis_file)
            alliance = await stack.enter_async_context(opened)
            hospitals = {
                member: await stack.enter_async_context(open_hospital(folder, member))
                for member in running.members
            }
            targets = metrics_targets(folder.root)
            prometheus = stack.enter_context(
                running_prometheus(root / "prometheus", targets, rules=[rules])
            )
            desk = root / "desk"
            desk.mkdir()
            yield World(running, alliance, hospitals, prometheus, desk, kafka)
