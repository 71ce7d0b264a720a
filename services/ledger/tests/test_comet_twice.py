"""One member, installed twice on folders of its own: real nodes with one consensus key."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from cipherward_client.alliance.ports import free_ports
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.testing import MEMBERS, eventually
from cipherward_ledger.comet.errors import ConsensusKeyShared, NodeFilesUnusable
from tests.servers.comet_alliance import (
    HOST,
    SERVICES,
    CometAlliance,
    Member,
    ServiceProcess,
    connected,
)
from tests.servers.need import need

pytestmark = pytest.mark.servers

A, B, C, D = MEMBERS[:4]
# Ten seconds in which clocks may differ, a look every five, and processes that start meanwhile.
NAMED_SECONDS = 60.0
BLOCK_SECONDS = 0.3  # between two blocks: a chain that is in use
SWAP_SECONDS = 1.0  # the node that was killed is back after a fifth of that
STATUSES = (ConsensusKeyShared.exit_status, NodeFilesUnusable.exit_status)


class Twice(CometAlliance):
    """The alliance, and one member's release a second time."""

    @contextmanager
    def second(self, member: str, name: str) -> Generator[dict[str, ServiceProcess]]:
        """Run a member's ledger and contract again while the context is open: the same keys, other
        ports, and a folder of its own.
        """
        ports = dict(zip((*SERVICES, "p2p"), free_ports(3), strict=True))
        document = json.loads((self.folder / "alliance.json").read_bytes())
        for service in SERVICES:
            document["endpoints"][member][service]["listen"] = f"{HOST}:{ports[service]}"
        endpoints = self.write(f"{name}.json", json.dumps(document).encode())
        processes: dict[str, ServiceProcess] = {}
        for service in SERVICES:
            settings: dict[str, object] = {
                **self._settings(member, service),
                "data_dir": self.folder / "data" / name / service,
                "listen": f"{HOST}:{ports[service]}",
            }
            if service == "ledger":
                settings |= {"endpoints_file": endpoints, "p2p_listen": f"{HOST}:{ports['p2p']}"}
            processes[service] = ServiceProcess(
                (sys.executable, "-m", f"cipherward_{service}"),
                self.log_of(name, service),
                folder=self.folder,
                environment={ENV_PREFIX + key.upper(): str(v) for key, v in settings.items()},
            )
        for process in processes.values():
            process.start()
        try:
            yield processes
        finally:
            for process in processes.values():
                process.kill()

    def log_of(self, name: str, service: str) -> Path:
        """Return where a process's output is."""
        return self.folder / f"{name}.{service}.log"


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    need("cometbft")
    alliance = Twice.make(tmp_path_factory.mktemp("twice"), 4)
    assert isinstance(alliance, Twice)
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def members(four: Twice) -> AsyncIterator[dict[str, Member]]:
    async with connected(four) as found:
        for member in found.values():
            await member.reached(2)
        yield found


@asynccontextmanager
async def in_use(member: Member) -> AsyncGenerator[None]:
    """Have transactions committed through a member, each of which is acknowledged by a receipt."""

    async def use() -> None:
        while True:
            await member.receipt(await member.submit(member.alliance.transaction()))
            await asyncio.sleep(BLOCK_SECONDS)

    async with asyncio.TaskGroup() as group:
        using = group.create_task(use())
        yield
        using.cancel()


async def agree(members: dict[str, Member], *names: str) -> None:
    """Return when those members have one state, of a block that is made now."""
    one = members[names[0]]
    await one.receipt(await one.submit(one.alliance.transaction()))
    height = await one.height()
    for name in names:
        await members[name].reached(height)
    assert len({await members[name].app_hash_at(height) for name in names}) == 1


async def test_a_second_installation_is_named_and_the_first_goes_on(
    members: dict[str, Member], four: Twice
) -> None:
    with four.second(D, "second") as second:
        async with in_use(members[A]):
            await eventually(
                lambda: second["ledger"].exit_status is not None,
                seconds=NAMED_SECONDS,
                what="the second one to end",
            )
        assert second["ledger"].exit_status == ConsensusKeyShared.exit_status, four.logs()
        assert "installed twice" in four.log_of("second", "ledger").read_text()
    assert four.ended(D, "ledger") is None
    await agree(members, A, B, C, D)


async def test_two_that_take_each_others_place_again_and_again_are_named(
    members: dict[str, Member], four: Twice
) -> None:
    """Each restart of one's node hands its connections to the other: both vote, by turns."""
    with four.second(D, "swapped") as second:

        def ends() -> list[int]:
            statuses = (four.ended(D, "ledger"), second["ledger"].exit_status)
            return [status for status in statuses if status is not None]

        async def swapped() -> bool:
            if not ends() and four.node_pid(D) is not None:
                four.kill_node(D)
                await asyncio.sleep(SWAP_SECONDS)
            return bool(ends())

        async with in_use(members[A]):
            await eventually(swapped, seconds=NAMED_SECONDS, what="one of the two to end")
        assert set(ends()) <= set(STATUSES), four.logs()
        said = four.log_of(D, "ledger").read_text() + four.log_of("swapped", "ledger").read_text()
        assert "installed twice" in said or "ran a second time" in said
        await agree(members, A, B, C)
