"""Two founders begin an alliance, a third joins it, invites a fourth, and leaves: a folder each,
and between them nothing but invitations and registrations.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cipherward_chain.genesis import Genesis
from cipherward_client.alliance import layout
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import COMETBFT, SOLO, Parts
from cipherward_client.alliance.places import read_places
from cipherward_client.alliance.plans import Deployment
from cipherward_client.alliance.ports import HOST, free_ports
from cipherward_client.alliance.supervisor import Supervisor, supervised
from cipherward_client.cli.commands import run
from cipherward_kit.testing import eventually
from tests.servers.cometbft import cometbft_binary
from tests.servers.need import need

pytestmark = pytest.mark.slow
FOUNDERS, NEWCOMER, INVITED = ("hospital-a", "hospital-b"), "hospital-c", "hospital-d"
REMOVED_STATUS = 35  # what a ledger ends with that learns that its member is removed
START_SECONDS = 60.0  # a process that imports much, on a busy machine
LEFT_SECONDS = 60.0  # it learns it one block later; an idle chain makes one every ten seconds


@dataclass
class Site:
    """A member's own machine: its folder, its processes, and its people at the command line."""

    member: str
    root: Path
    parts: Parts
    supervisor: Supervisor
    capsys: pytest.CaptureFixture[str]

    async def cli(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        """Run `cipherward alliance …` with --json in this member's folder; return what it says."""
        return await self.command("alliance", *arguments, status=status)

    async def command(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        given = [*arguments, "--alliance", str(self.root), "--json"]
        self.capsys.readouterr()
        ended = await asyncio.to_thread(run, given)
        printed = self.capsys.readouterr().out
        assert ended == status, printed
        return json.loads(printed)

    async def as_member(self, *arguments: str) -> dict[str, Any]:
        return await self.cli(*arguments, "--member", self.member)

    async def begun(self) -> None:
        """Return when the chain has a block: services are ready before it, and wait for it."""

        async def has_block() -> bool:
            asked = ["alliance", "status", "--member", self.member, "--alliance", str(self.root)]
            ended = await asyncio.to_thread(run, [*asked, "--json"])
            self.capsys.readouterr()
            return ended == 0

        await eventually(has_block, seconds=START_SECONDS, what="the first block")

    async def start(self) -> None:
        """Run ledger and contract; identity is called for presentations alone, and none are."""
        folder = AllianceFolder(self.root)
        genesis = Genesis.parse(folder.genesis_file.read_bytes())
        deployment = Deployment(folder, genesis.chain_id, self.parts)
        own = read_places(folder)[self.member]
        ports = iter(free_ports(2 * len(layout.CHAIN_SERVICES)))
        places = {
            service: replace(
                own[service], health=f"{HOST}:{next(ports)}", metrics=f"{HOST}:{next(ports)}"
            )
            for service in layout.CHAIN_SERVICES
        }
        await self.supervisor.start(
            [deployment.process_plan((self.member, name), place) for name, place in places.items()]
        )


def hand_over(file: str, to: Site) -> Path:
    """Bring a file from one machine to another, which is all that passes between them."""
    given = to.root.parent / f"given-{Path(file).parent.name}-{Path(file).name}"
    shutil.copy(file, given)
    return given


@asynccontextmanager
async def four_sites(
    tmp_path: Path, parts: Parts, capsys: pytest.CaptureFixture[str]
) -> AsyncGenerator[list[Site]]:
    async with AsyncExitStack() as stack:
        sites: list[Site] = []
        for member in (*FOUNDERS, NEWCOMER, INVITED):
            machine = tmp_path / f"machine-of-{member}"
            machine.mkdir()
            supervisor = await stack.enter_async_context(
                supervised([], machine / "logs", lost=lambda _name, _words: None)
            )
            sites.append(Site(member, machine / "alliance", parts, supervisor, capsys))
        yield sites


def listens(address: str) -> bool:
    """Say whether somebody takes connections there."""
    host, _, port = address.rpartition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False


def powers(status: Mapping[str, Any]) -> dict[str, int]:
    return {one["member"]: one["voting_power"] for one in status["members"]}


async def founded(a: Site, b: Site) -> Path:
    """Let two founders begin a chain, each with its own keys; return the founder's invitation."""
    engine = a.parts.engine
    told = await b.cli("init", b.member, "--engine", engine)
    other = hand_over(told["registration"], a)
    begun = await a.cli(
        "init", a.member, "--engine", engine, "--chain", "nord", "--with", str(other)
    )
    assert begun["members"] == list(FOUNDERS)
    invitation = a.root.parent / "invitation.txt"
    address = (await a.as_member("invite", "--out", str(invitation)))["address"]
    async with asyncio.TaskGroup() as group:
        group.create_task(a.start())  # not ready before more than two thirds are there
        await eventually(lambda: listens(address), seconds=START_SECONDS, what="the ledger")
        accepted = await b.cli("join", str(hand_over(str(invitation), b)), "--member", b.member)
        assert accepted["state"] == "a founder"
        if engine != SOLO:
            await b.start()
    await a.begun()
    return invitation


async def admitted(a: Site, b: Site, c: Site, invitation: Path) -> None:
    """Let the third in by the votes of both founders."""
    asked = await c.cli("join", str(hand_over(str(invitation), c)), "--member", c.member)
    assert asked["state"] == "waiting for the members' votes"
    registration = asked["registration"]
    proposed = await a.as_member("admit", str(hand_over(registration, a)))
    assert (proposed["state"], proposed["approved_by"]) == ("proposed", [a.member])
    assert proposed["fingerprint"] == asked["fingerprint"]
    assert (await a.as_member("admit", registration))["approved_by"] == [a.member]  # once each
    assert (await c.as_member("join"))["state"] == "waiting for the members' votes"
    (pending,) = (await a.as_member("status"))["pending"]
    assert (pending["kind"], pending["member"]) == ("membership", c.member)
    decided = await b.as_member("admit", str(hand_over(registration, b)))
    assert decided["change"] == proposed["change"]
    assert decided["state"] == "admitted"


async def seated(c: Site) -> None:
    if c.parts.engine != SOLO:
        assert (await c.as_member("join"))["state"] == "admitted; its services do not run"
        await c.start()
    assert (await c.as_member("join"))["state"] == "joined"
    assert (await c.as_member("join"))["state"] == "joined"  # done again, it is the same


async def invited_by_who_joined(c: Site, d: Site) -> None:
    """Let a fourth believe an invitation of the third, which the genesis does not name."""
    invitation = c.root.parent / "invitation.txt"
    named = await c.as_member("invite", "--out", str(invitation))
    assert named["member"] == (FOUNDERS[0] if c.parts.engine == SOLO else c.member)
    asked = await d.cli("join", str(hand_over(str(invitation), d)), "--member", d.member)
    assert asked["state"] == "waiting for the members' votes"
    assert named["member"] in read_places(AllianceFolder(d.root))


async def gone(a: Site, b: Site, c: Site) -> None:
    """Let the third leave by the votes of the others."""
    change = (await c.as_member("leave"))["change"]
    assert (await c.as_member("leave"))["change"] == change
    assert change in str((await a.as_member("status"))["to_do"])
    await a.command("member", "vote", change, "--member", a.member)
    assert (await b.command("member", "vote", change, "--member", b.member))["decided"]


@pytest.mark.parametrize("engine", [SOLO, pytest.param(COMETBFT, marks=pytest.mark.servers)])
async def test_members_in_folders_of_their_own_found_join_and_leave(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = Parts(engine)
    if engine == COMETBFT:
        need("cometbft")
        parts = replace(parts, cometbft=str(cometbft_binary()))
    async with four_sites(tmp_path, parts, capsys) as (a, b, c, d):
        invitation = await founded(a, b)
        running = {**a.supervisor.pids, **b.supervisor.pids}
        await admitted(a, b, c, invitation)
        await seated(c)
        await invited_by_who_joined(c, d)
        seat = 0 if engine == SOLO else 10
        status = await a.as_member("status")
        assert powers(status) == {"hospital-a": 10, "hospital-b": seat, "hospital-c": seat}
        assert not status["pending"]
        await gone(a, b, c)
        if engine == COMETBFT:
            left = await c.supervisor.left_alone(f"{c.member}/ledger", LEFT_SECONDS)
            assert left == REMOVED_STATUS
            assert not AllianceFolder(c.root).member(c.member).key(layout.CONSENSUS_KEY).exists()
        status = await a.as_member("status")
        assert powers(status) == {"hospital-a": 10, "hospital-b": seat}
        assert c.member in status["learned"]
        assert {**a.supervisor.pids, **b.supervisor.pids} == running  # nobody was restarted
