"""A member moves to another authority while records are put and read: nobody's call fails, nobody
restarts, and in the end a certificate of the old authority is worth nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as compute
from cipherward.compute.v1.compute_service_pb2_grpc import ComputeServiceStub
from cipherward.contract.v1 import contract_service_pb2 as contract
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward.identity.v1 import identity_service_pb2 as identity
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward.ledger.v1 import ledger_service_pb2 as ledger
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward.storage.v1 import storage_service_pb2 as storage
from cipherward.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from cipherward_client.alliance.layout import CLIENT, AllianceFolder
from cipherward_client.alliance.running import RunningAlliance
from cipherward_client.cli.commands import run
from cipherward_client.doctor.files import look_at_certificate
from cipherward_client.doctor.targets import Target, targets_of
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_kit.channels import open_channel
from cipherward_kit.devca import DevAuthority, save_identity
from cipherward_kit.own_identity import LOOK_SECONDS
from cipherward_kit.testing import eventually
from cipherward_kit.tls import Identity, TrustRegistry

Town = Any  # conftest's; test modules cannot import it
MOVING, VOTERS = "hospital-b", ("hospital-a", "hospital-c")
SEEN_SECONDS = 4 * LOOK_SECONDS  # the next look, on a machine that is busy
CALL_SECONDS = 5.0
# What is answered to whoever is not let in: by TLS itself, or by the boundary.
SHUT_OUT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)
TURNS = 3  # of each kind of work, before and after each step

# A question that everybody may ask, by service.
ASKED: dict[str, Callable[[aio.Channel], Awaitable[Any]]] = {
    "compute": lambda channel: ComputeServiceStub(channel).GetStudy(
        compute.GetStudyRequest(), timeout=CALL_SECONDS
    ),
    "contract": lambda channel: ContractServiceStub(channel).GetTemplate(
        contract.GetTemplateRequest(), timeout=CALL_SECONDS
    ),
    "identity": lambda channel: IdentityServiceStub(channel).ListMembers(
        identity.ListMembersRequest(), timeout=CALL_SECONDS
    ),
    "ledger": lambda channel: LedgerServiceStub(channel).GetStatus(
        ledger.GetStatusRequest(), timeout=CALL_SECONDS
    ),
    "storage": lambda channel: StorageServiceStub(channel).DescribeRecord(
        storage.DescribeRecordRequest(), timeout=CALL_SECONDS
    ),
}


async def lets_in(target: Target, shown: Identity, registry: TrustRegistry) -> bool:
    """Say whether a process answers who shows it a certificate, whatever it answers."""
    channel = open_channel(
        target.text("LISTEN"),
        identity=shown,
        registry=registry,
        peer_member=target.member,
        peer_service=target.service,
        rules={},  # one attempt
    )
    async with channel:
        try:
            await ASKED[target.service](channel)
        except aio.AioRpcError as error:
            return error.code() not in SHUT_OUT
    return True


async def all_let_in(
    targets: list[Target], shown: Identity, registry: TrustRegistry, wanted: bool
) -> bool:
    found = await asyncio.gather(*(lets_in(one, shown, registry) for one in targets))
    return set(found) == {wanted}


class People:
    """What goes on all the while; `turns` counts what was finished, by its name."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.turns: Counter[str] = Counter()

    async def records(self) -> None:
        """A record is put at the member that moves, and opened by another's clinician."""
        alliance = self._town.alliance
        patient = await self._town.person("b")
        clinician = await self._town.person("c", "staff", "clinician")
        put = await put_record(
            await self._town.hospital("b"), b"content", WalletOwner(alliance, patient)
        )
        terms = ConsentTerms(put.record_id, "hospital-c", int(alliance.now()) + 3600)
        consent = await grant_consent(alliance, patient, terms)
        opened = await get_record(alliance, clinician, put.record_id, consent.grant_id)
        assert opened.content == b"content"

    async def repeat(self) -> None:
        while True:
            await self.records()
            self.turns["records"] += 1

    @asynccontextmanager
    async def busy(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.repeat())
            yield
            task.cancel()

    async def some_more(self) -> None:
        before = self.turns["records"]
        await eventually(
            lambda: self.turns["records"] >= before + TURNS, seconds=60, what="more records"
        )


@pytest.fixture
def told(folder: AllianceFolder, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what runs a command of `alliance authority` as a member, and its document."""

    async def command(*arguments: str, member: str, status: int = 0) -> dict[str, Any]:
        given = ["alliance", "authority", *arguments, "--member", member]
        capsys.readouterr()
        ended = await asyncio.to_thread(run, [*given, "--alliance", str(folder.root), "--json"])
        printed = capsys.readouterr().out
        assert ended == status, printed
        # Connections of this test log to the same stream; a command's own process logs to stderr.
        return json.loads(printed[printed.index("{") :])

    return command


async def test_a_member_moves_to_another_authority_while_all_goes_on(
    running: RunningAlliance, folder: AllianceFolder, town: Town, told: Any, tmp_path: Path
) -> None:
    restarts, home, targets = running.supervisor.restarts, folder.member(MOVING), targets_of(folder)
    old, new, thief = (
        DevAuthority.load(home.key(""), MOVING),
        *(DevAuthority.create(MOVING) for _ in range(2)),
    )
    file = tmp_path / "new.pem"
    file.write_bytes(new.certificate_pem)
    # Who is asked is not the question here: every authority of before and after counts.
    known = {m: found.ca_certificate.encode() for m, found in running.genesis.members.items()}
    registry = TrustRegistry({**known, MOVING: old.certificate_pem + new.certificate_pem})
    people = People(town)
    async with people.busy():
        await people.some_more()
        refused = await told("propose", str(file), "--only", member=MOVING, status=1)
        assert refused["error"]["reason"] == "AUTHORITY_IN_USE"
        first = await told("propose", str(file), "--keep-old", member=MOVING)
        assert (first["state"], first["approved_by"]) == ("proposed", [MOVING])
        for other in (new, thief):  # without the votes
            assert await all_let_in(targets, other.issue(CLIENT), registry, False)
        voted = [await told("vote", MOVING, str(file), member=voter) for voter in VOTERS][-1]
        assert (voted["change"], voted["state"]) == (first["change"], "changed")
        await eventually(
            partial(all_let_in, targets, new.issue(CLIENT), registry, True),
            seconds=SEEN_SECONDS,
            what="everybody with both authorities",
        )
        opened = town.alliance, (await town.hospital("b")).alliance
        await eventually(
            lambda: all(new.certificate_pem in one.authority_pem(MOVING) for one in opened),
            seconds=SEEN_SECONDS,
            what="clients with both authorities",
        )
        own = [one for one in targets if one.member == MOVING]
        await asyncio.to_thread(new.save, home.key(""))
        for service in (*(one.service for one in own), CLIENT):
            await asyncio.to_thread(save_identity, new.issue(service), home.tls, service)
        only_new = TrustRegistry({**known, MOVING: new.certificate_pem})
        await eventually(
            partial(all_let_in, own, new.issue(CLIENT), only_new, True),
            seconds=SEEN_SECONDS,
            what="its services with certificates of the new one",
        )
        desk = (await town.hospital("b")).alliance.identity
        certificate, _ = home.certificate(CLIENT)
        await eventually(
            lambda: desk.current.certificate_pem == certificate.read_bytes(),
            seconds=SEEN_SECONDS,
            what="its own systems with theirs",
        )
        await people.some_more()
        second = await told("propose", str(file), "--only", member=MOVING)
        voted = [await told("vote", MOVING, str(file), member=voter) for voter in VOTERS][-1]
        assert (voted["change"], voted["state"]) == (second["change"], "changed")
        await eventually(
            partial(all_let_in, targets, old.issue(CLIENT), registry, False),
            seconds=SEEN_SECONDS,
            what="nobody with the old authority",
        )
        await people.some_more()
        assert await all_let_in(targets, thief.issue(CLIENT), registry, False)
    shown = await told("show", member="hospital-a")
    assert [one["member"] for one in shown["authorities"]].count(MOVING) == 1
    assert shown["pending"] == []
    assert [found for target in targets for found in look_at_certificate(target)] == []
    assert running.supervisor.restarts == restarts
