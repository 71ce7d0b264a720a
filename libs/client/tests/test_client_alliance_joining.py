"""Accepting an invitation: all is held against its fingerprints before anything is written."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.testing import make_genesis
from cipherward_client.alliance.create import establish
from cipherward_client.alliance.fetching import InviterAway, OtherAuthority, OtherGenesis
from cipherward_client.alliance.founding import EngineUnfit, MemberTaken
from cipherward_client.alliance.invitation import (
    Invitation,
    InvitationExpired,
    authority_fingerprints,
    genesis_fingerprint,
)
from cipherward_client.alliance.joining import FOUNDER, Newcomer, accept, go_on
from cipherward_client.alliance.layout import CUSTODIAN_KEY, AllianceFolder
from cipherward_client.alliance.places import read_places
from cipherward_client.alliance.ports import free_ports
from cipherward_client.sdk.registration import Registration
from cipherward_kit.testing import TestAlliance, serve_in_process

INVITER, NEWCOMER = "hospital-a", "hospital-e"
NOW = time.time() // 60 * 60  # invitations end with a full minute
WHO = Newcomer(NEWCOMER, "Hospital E", "hospital-e.example.org", 7000)


class Telling(LedgerServiceServicer):
    """A ledger that tells newcomers what it is given to tell, and answers nothing else."""

    def __init__(self, document: bytes) -> None:
        self.document = document

    async def GetGenesis(
        self, request: pb.GetGenesisRequest, context: Any
    ) -> pb.GetGenesisResponse:
        services = ("ledger", "contract", "identity")
        return pb.GetGenesisResponse(
            genesis=self.document,
            ledger_member=INVITER,
            addresses=[
                *(
                    pb.ServiceAddress(
                        member=INVITER, service=one, listen=f"{one}.a:7000", holder=f"{one}.a:7001"
                    )
                    for one in services
                ),
                pb.ServiceAddress(member=INVITER, service="unheard-of", listen="x.a:7000"),
                pb.ServiceAddress(member=INVITER, service="storage", listen="no address"),
                pb.ServiceAddress(member="hospital-z", service="storage", listen="z:7000"),
            ],
        )


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("members"))


@pytest.fixture(scope="module")
def document(members: TestAlliance) -> bytes:
    certificates = {m: ca.certificate_pem.decode() for m, ca in members.authorities.items()}
    return make_genesis(ca_certificates=certificates)[1].document


@asynccontextmanager
async def told_by(
    members: TestAlliance, document: bytes, member: str = INVITER
) -> AsyncGenerator[Invitation]:
    """Serve what newcomers are told, and yield the invitation that leads there."""
    genesis = Genesis.parse(document)
    ledger = Telling(document)  # pyright: ignore[reportAbstractUsage] - nobody asks for more
    async with serve_in_process(
        lambda server: add_LedgerServiceServicer_to_server(ledger, server),
        domain="ledger.cipherward",
        alliance=members,
        service="ledger",
        member=member,
    ) as served:
        yield Invitation(
            chain_id=genesis.chain_id,
            member=INVITER,
            address=f"127.0.0.1:{served.ports.holder}",
            until=int(NOW) + 3600,
            genesis=genesis_fingerprint(genesis.digest),
            authority=authority_fingerprints(genesis.members[INVITER].ca_certificate)[0],
        )


@pytest.fixture
async def invitation(members: TestAlliance, document: bytes) -> AsyncIterator[Invitation]:
    async with told_by(members, document) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> AllianceFolder:
    return AllianceFolder(tmp_path / "mine")


def is_empty(folder: AllianceFolder) -> bool:
    return not folder.root.exists() or not any(folder.root.iterdir())


async def test_who_accepts_has_the_genesis_keys_of_its_own_and_the_addresses(
    invitation: Invitation, folder: AllianceFolder, document: bytes
) -> None:
    registration = await accept(folder, invitation, WHO, NOW)
    assert folder.genesis_file.read_bytes() == document
    assert Invitation.parse(folder.invitation_file.read_text()) == invitation
    home = folder.member(NEWCOMER)
    assert Registration.from_bytes(home.registration_file.read_bytes()) == registration
    assert registration.endpoints["identity"].listen == "hospital-e.example.org:7000"
    assert list(read_places(folder)) == [INVITER]  # nobody else is in the genesis or proven
    assert set(read_places(folder)[INVITER]) == {"ledger", "contract", "identity"}


async def test_keys_are_their_owners_alone_and_leave_the_folder_in_no_file(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    registration = await accept(folder, invitation, WHO, NOW)
    keys = [key for key in folder.member(NEWCOMER).key("").iterdir() if key.suffix == ".key"]
    assert len(keys) >= 5
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert folder.root.stat().st_mode & 0o077 == 0
    told = registration.to_bytes()
    assert not any(key.read_bytes().hex().encode() in told for key in keys)


async def test_accepting_again_keeps_the_keys(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    first = await accept(folder, invitation, WHO, NOW)
    key = folder.member(NEWCOMER).key(CUSTODIAN_KEY).read_bytes()
    assert await accept(folder, invitation, WHO, NOW) == first
    assert folder.member(NEWCOMER).key(CUSTODIAN_KEY).read_bytes() == key


async def test_another_genesis_at_the_address_is_refused(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    other = dataclasses.replace(invitation, genesis=bytes(20))
    with pytest.raises(OtherGenesis):
        await accept(folder, other, WHO, NOW)
    assert is_empty(folder)


async def test_another_chain_than_the_invitation_names_is_refused(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    with pytest.raises(OtherGenesis, match="another chain id"):
        await accept(folder, dataclasses.replace(invitation, chain_id="other"), WHO, NOW)
    assert is_empty(folder)


async def test_another_authority_than_the_genesis_has_is_refused(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    with pytest.raises(OtherAuthority, match="the chain has another authority"):
        await accept(folder, dataclasses.replace(invitation, authority=bytes(20)), WHO, NOW)
    assert is_empty(folder)


async def test_another_member_at_the_address_is_refused(
    members: TestAlliance, document: bytes, folder: AllianceFolder
) -> None:
    async with told_by(members, document, "hospital-b") as led_astray:
        with pytest.raises(OtherAuthority, match="spiffe://hospital-b/ledger"):
            await accept(folder, led_astray, WHO, NOW)
    assert is_empty(folder)


async def test_who_bears_the_members_name_by_an_authority_of_its_own_is_refused(
    document: bytes, folder: AllianceFolder, tmp_path: Path
) -> None:
    impostors = TestAlliance(tmp_path / "impostors")
    async with told_by(impostors, document) as led_astray:
        with pytest.raises(OtherAuthority, match="not issued by the authority"):
            await accept(folder, led_astray, WHO, NOW)
    assert is_empty(folder)


async def test_nobody_at_the_address_is_said_so(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    nobody = dataclasses.replace(invitation, address=f"127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(InviterAway, match="Connection refused"):
        await accept(folder, nobody, WHO, NOW)
    assert is_empty(folder)


async def test_who_does_not_speak_tls_is_nobody(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        other = dataclasses.replace(invitation, address=f"127.0.0.1:{port}")
        with pytest.raises(InviterAway):
            await accept(folder, other, WHO, NOW)
    assert is_empty(folder)


async def test_an_expired_invitation_leads_nowhere(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    with pytest.raises(InvitationExpired):
        await accept(folder, invitation, WHO, invitation.until + 1)
    assert is_empty(folder)


async def test_the_id_of_a_member_is_taken(invitation: Invitation, folder: AllianceFolder) -> None:
    with pytest.raises(MemberTaken):
        await accept(folder, invitation, dataclasses.replace(WHO, member="hospital-b"), NOW)
    assert is_empty(folder)


async def test_keys_that_were_made_for_another_engine_do_not_fit(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    establish(folder, NEWCOMER, "Hospital E", consensus=True, node=True)
    with pytest.raises(EngineUnfit):
        await accept(folder, invitation, WHO, NOW)
    assert not folder.genesis_file.exists()


async def test_a_folder_of_another_alliance_is_left_as_it_is(
    invitation: Invitation, folder: AllianceFolder
) -> None:
    folder.root.mkdir()
    folder.genesis_file.write_text("{}")
    with pytest.raises(OtherGenesis):
        await accept(folder, invitation, WHO, NOW)
    assert folder.genesis_file.read_text() == "{}"
    assert list(folder.root.iterdir()) == [folder.genesis_file]


async def test_a_founder_accepts_with_the_keys_that_the_genesis_names(
    members: TestAlliance, document: bytes, folder: AllianceFolder
) -> None:
    own = establish(folder, "hospital-b", "Hospital B", consensus=False, node=False)
    changed = json.loads(document)
    listed = next(one for one in changed["app_state"]["members"] if one["id"] == "hospital-b")
    listed["public_key"] = own.member.public_key.hex()
    async with told_by(members, json.dumps(changed).encode()) as made:
        who = dataclasses.replace(WHO, member="hospital-b")
        assert await accept(folder, made, who, NOW) == own
        assert await go_on(folder, "hospital-b", lambda _: None) == FOUNDER
