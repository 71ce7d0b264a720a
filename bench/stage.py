"""Real alliances for a benchmark: all their processes, or only those that it is about."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cipherward_chain.acts import SUITE_CUSTODIAN_ONLY
from cipherward_chain.genesis import Parameters
from cipherward_client.alliance.create import AlliancePlan
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import ALL_EMBEDDED, Parts
from cipherward_client.alliance.plans import Deployment, endpoints_document, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.alliance.running import new_plan, open_folder, running_alliance
from cipherward_client.alliance.supervisor import ProcessPlan, Supervisor, supervised
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.wallet.wallet import Wallet
from cipherward_kit.config import ENV_PREFIX
from cipherward_kit.datafolder import write_atomically

# Settings of a service that differ from a development alliance's, by service; "" is every one.
Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Stage:
    """An alliance that runs: its folder, its processes, a holder's connection, and its hospitals'
    own systems.
    """

    folder: AllianceFolder
    alliance: Alliance
    hospitals: dict[str, Hospital]
    supervisor: Supervisor

    async def person(self, hospital: str, schema: str = "patient", role: str = "") -> Wallet:
        """Return the wallet of somebody who has been at the hospital's desk."""
        wallet = Wallet.create(self.alliance.chain_id)
        code = await admit_holder(self.hospitals[hospital], schema, role=role)
        await obtain_credential(self.alliance, wallet, hospital, code)
        return wallet


@asynccontextmanager
async def whole_alliance(
    parts: Parts = ALL_EMBEDDED, plan: AlliancePlan | None = None
) -> AsyncGenerator[Stage]:
    """Run an alliance with all its processes, in a folder of its own; by default four hospitals."""
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        async with (
            running_alliance(Path(made) / "alliance", plan=plan, parts=parts) as running,
            _opened(running.folder, running.genesis.members, running.supervisor) as stage,
        ):
            yield stage


@asynccontextmanager
async def some_services(
    names: Collection[tuple[str, str]],
    *,
    parts: Parts = ALL_EMBEDDED,
    members: int | None = None,
    settings: Settings | None = None,
) -> AsyncGenerator[Stage]:
    """Run only these (member, service) of an alliance, by default of four hospitals.

    Its members cannot make a shared key, so records of the first suite may be anchored.
    """
    with tempfile.TemporaryDirectory(prefix="cipherward-bench-") as made:
        folder = AllianceFolder(Path(made) / "alliance")
        parameters = Parameters(minimum_suite=SUITE_CUSTODIAN_ONLY)
        plan = replace(new_plan(parts, members), parameters=parameters)
        genesis, _ = open_folder(folder, plan)
        services = services_of(tuple(genesis.members), genesis.engine)
        endpoints = assign_endpoints(services, genesis.engine, None)
        document = endpoints_document(genesis.chain_id, endpoints, folder)
        write_atomically(folder.endpoints_file, document)
        deployment = Deployment(folder, genesis.chain_id, parts)
        plans = [
            _with(deployment.process_plan(name, endpoints[name]), name[1], settings or {})
            for name in names
        ]
        present = {member for member, _ in names}
        async with (
            supervised(plans, folder.logs) as supervisor,
            _opened(folder, present, supervisor) as stage,
        ):
            yield stage


def _with(plan: ProcessPlan, service: str, settings: Settings) -> ProcessPlan:
    more = {**settings.get("", {}), **settings.get(service, {})}
    environment = {ENV_PREFIX + name: value for name, value in more.items()}
    return replace(plan, environment={**plan.environment, **environment})


@asynccontextmanager
async def _opened(
    folder: AllianceFolder, members: Collection[str], supervisor: Supervisor
) -> AsyncGenerator[Stage]:
    async with AsyncExitStack() as stack:
        opened = Alliance.open(folder.endpoints_file, folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(folder, member))
            for member in sorted(members)
        }
        yield Stage(folder, alliance, hospitals, supervisor)
