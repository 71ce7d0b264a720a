"""An alliance whose contracts run as shipped, only sooner, and the people in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import AsyncGenerator, Collection, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_chain.genesis import Parameters
from cipherward_client.alliance.create import create_alliance
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.running import RunningAlliance, new_plan, running_alliance
from cipherward_client.alliance.supervisor import ProcessPlan, serving
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.testing import eventually

MEMBERS = tuple(f"hospital-{letter}" for letter in "abcd")
CUSTODIAN = MEMBERS[0]
# Silence ends rights after nine seconds: soon enough to wait for, and long enough for two cores
# that twenty processes share.
PARAMETERS = Parameters(heartbeat_seconds=3, stale_heartbeats=3, template_delay_seconds=0)
# The times of the shipped templates by which the tests' own clock would wait days, in seconds: a
# review is due after 72 hours, an opening begins after seven days. Nothing else is changed.
SOONER = {259_200: 12, 604_800: 16}
VISIT_SECONDS_MIN = 1  # instead of a minute
START_SECONDS = 180.0  # 14 processes on a busy machine without compiled bytecode
WAIT_SECONDS = 60.0  # for what comes within a few seconds on a machine that is free
POLL_SECONDS = 0.05


def _sooner(value: Value) -> Value:
    if isinstance(value, dict):
        return {name: _sooner(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sooner(one) for one in value]
    return SOONER.get(value, value) if type(value) is int else value


def hurried(document: bytes) -> bytes:
    """Return a template's document with shorter times."""
    found = cast("dict[str, Value]", _sooner(dict(decode_map(document))))
    terms = cast("dict[str, dict[str, Value]]", found["terms"])
    if "visit_seconds" in terms:
        terms["visit_seconds"]["minimum"] = VISIT_SECONDS_MIN
    return encode(found)


def found_alliance(root: Path, parameters: Parameters) -> AllianceFolder:
    """Make an alliance of four hospitals that has the shipped templates, hurried."""
    folder = AllianceFolder(root)
    root.mkdir(mode=0o700)
    create_alliance(folder, replace(new_plan(), parameters=parameters))
    genesis = json.loads(folder.genesis_file.read_bytes())
    for template in cast("list[dict[str, str]]", genesis["app_state"]["templates"]):
        if template["name"] in ("consent", "emergency-access"):
            template["document"] = hurried(bytes.fromhex(template["document"])).hex()
    folder.genesis_file.write_text(json.dumps(genesis, indent=1) + "\n")
    return folder


class RunningTown:
    """An alliance that runs in a thread with a loop of its own: it outlives the tests' loops."""

    def __init__(self, root: Path, parameters: Parameters = PARAMETERS) -> None:
        self._root = root
        self._parameters = parameters
        self._ready: Future[tuple[RunningAlliance, asyncio.AbstractEventLoop]] = Future()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Run it; return when all of it is ready."""
        self._thread.start()
        self._ready.result(START_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join(START_SECONDS)

    @property
    def running(self) -> RunningAlliance:
        """The alliance; its processes are started and ended by `do`."""
        return self._ready.result(0)[0]

    async def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do in the alliance's own loop what starts and ends its processes."""
        loop = self._ready.result(0)[1]
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    async def _run(self) -> None:
        try:
            folder = await asyncio.to_thread(found_alliance, self._root, self._parameters)
            async with running_alliance(folder.root) as running:
                self._ready.set_result((running, asyncio.get_running_loop()))
                await asyncio.to_thread(self._stop.wait)
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


@dataclass
class Town:
    """A running alliance, and one wallet for each part that somebody plays in it."""

    home: RunningTown
    alliance: Alliance
    hospitals: dict[str, Hospital]
    _wallets: dict[str, Wallet] = field(default_factory=dict[str, Wallet])

    @property
    def running(self) -> RunningAlliance:
        """The alliance's processes."""
        return self.home.running

    @property
    def folder(self) -> AllianceFolder:
        """Where everybody's keys and data lie."""
        return self.running.folder

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

    async def patient(self) -> Wallet:
        """Return the one patient, of the custodian."""
        return await self.person("patient", CUSTODIAN)

    async def clinician(self, name: str = "clinician", member: str = MEMBERS[1]) -> Wallet:
        """Return a clinician."""
        return await self.person(name, member, "staff", "clinician")

    async def replace(self, plan: ProcessPlan) -> None:
        """End a process, and start it as another plan has it."""
        supervisor = self.running.supervisor

        async def work() -> None:
            await supervisor.end([plan.name])
            await supervisor.start([plan])

        await self.home.do(work())

    async def restart(self, names: Collection[str]) -> None:
        """Kill processes, by their names, and wait until those that follow them serve."""
        supervisor = self.running.supervisor
        before = dict(supervisor.pids)
        for name in names:
            os.kill(before[name], signal.SIGKILL)
        for name in names:
            await eventually(
                lambda name=name: supervisor.pids.get(name, before[name]) != before[name],
                seconds=WAIT_SECONDS,
            )
            endpoint = self.running.endpoints.of(*name.split("/"))
            async with asyncio.timeout(WAIT_SECONDS):
                await serving(endpoint.health)


@asynccontextmanager
async def connected(town: RunningTown) -> AsyncGenerator[Town]:
    """Connect to the alliance, as everybody in it, while the context is open."""
    folder = town.running.folder
    async with AsyncExitStack() as stack:
        opened = Alliance.open(folder.endpoints_file, folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(folder, member))
            for member in MEMBERS
        }
        yield Town(town, alliance, hospitals)


@asynccontextmanager
async def open_town(root: Path, parameters: Parameters) -> AsyncGenerator[Town]:
    """Run an alliance of one's own while the context is open."""
    town = RunningTown(root, parameters)
    try:
        await asyncio.to_thread(town.start)
        async with connected(town) as found:
            yield found
    finally:
        await asyncio.to_thread(town.stop)
