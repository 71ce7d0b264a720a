"""Real alliances for a benchmark: all their processes, or only those that it is about."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.plans import endpoints_document, process_plan, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.alliance.running import open_folder, running_alliance
from cipherward_client.alliance.supervisor import supervised
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.datafolder import write_atomically


@dataclass(frozen=True, slots=True)
class Stage:
    """An alliance that runs: its folder, a holder's connection, and its hospitals' own systems."""

    folder: AllianceFolder
    alliance: Alliance
    hospitals: dict[str, Hospital]

    async def person(self, hospital: str, schema: str = "patient", role: str = "") -> Wallet:
        """Return the wallet of somebody who has been at the hospital's desk."""
        wallet = Wallet.create(self.alliance.chain_id)
        code = await admit_holder(self.hospitals[hospital], schema, role=role)
        await obtain_credential(self.alliance, wallet, hospital, code)
        return wallet


@asynccontextmanager
async def whole_alliance() -> AsyncGenerator[Stage]:
    """Run an alliance of four hospitals, all 14 processes, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        async with (
            running_alliance(Path(made) / "alliance") as running,
            _opened(running.folder, running.genesis.members) as stage,
        ):
            yield stage


@asynccontextmanager
async def some_services(names: Collection[tuple[str, str]]) -> AsyncGenerator[Stage]:
    """Run only these (member, service) of an alliance of four hospitals."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        folder = AllianceFolder(Path(made) / "alliance")
        genesis, _ = open_folder(folder)
        ledger_member = next(iter(genesis.members))
        endpoints = assign_endpoints(services_of(genesis, ledger_member), None)
        document = endpoints_document(genesis, ledger_member, endpoints, folder)
        write_atomically(folder.endpoints_file, document)
        plans = [process_plan(folder, name, endpoints[name]) for name in names]
        members = {member for member, _ in names}
        async with supervised(plans, folder.logs), _opened(folder, members) as stage:
            yield stage


@asynccontextmanager
async def _opened(folder: AllianceFolder, members: Collection[str]) -> AsyncGenerator[Stage]:
    async with AsyncExitStack() as stack:
        opened = Alliance.open(folder.endpoints_file, folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(folder, member))
            for member in sorted(members)
        }
        yield Stage(folder, alliance, hospitals)
