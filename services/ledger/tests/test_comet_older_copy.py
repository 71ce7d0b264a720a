"""A member whose folders are an older copy of its own is stopped before it votes twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cipherward_kit.testing import MEMBERS, eventually
from cipherward_ledger.comet.errors import NodeFilesUnusable
from tests.servers.comet_alliance import SERVICES, CometAlliance, Member, connected
from tests.servers.need import need

pytestmark = pytest.mark.servers

A, D = MEMBERS[0], MEMBERS[3]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CometAlliance]:
    need("cometbft")
    alliance = CometAlliance.make(tmp_path_factory.mktemp("older"), 4)
    alliance.start_all()
    yield alliance
    alliance.stop_all()


@pytest.fixture
async def members(four: CometAlliance) -> AsyncIterator[dict[str, Member]]:
    async with connected(four) as found:
        for member in found.values():
            await member.reached(2)
        yield found


async def grow(member: Member, blocks: int) -> None:
    """Have blocks made."""
    until = await member.height() + blocks
    while await member.height() < until:
        await member.receipt(await member.submit(member.alliance.transaction()))


async def stopped(member: Member) -> None:
    for service in SERVICES:
        await asyncio.to_thread(member.alliance.stop, member.name, service)


async def started(member: Member) -> None:
    for service in SERVICES:
        await asyncio.to_thread(member.alliance.start, member.name, service)


async def test_an_older_copy_of_a_member_is_stopped_when_the_chain_shows_its_later_votes(
    members: dict[str, Member], four: CometAlliance, tmp_path: Path
) -> None:
    member = members[D]
    folder = four.data_dir(D, "ledger").parent
    await stopped(member)
    await asyncio.to_thread(shutil.copytree, folder, tmp_path / "copy", ignore=not_sockets)
    await started(member)
    await member.reached(await members[A].height())
    await grow(members[A], 12)
    await stopped(member)
    await grow(members[A], 3)  # three of four go on
    await asyncio.to_thread(shutil.rmtree, folder)
    await asyncio.to_thread(shutil.move, tmp_path / "copy", folder)
    await started(member)
    await eventually(lambda: four.ended(D, "ledger") is not None, seconds=60)
    assert four.ended(D, "ledger") == NodeFilesUnusable.exit_status, four.logs()
    assert "is an older copy" in (four.folder / f"{D}.ledger.log").read_text()


def not_sockets(folder: str, names: list[str]) -> list[str]:
    """Say which names a copy leaves out: a socket cannot be copied, and is made anew."""
    return [name for name in names if (Path(folder) / name).is_socket()]
