"""An alliance of four hospitals, all services as processes, shared by these tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import ALL_EMBEDDED, Parts
from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.wallet.wallet import Wallet
from tests.integration.production import production_parts

MOVES = "test_sdk_authorities.py"
START_SECONDS = 180.0  # 20 processes on a busy machine without compiled bytecode


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the processes, which take seconds to start.

    One test is the last: a member whose authority has changed is another one to whoever knows its
    genesis alone, and many tests connect so.
    """
    items.sort(key=lambda item: item.path.name == MOVES)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


class _Background:
    """Runs an alliance in a thread with a loop of its own: it outlives the tests' loops."""

    def __init__(self, root: Path, parts: Parts) -> None:
        self._root = root
        self._parts = parts
        self.ready: concurrent.futures.Future[RunningAlliance] = concurrent.futures.Future()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> RunningAlliance:
        self._thread.start()
        return self.ready.result(START_SECONDS)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(START_SECONDS)

    async def _run(self) -> None:
        try:
            async with running_alliance(self._root, parts=self._parts) as running:
                self.ready.set_result(running)
                await asyncio.to_thread(self._stop.wait)
        except Exception as error:
            if not self.ready.done():
                self.ready.set_exception(error)
            else:
                raise


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("production", marks=pytest.mark.servers)]
)
def parts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Parts]:
    """What the alliance is put together from: everything here holds for both sets of parts."""
    if request.param == "embedded":
        yield ALL_EMBEDDED
        return
    with production_parts(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture(scope="session")
def running(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Generator[RunningAlliance]:
    """The running alliance."""
    background = _Background(tmp_path_factory.mktemp("alliance"), parts)
    try:
        yield background.start()
    finally:
        background.stop()


@pytest.fixture(scope="session")
def folder(running: RunningAlliance) -> AllianceFolder:
    """The folder of the running alliance."""
    return running.folder


@pytest.fixture
async def alliance(folder: AllianceFolder) -> AsyncGenerator[Alliance]:
    """A holder's connection."""
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as opened:
        yield opened


@dataclass
class Town:
    """Hospitals and people of a test; what it opens closes with it."""

    folder: AllianceFolder
    alliance: Alliance
    stack: AsyncExitStack
    _hospitals: dict[str, Hospital] = field(default_factory=dict[str, Hospital])

    async def hospital(self, letter: str) -> Hospital:
        """Return the own system of hospital-<letter>."""
        name = f"hospital-{letter}"
        if name not in self._hospitals:
            opened = await self.stack.enter_async_context(open_hospital(self.folder, name))
            self._hospitals[name] = opened
        return self._hospitals[name]

    async def person(self, letter: str, schema: str = "patient", role: str = "") -> Wallet:
        """Return the wallet of somebody who was at the desk of hospital-<letter>."""
        wallet = Wallet.create(self.alliance.chain_id)
        await self.enrol(wallet, letter, schema, role)
        return wallet

    async def enrol(
        self, wallet: Wallet, letter: str, schema: str = "patient", role: str = ""
    ) -> None:
        """Get a credential of hospital-<letter> into a wallet."""
        hospital = await self.hospital(letter)
        code = await admit_holder(hospital, schema, role=role)
        await obtain_credential(self.alliance, wallet, hospital.member, code)


@pytest.fixture
async def town(folder: AllianceFolder, alliance: Alliance) -> AsyncGenerator[Town]:
    """Hospitals and people on demand."""
    async with AsyncExitStack() as stack:
        yield Town(folder, alliance, stack)
