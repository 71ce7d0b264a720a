"""An alliance that runs on this machine for as long as a context is open."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cipherward_chain.endpoints import Endpoint, Endpoints
from cipherward_chain.genesis import Genesis
from cipherward_client.alliance import layout
from cipherward_client.alliance.belonging import members_elsewhere
from cipherward_client.alliance.create import AlliancePlan, create_alliance, hospitals
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.parts import (
    ALL_EMBEDDED,
    EMBEDDED,
    SOLO,
    Parts,
    Remembered,
    remember,
)
from cipherward_client.alliance.plans import Deployment, endpoints_document, services_of
from cipherward_client.alliance.ports import assign_endpoints
from cipherward_client.alliance.shared_keys import ensure_shared_keys
from cipherward_client.alliance.supervisor import Lost, Supervisor, supervised
from cipherward_kit.datafolder import DataFolder, write_atomically

Addresses = dict[tuple[str, str], Endpoint]


class MembersElsewhere(ValueError):
    """The folder is one member's part of an alliance whose others have machines of their own."""

    reason = "MEMBERS_ELSEWHERE"


class RunningAlliance:
    """The folder, genesis, parts and processes of an alliance that runs."""

    def __init__(
        self, deployment: Deployment, genesis: Genesis, addresses: Addresses, supervisor: Supervisor
    ) -> None:
        """Describe it; `addresses` are of every service by (member, service)."""
        self.deployment = deployment
        self.genesis = genesis
        self.supervisor = supervisor
        self._addresses = addresses

    @property
    def folder(self) -> AllianceFolder:
        """Where it lives."""
        return self.deployment.folder

    @property
    def parts(self) -> Parts:
        """What it is put together from."""
        return self.deployment.parts

    @property
    def endpoints(self) -> Endpoints:
        """Where its services listen, as alliance.json says."""
        document = endpoints_document(self.genesis.chain_id, self._addresses, self.folder)
        return Endpoints.parse(document)

    @property
    def members(self) -> tuple[str, ...]:
        """The members whose processes run here."""
        return tuple(dict.fromkeys(member for member, _ in self._addresses))

    async def start_member(self, member: str, told: Callable[[str], None] = lambda _: None) -> None:
        """Run the processes of one more member, whose keys lie in the folder.

        Raises:
            ProcessRefused, ProcessNotReady: see `supervised`.
        """
        parts = self.parts
        chain = () if parts.engine == SOLO else layout.CHAIN_SERVICES
        services = [(member, service) for service in (*chain, *layout.MEMBER_SERVICES)]
        found = assign_endpoints(services, parts.engine, None)
        self._addresses.update(found)
        await asyncio.to_thread(self._remember)
        await asyncio.to_thread(write_store_address, self.folder, parts, [member])
        plans = [self.deployment.process_plan(name, place) for name, place in found.items()]
        await self.supervisor.start(plans, told)

    def let_go(self, member: str) -> None:
        """Take it for no failure from now on when a process of the member ends."""
        self.supervisor.dismiss([f"{member}/{s}" for m, s in self._addresses if m == member])

    async def end_member(self, member: str) -> None:
        """Stop the processes of a member, and forget where they listened."""
        await self.supervisor.end([f"{m}/{s}" for m, s in self._addresses if m == member])
        await self.forget(member)

    async def forget(self, member: str) -> None:
        """Forget where the services of a member listened, and to start them the next time."""
        for name in [name for name in self._addresses if name[0] == member]:
            del self._addresses[name]
        await asyncio.to_thread(self._remember)

    def _remember(self) -> None:
        document = endpoints_document(self.genesis.chain_id, self._addresses, self.folder)
        write_atomically(self.folder.endpoints_file, document)
        remember(self.folder, self.parts, self.members)


def new_plan(parts: Parts = ALL_EMBEDDED, count: int | None = None) -> AlliancePlan:
    """Return the plan of a new development alliance: a chain id of its own, four hospitals."""
    members = hospitals() if count is None else hospitals(count)
    return AlliancePlan(f"dev-{secrets.token_hex(4)}", members, engine=parts.engine)


def open_folder(folder: AllianceFolder, plan: AlliancePlan | None = None) -> tuple[Genesis, bool]:
    """Return the genesis of the folder and whether it was made just now.

    Args:
        plan: what to make of a folder without a genesis; None: four hospitals on solo.

    Raises:
        GenesisMalformed: the folder's genesis is damaged.
    """
    if folder.genesis_file.exists():
        return Genesis.parse(folder.genesis_file.read_bytes()), False
    folder.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return create_alliance(folder, plan or new_plan()), True


def read_store_address(folder: AllianceFolder, members: Sequence[str]) -> str:
    """Return where the members' storages were told that the database is, or ""."""
    for member in members:
        file = folder.member(member).key(layout.MONGO_URI)
        if file.exists():
            return file.read_text().strip()
    return ""


def write_store_address(folder: AllianceFolder, parts: Parts, members: Sequence[str]) -> None:
    """Tell the members' storages where the database is: a file, for it may hold a password."""
    if parts.store == EMBEDDED:
        return
    for member in members:
        write_atomically(folder.member(member).key(layout.MONGO_URI), parts.mongo.encode())


def _prepared(
    folder: AllianceFolder, plan: AlliancePlan | None, parts: Parts
) -> tuple[Genesis, tuple[str, ...]]:
    """Make or read the folder; return its genesis and the members whose processes run here.

    Raises:
        GenesisMalformed, PartsMalformed: a file is damaged.
        PartsDiffer: it runs on other parts.
        MembersElsewhere: founders run on machines of their own.
    """
    remembered = Remembered.read(folder)
    if remembered is not None:
        remembered.require(parts)
    genesis, _ = open_folder(folder, plan or new_plan(parts))
    if elsewhere := members_elsewhere(folder, genesis):
        raise MembersElsewhere(f"the folder has no keys of {', '.join(elsewhere)}")
    if remembered is None:  # new, or from before there was a choice
        Remembered(genesis.engine, parts.feed, parts.store, "", ()).require(parts)
    return genesis, tuple(genesis.members) if remembered is None else remembered.members


@asynccontextmanager
async def running_alliance(
    root: Path,
    *,
    plan: AlliancePlan | None = None,
    parts: Parts = ALL_EMBEDDED,
    port_base: int | None = None,
    keys: bool = True,
    told: Callable[[str], None] = lambda _: None,
    lost: Lost = lambda _name, _words: None,
) -> AsyncGenerator[RunningAlliance]:
    """Run the alliance in `root`, made first if there is none; inside, every process is ready, and
    the members have the keys that they share.

    Args:
        plan: of a new alliance, whose engine is that of the parts; None: four hospitals.
        parts: what it runs on, the same at every start.
        port_base: first of the ports; None takes free ones.
        keys: let the members make their record key and opening key if they have none.
        told: gets the name of each process as it becomes ready.
        lost: gets name and last words of a process that stops for good while the others go on.

    Raises:
        DataFolderLocked: another process runs it.
        PartsDiffer: it was started on other parts before.
        MembersElsewhere: it is not an alliance of this machine alone.
        ProcessRefused, ProcessNotReady: see `supervised`.
        ClientError: the keys could not be made.
    """
    folder = AllianceFolder(root)
    genesis, members = await asyncio.to_thread(_prepared, folder, plan, parts)
    with DataFolder(folder.root, genesis.chain_id, genesis.digest):
        remember(folder, parts, members)
        write_store_address(folder, parts, members)
        addresses = assign_endpoints(services_of(members, parts.engine), parts.engine, port_base)
        document = endpoints_document(genesis.chain_id, addresses, folder)
        write_atomically(folder.endpoints_file, document)
        deployment = Deployment(folder, genesis.chain_id, parts)
        plans = [deployment.process_plan(name, place) for name, place in addresses.items()]
        async with supervised(plans, folder.logs, told, lost) as supervisor:
            if keys:
                await ensure_shared_keys(folder, members)
            yield RunningAlliance(deployment, genesis, addresses, supervisor)


@asynccontextmanager
async def beside(
    root: Path, parts: Parts, lost: Lost = lambda _name, _words: None
) -> AsyncGenerator[RunningAlliance]:
    """Run further members of an alliance that another process runs; inside, none runs yet.

    Args:
        parts: those of the alliance.

    Raises:
        GenesisMalformed, EndpointsMalformed: a file of the folder is damaged.
    """
    folder = AllianceFolder(root)
    genesis = Genesis.parse(await asyncio.to_thread(folder.genesis_file.read_bytes))
    found = Endpoints.parse(await asyncio.to_thread(folder.endpoints_file.read_bytes))
    addresses = {
        (member, service): endpoint
        for member, named in found.by_member.items()
        for service, endpoint in named.items()
    }
    deployment = Deployment(folder, genesis.chain_id, parts)
    async with supervised([], folder.logs, lost=lost) as supervisor:
        yield RunningAlliance(deployment, genesis, addresses, supervisor)
