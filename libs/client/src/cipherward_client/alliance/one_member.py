"""One member's own processes on this machine, while the others run theirs elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from cipherward_client.alliance.belonging import genesis_of
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import Parts, remember
from cipherward_client.alliance.places import read_places
from cipherward_client.alliance.plans import Deployment
from cipherward_client.alliance.ports import HOST, free_ports
from cipherward_client.alliance.running import write_store_address
from cipherward_client.alliance.supervisor import Lost, ProcessPlan, Supervisor, supervised
from cipherward_client.sdk.errors import CheckFailed
from cipherward_kit.datafolder import DataFolder


class AddressesMissing(CheckFailed):
    """alliance.json does not say where the member's services are to listen."""

    reason = "MEMBER_ADDRESSES_MISSING"


@asynccontextmanager
async def running_member(
    folder: AllianceFolder,
    member: str,
    parts: Parts,
    told: Callable[[str], None],
    lost: Lost,
) -> AsyncGenerator[Supervisor]:
    """Run a member's services while the context is open; inside it all are ready.

    It waits as long as that takes: a chain that begins makes no block before more than two thirds
    of its members run.

    Args:
        parts: what it runs on; the engine is the genesis'.
        told: gets the name of each process that is ready.
        lost: see `supervised`.

    Raises:
        KeysMissing, NotAdmitted, GenesisMalformed: see `genesis_of`.
        AddressesMissing: nobody knows where it should listen.
        DataFolderLocked: they run already.
        ProcessRefused: one of them says that it cannot start.
    """
    genesis = await asyncio.to_thread(genesis_of, folder, member)
    plans = await asyncio.to_thread(_plans, folder, member, genesis.chain_id, parts)
    with DataFolder(folder.root, genesis.chain_id, genesis.digest):
        await asyncio.to_thread(write_store_address, folder, parts, [member])
        await asyncio.to_thread(remember, folder, parts, [member])
        async with supervised([], folder.logs, lost=lost) as supervisor:
            await supervisor.start(plans, told, ready_seconds=None)
            yield supervisor


def _plans(folder: AllianceFolder, member: str, chain_id: str, parts: Parts) -> list[ProcessPlan]:
    """Return what each service is told: the addresses that others know, and free ports for probes.

    Raises:
        AddressesMissing: there are none.
    """
    own = read_places(folder).get(member)
    if not own:
        raise AddressesMissing(member)
    ports = iter(free_ports(2 * len(own)))
    deployment = Deployment(folder, chain_id, parts)
    return [
        deployment.process_plan(
            (member, service),
            replace(place, health=f"{HOST}:{next(ports)}", metrics=f"{HOST}:{next(ports)}"),
        )
        for service, place in own.items()
    ]
