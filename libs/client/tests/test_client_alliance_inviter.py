"""Who joined later may invite too: the newcomer believes the registry of now, proven from the
genesis on, and nothing else.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import (
    LedgerServiceServicer,
    add_LedgerServiceServicer_to_server,
)
from cipherward_chain.admission import Admission
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.canonical import Value, encode
from cipherward_chain.genesis import Genesis
from cipherward_chain.orders import Order
from cipherward_chain.registry_entry import member_key
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestChain, TestKeys, make_genesis, seed_of
from cipherward_chain.transactions import build_transaction
from cipherward_client.alliance.fetching import OtherAuthority
from cipherward_client.alliance.invitation import (
    Invitation,
    authority_fingerprints,
    genesis_fingerprint,
)
from cipherward_client.alliance.inviter import InviterRemoved, InviterUnproven
from cipherward_client.alliance.inviting import AdmissionMissing, invite
from cipherward_client.alliance.joining import Newcomer, accept
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.places import read_places, write_places
from cipherward_client.sdk.certified import StateUnproven
from cipherward_client.sdk.connection import Alliance, admission_file, read_admission
from cipherward_client.sdk.proven_state import StateTooOld
from cipherward_kit.devca import DevAuthority
from cipherward_kit.testing import MEMBERS, TestAlliance, serve_in_process

FOUNDER, LATER = MEMBERS[0], "hospital-e"
WHO = Newcomer("hospital-f", "Hospital F", "hospital-f.example.org", 7000)
NOW = time.time() // 60 * 60
LONG_AGO_SECONDS = 3600

Change = Callable[[pb.GetGenesisResponse], None]


class Telling(LedgerServiceServicer):
    """The ledger of a member, beside a chain in memory; `change` is what it makes of the truth."""

    def __init__(self, genesis: Genesis, keys: TestKeys) -> None:
        self.chain = TestChain(genesis, keys)
        self.document = keys.document
        self.signer = MemberSigner(FOUNDER, keys.member_seeds[FOUNDER])
        self.admission: Admission | None = None
        self.change: Change = lambda answer: None

    def decide(
        self, writes: Mapping[bytes, bytes], orders: Sequence[Order] = ()
    ) -> chain_pb.ProvenBlock:
        """Make a block of one transaction that has these effects."""
        transaction = build_transaction(
            [tx_pb.Act(tick=tx_pb.Tick())],
            chain_id=self.chain.genesis.chain_id,
            expires_at=int(NOW) + 300,
            signer=self.signer,
        )
        return self.chain.append([transaction], orders=orders, writes=writes)

    async def GetGenesis(
        self, request: pb.GetGenesisRequest, context: Any
    ) -> pb.GetGenesisResponse:
        state = self.chain.state
        answer = pb.GetGenesisResponse(
            genesis=self.document,
            ledger_member=FOUNDER,
            addresses=[
                pb.ServiceAddress(
                    member=member,
                    service="ledger",
                    listen=f"{member}.example.org:7000",
                    holder=f"{member}.example.org:7001",
                )
                for member in (FOUNDER, LATER, "hospital-z")
            ],
            entry=pb.RegistryEntry(
                height=self.chain.height,
                app_hash=state.root(),
                proof=state.prove(member_key(request.member)),
            ),
        )
        self.change(answer)
        return answer

    async def GetAdmission(
        self, request: pb.GetAdmissionRequest, context: Any
    ) -> pb.GetAdmissionResponse:
        if self.admission is not None:
            return pb.GetAdmissionResponse(admission=self.admission.to_bytes())
        return await context.abort(grpc.StatusCode.NOT_FOUND, "none is kept")

    async def GetLightBlock(
        self, request: pb.GetLightBlockRequest, context: Any
    ) -> pb.GetLightBlockResponse:
        proven = self.chain.blocks[request.height - 2 if request.height else -1]
        return pb.GetLightBlockResponse(
            light_block=chain_pb.LightBlock(
                header=proven.next_header,
                commit=proven.next_commit,
                validators=self.chain.genesis.validators.to_bytes(),
            )
        )

    async def GetValidatorChanges(
        self, request: pb.GetValidatorChangesRequest, context: Any
    ) -> pb.GetValidatorChangesResponse:
        return pb.GetValidatorChangesResponse()


def beside(genesis: Genesis, keys: TestKeys) -> Telling:
    return Telling(genesis, keys)  # pyright: ignore[reportAbstractUsage] - nobody asks for more


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> TestAlliance:
    return TestAlliance(tmp_path_factory.mktemp("members"), (*MEMBERS, LATER))


def begun(members: TestAlliance, time_ns: int, chain_id: str = "nord") -> tuple[Genesis, TestKeys]:
    """Begin a chain of the founders with their own authorities."""
    certificates = {m: members.authorities[m].certificate_pem.decode() for m in MEMBERS}
    return make_genesis(ca_certificates=certificates, time_ns=time_ns, chain_id=chain_id)


def described(authority: DevAuthority) -> dict[str, Value]:
    """Return what an order and an entry both say of a member."""
    return {
        "name": "Hospital E",
        "index": 4,
        "public_key": SigningKey(seed_of(LATER)).public_key,
        "custodian_public_key": b"custodian",
        "ca_certificate": authority.certificate_pem.decode(),
        "consensus_public_key": b"",
        "node_id": b"",
    }


def entry(authority: DevAuthority) -> bytes:
    return encode({**described(authority), "issuers": [], "power": 0, "suspended": False})


def admit_later(told: Telling, authority: DevAuthority, *, and_remove: bool = False) -> None:
    """Let a block admit who invites, and keep the proof; one that is removed has no entry left."""
    fields = {**described(authority), "member": LATER, "issuer_public_key": bytes(96)}
    order = Order(told.chain.next_height(), 0, bytes(16), "membership", "admit_member", fields)
    writes = {} if and_remove else {member_key(LATER): entry(authority)}
    block = told.decide(writes, [order])
    told.admission = Admission.of(told.chain.receipt(len(told.chain.blocks), 0), block)


@pytest.fixture
def telling(members: TestAlliance) -> Telling:
    """The ledger of hospital-e, which was admitted a moment ago."""
    told = beside(*begun(members, time.time_ns()))
    admit_later(told, members.authorities[LATER])
    return told


@asynccontextmanager
async def invited_by(
    members: TestAlliance, telling: Telling, member: str = LATER
) -> AsyncGenerator[Invitation]:
    """Serve a member's ledger, and yield its invitation."""
    async with serve_in_process(
        lambda server: add_LedgerServiceServicer_to_server(telling, server),
        domain="ledger.cipherward",
        alliance=members,
        service="ledger",
        member=member,
    ) as served:
        authority = members.authorities[member].certificate_pem.decode()
        yield Invitation(
            chain_id=telling.chain.genesis.chain_id,
            member=member,
            address=f"127.0.0.1:{served.ports.holder}",
            until=int(NOW) + 3600,
            genesis=genesis_fingerprint(telling.chain.genesis.digest),
            authority=authority_fingerprints(authority)[0],
        )


@pytest.fixture
def folder(tmp_path: Path) -> AllianceFolder:
    return AllianceFolder(tmp_path / "mine")


async def refused(
    members: TestAlliance, telling: Telling, folder: AllianceFolder, why: type[Exception]
) -> None:
    """See that an invitation by hospital-e is refused for that reason, and nothing is written."""
    async with invited_by(members, telling) as invitation:
        with pytest.raises(why):
            await accept(folder, invitation, WHO, NOW)
    assert not folder.root.exists()


async def test_who_was_admitted_later_may_invite(
    members: TestAlliance, telling: Telling, folder: AllianceFolder
) -> None:
    async with invited_by(members, telling) as invitation:
        registration = await accept(folder, invitation, WHO, NOW)
        assert await accept(folder, invitation, WHO, NOW) == registration
    assert list(read_places(folder)) == [FOUNDER, LATER]  # hospital-z is proven by nobody
    assert read_admission(folder.endpoints_file, LATER) == telling.admission
    async with Alliance.open(folder.endpoints_file, folder.genesis_file) as alliance:
        assert alliance.present == (FOUNDER, LATER)


async def test_who_was_removed_since_is_refused(
    members: TestAlliance, folder: AllianceFolder
) -> None:
    telling = beside(*begun(members, time.time_ns()))
    admit_later(telling, members.authorities[LATER], and_remove=True)
    await refused(members, telling, folder, InviterRemoved)


async def test_a_ledger_that_proves_no_entry_is_refused(
    members: TestAlliance, telling: Telling, folder: AllianceFolder
) -> None:
    telling.change = lambda answer: answer.ClearField("entry")
    await refused(members, telling, folder, InviterUnproven)


async def test_the_proof_of_an_earlier_admission_is_needed_too(
    members: TestAlliance, telling: Telling, folder: AllianceFolder
) -> None:
    telling.admission = None
    await refused(members, telling, folder, InviterUnproven)


def another_value(answer: pb.GetGenesisResponse) -> None:
    answer.entry.proof.value = answer.entry.proof.value.replace(b"Hospital E", b"Hospital X")


def another_root(answer: pb.GetGenesisResponse) -> None:
    answer.entry.app_hash = bytes(32)


def another_key(answer: pb.GetGenesisResponse) -> None:
    answer.entry.proof.key = member_key(FOUNDER)


def no_proof(answer: pb.GetGenesisResponse) -> None:
    answer.entry.ClearField("proof")


@pytest.mark.parametrize("change", [another_value, another_root, another_key, no_proof])
async def test_a_changed_proof_is_refused(
    members: TestAlliance, telling: Telling, folder: AllianceFolder, change: Change
) -> None:
    telling.change = change
    await refused(members, telling, folder, StateUnproven)


async def test_a_chain_that_others_have_signed_proves_nothing(
    members: TestAlliance, folder: AllianceFolder
) -> None:
    """An impostor makes a chain of its own that begins with the right genesis document."""
    genesis, keys = begun(members, time.time_ns())
    own = dataclasses.replace(keys, validator_seed=seed_of("an impostor"))
    impostor = beside(_validated_by(genesis, own), own)
    admit_later(impostor, members.authorities[LATER])
    await refused(members, impostor, folder, StateUnproven)


def _validated_by(genesis: Genesis, keys: TestKeys) -> Genesis:
    """Return a genesis whose one validator has other keys."""
    (validator,) = genesis.validators.validators
    other = dataclasses.replace(validator, public_key=SigningKey(keys.validator_seed).public_key)
    return dataclasses.replace(genesis, validators=type(genesis.validators).of([other]))


async def test_a_chain_that_stands_still_does_not_say_who_is_a_member_now(
    members: TestAlliance, folder: AllianceFolder
) -> None:
    telling = beside(*begun(members, time.time_ns() - LONG_AGO_SECONDS * 10**9))
    admit_later(telling, members.authorities[LATER])
    await refused(members, telling, folder, StateTooOld)


async def test_another_authority_than_the_registry_has_is_refused(
    members: TestAlliance, telling: Telling, folder: AllianceFolder, tmp_path: Path
) -> None:
    impostors = TestAlliance(tmp_path / "impostors", (*MEMBERS, LATER))
    await refused(impostors, telling, folder, OtherAuthority)


async def test_a_certificate_of_another_authority_under_the_right_fingerprint_is_refused(
    members: TestAlliance, telling: Telling, folder: AllianceFolder, tmp_path: Path
) -> None:
    impostors = TestAlliance(tmp_path / "impostors", (*MEMBERS, LATER))
    authority = members.authorities[LATER].certificate_pem.decode()
    async with invited_by(impostors, telling) as made:
        invitation = dataclasses.replace(made, authority=authority_fingerprints(authority)[0])
        with pytest.raises(OtherAuthority, match="not issued by the authority"):
            await accept(folder, invitation, WHO, NOW)
    assert not folder.root.exists()


async def test_a_founder_invites_by_the_authority_that_the_registry_has_now(
    telling: Telling, folder: AllianceFolder, tmp_path: Path
) -> None:
    renewed = TestAlliance(tmp_path / "renewed", (*MEMBERS, LATER))
    telling.decide({member_key(FOUNDER): entry(renewed.authorities[FOUNDER])})
    async with invited_by(renewed, telling, FOUNDER) as invitation:
        await accept(folder, invitation, WHO, NOW)
    assert list(read_places(folder)) == [FOUNDER]
    assert not admission_file(folder.endpoints_file, FOUNDER).exists()


async def test_an_invitation_by_who_joined_later_names_its_proven_authority(
    members: TestAlliance, telling: Telling, folder: AllianceFolder
) -> None:
    async with invited_by(members, telling) as invitation:
        await accept(folder, invitation, WHO, NOW)
    genesis = telling.chain.genesis
    made = invite(folder, LATER, "", NOW, 1)
    assert (made.member, made.address) == (LATER, f"{LATER}.example.org:7001")
    assert made.authority == invitation.authority
    assert made.genesis == genesis_fingerprint(genesis.digest)
    admission_file(folder.endpoints_file, LATER).unlink()
    with pytest.raises(AdmissionMissing, match=LATER):
        invite(folder, LATER, "", NOW, 1)
    write_places(folder, genesis.chain_id, {FOUNDER: read_places(folder)[FOUNDER]})
    assert invite(folder, FOUNDER, "", NOW, 1).member == FOUNDER
