"""An alliance that runs on this machine for as long as a context is open."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_chain.endpoints import Endpoints
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance.create import DEFAULT_MEMBERS, AlliancePlan, create_alliance
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.plans import endpoints_document, process_plan, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.alliance.supervisor import Supervisor, supervised
from cipherward_kit.datafolder import DataFolder, write_atomically


@dataclass(frozen=True, slots=True)
class RunningAlliance:
    """The folder, genesis, endpoints and processes of an alliance that runs."""

    folder: AllianceFolder
    genesis: Genesis
    endpoints: Endpoints
    supervisor: Supervisor


def new_plan() -> AlliancePlan:
    """Return the plan of a new development alliance: four hospitals, a chain id of its own."""
    return AlliancePlan(f"dev-{secrets.token_hex(4)}", DEFAULT_MEMBERS)


def open_folder(folder: AllianceFolder, plan: AlliancePlan | None = None) -> tuple[Genesis, bool]:
    """Return the genesis of the folder and whether it was made just now.

    Args:
        plan: what to make of a folder without a genesis; None: four hospitals.

    Raises:
        GenesisMalformed: the folder's genesis is damaged.
    """
    if folder.genesis_file.exists():
        return Genesis.parse(folder.genesis_file.read_bytes()), False
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return create_alliance(folder, plan or new_plan()), True


@asynccontextmanager
async def running_alliance(
    root: Path,
    *,
    plan: AlliancePlan | None = None,
    port_base: int | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> AsyncGenerator[RunningAlliance]:
    """Run the alliance in `root`, made first if there is none; inside, every process is ready.

    Args:
        plan: of a new alliance.
        port_base: first of the ports; None takes free ones.
        told: gets the name of each process as it becomes ready.

    Raises:
        DataFolderLocked: another process runs it.
        ProcessRefused, ProcessNotReady: see `supervised`.
    """
    folder = AllianceFolder(root)
    genesis, _ = await asyncio.to_thread(open_folder, folder, plan)
    with DataFolder(folder.root, genesis.chain_id):
        ledger_member = next(iter(genesis.members))  # solo: the first member runs the ledger
        names = services_of(genesis, ledger_member)
        endpoints = assign_endpoints(names, port_base)
        document = endpoints_document(genesis, ledger_member, endpoints, folder)
        write_atomically(folder.endpoints_file, document)
        plans = [process_plan(folder, name, endpoints[name]) for name in names]
        async with supervised(plans, folder.logs, told) as supervisor:
            yield RunningAlliance(folder, genesis, Endpoints.parse(document), supervisor)
