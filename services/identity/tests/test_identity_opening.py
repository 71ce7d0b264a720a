"""Openings: a key that the members' services make, a warrant, the shares, and whom they lead to.

The contract's side is a transcript and orders made by the test; everything else is the service.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from cipherward_anoncred.credential import Credential
from cipherward_anoncred.presentation import Accountable, present, present_accountably
from cipherward_anoncred.schema import schema_of
from cipherward_chain.domains import transaction_context
from cipherward_chain.group_key_orders import SHARE_KEY, USE_SHARING, CeremonyOrder, SharingOrder
from cipherward_chain.group_keys import OPENING
from cipherward_chain.openings import OPEN_IDENTITY, Warrant
from cipherward_chain.orders import Order
from cipherward_chain.results import TransactionResult
from cipherward_chain.sealing import SealingKey
from cipherward_chain.transactions import parse_transaction
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.shared_keys import plan_of
from cipherward_member.testing_keys import make_shared_key
from cipherward_threshold.group.ceremony.plan import enough_of
from cipherward_threshold.group.ceremony.transcript import Completed, Transcript
from cipherward_threshold.group.errors import MessageRefused
from cipherward_threshold.group.keys import ThresholdKey
from cipherward_threshold.group.opening import combine_opening

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import Hospital, World

BOTH = ("hospital-a", "hospital-b")
SHARED = make_shared_key("test-chain", OPENING, BOTH).key
OTHER = make_shared_key("test-chain", OPENING, BOTH, start=2).key
SCOPE, BODY = "duty:hospital-a:1", b"the body of a transaction"
WARRANT_ID = bytes(range(16))
RECIPIENT_KEY = SealingKey.generate()
UNKNOWN = (grpc.StatusCode.NOT_FOUND, "WARRANT_UNKNOWN")
WINDOW = 5


async def why(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - an awaitable
    return caught.value.code(), reason_of(caught.value)


@dataclass(frozen=True, slots=True)
class Alliance:
    """Two running hospitals, and the opening key that they have made."""

    world: World
    hospitals: Mapping[str, Hospital]
    key: ThresholdKey

    @property
    def issuer(self) -> Hospital:
        return self.hospitals["hospital-a"]

    def warrant(self, ciphertext: bytes) -> Warrant:
        return Warrant(
            warrant=WARRANT_ID,
            scope=SCOPE,
            pseudonym=bytes(48),
            ciphertext=ciphertext,
            opening_key=self.key.public_key,
            key_epoch=1,
            sharing=self.key.sharing,
            threshold=self.key.threshold,
            guardians=BOTH,
            recipient="hospital-a",
            recipient_key=RECIPIENT_KEY.public_key,
        )

    async def order(self, warrant: Warrant, instance: bytes = WARRANT_ID) -> Order:
        return await ordered(self.world, warrant, instance)

    async def shares(self) -> dict[str, bytes]:
        """The sealed shares, once both guardians have made theirs."""
        found: dict[str, bytes] = {}
        for member, hospital in self.hospitals.items():
            stub = hospital.stub("hospital-a", "client")

            async def there(member: str = member, stub: IdentityServiceStub = stub) -> bool:
                request = pb.GetOpeningShareRequest(warrant_id=WARRANT_ID)
                try:
                    answer = await stub.GetOpeningShare(request)
                except aio.AioRpcError as error:
                    if reason_of(error) != "WARRANT_UNKNOWN":
                        raise
                    return False
                found[member] = answer.sealed_share
                return True

            await eventually(there)
        return found

    def opened(self, warrant: Warrant, sealed: Mapping[str, bytes]) -> bytes:
        """What the recipient finds."""
        chain_id = self.world.genesis.chain_id
        shares = {
            place: RECIPIENT_KEY.open(sealed[member], warrant.place(chain_id, member))
            for place, member in enumerate(BOTH, start=1)
        }
        context = warrant.context(chain_id)
        return combine_opening(self.key, warrant.ciphertext, shares, context)

    async def reports(self) -> dict[str, chain_pb.Report]:
        """What both members have told the chain, by member."""
        await eventually(lambda: len(self.world.ledger.waiting) >= len(BOTH))
        return {
            parsed.authorization.member.member_id: parsed.body.acts[0].report
            for parsed in map(parse_transaction, self.world.ledger.waiting)
        }


async def ordered(world: World, warrant: Warrant, instance: bytes = WARRANT_ID) -> Order:
    """Let a block order an opening."""
    arguments = {
        "warrant": warrant.warrant,
        "scope": warrant.scope,
        "pseudonym": warrant.pseudonym,
        "ciphertext": warrant.ciphertext,
        "opening_key": warrant.opening_key,
        "key_epoch": warrant.key_epoch,
        "sharing": warrant.sharing,
        "threshold": warrant.threshold,
        "guardians": list(warrant.guardians),
        "recipient": warrant.recipient,
        "recipient_key": warrant.recipient_key,
    }
    height = world.chain.next_height()
    order = Order(height, 0, instance, "opening", OPEN_IDENTITY, arguments)
    await world.block([order])
    return order


def judged(transcript: Transcript, height: int, raw: bytes) -> TransactionResult:
    """What the contract says to a member's message."""
    parsed = parse_transaction(raw)
    said = parsed.body.acts[0].ceremony_message
    try:
        transcript.feed(height, parsed.authorization.member.member_id, said.kind, said.body)
    except MessageRefused:
        return TransactionResult(reason="CEREMONY_REFUSED")
    return TransactionResult()


async def make_key(world: World) -> ThresholdKey:
    """Let the running hospitals make an opening key."""
    chain, ledger = world.chain, world.ledger
    order = CeremonyOrder(
        b"c" * 16, OPENING, 1, 1, BOTH, BOTH, enough_of(2), WINDOW, chain.next_height()
    )
    transcript = Transcript(plan_of(world.genesis.chain_id, order), order.start)
    begin = Order(order.start, 0, order.ceremony, "key-ceremony", SHARE_KEY, order.arguments())
    await world.block([begin])
    while transcript.outcome is None:
        awaited = len(transcript.awaited)
        await eventually(lambda awaited=awaited: len(ledger.waiting) >= awaited)
        height, said = chain.next_height(), list(ledger.waiting)
        ledger.waiting.clear()
        await world.block((), said, [judged(transcript, height, raw) for raw in said])
    assert isinstance(transcript.outcome, Completed)
    key = transcript.outcome.key
    used = SharingOrder(order.ceremony, OPENING, 1, 1, key.threshold, BOTH, BOTH, key.public_key)
    height = chain.next_height()
    use = Order(height, 0, order.ceremony, "key-ceremony", USE_SHARING, used.arguments())
    await world.block([use])
    return key


@asynccontextmanager
async def running(world: World) -> AsyncGenerator[dict[str, Hospital]]:
    async with world.hospital(BOTH[0]) as one, world.hospital(BOTH[1]) as other:
        yield {BOTH[0]: one, BOTH[1]: other}


@asynccontextmanager
async def alliance_of(world: World) -> AsyncGenerator[Alliance]:
    async with running(world) as hospitals:
        yield Alliance(world, hospitals, await make_key(world))


@dataclass(frozen=True, slots=True)
class Clinician:
    """A member of staff: the admission, the credential, and the opening of one presentation."""

    admission: str
    credential: Credential
    opening: bytes


async def clinician(alliance: Alliance) -> Clinician:
    admission = str(uuid.uuid4())
    asked = await alliance.issuer.ask(
        await alliance.issuer.admit("staff", admission, role="clinician")
    )
    response = await alliance.issuer.holder.RequestCredential(asked.request)
    credential = asked.accept(response.grant)
    shown = present_accountably(
        credential,
        opening_key=alliance.key.public_key,
        disclosed=[],
        scope=SCOPE.encode(),
        context=transaction_context(BODY),
    )
    return Clinician(admission, credential, shown.opening)


async def found_by(hospital: Hospital, identity: bytes) -> str:
    request = pb.FindHolderRequest(warrant_id=WARRANT_ID, identity_key=identity)
    return (await hospital.desk.FindHolder(request)).admission_id


@pytest.mark.slow
async def test_a_warrant_leads_to_the_admission_of_who_acted(world: World) -> None:
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        warrant = alliance.warrant(staff.opening)
        order = await alliance.order(warrant)
        sealed = await alliance.shares()
        identity = alliance.opened(warrant, sealed)
        assert identity == staff.credential.identity()
        assert await found_by(alliance.issuer, identity) == staff.admission
        for member, report in (await alliance.reports()).items():
            assert report.outcome == chain_pb.OUTCOME_DONE
            assert report.digest == hashlib.sha256(sealed[member]).digest()
            assert (report.order.height, report.order.index) == (order.height, order.index)


@pytest.mark.slow
async def test_a_share_is_made_once_whatever_is_ordered_or_asked_again(world: World) -> None:
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        warrant = alliance.warrant(staff.opening)
        await alliance.order(warrant)
        sealed = await alliance.shares()
        assert await alliance.shares() == sealed
        # the same warrant at another height, and with another key for the shares
        other = replace(warrant, recipient_key=SealingKey.generate().public_key)
        await alliance.order(other)
        assert await alliance.shares() == sealed
        key = alliance.key
    async with running(world) as hospitals:
        assert await Alliance(world, hospitals, key).shares() == sealed


@pytest.mark.slow
async def test_nobody_but_the_recipient_gets_a_share(world: World) -> None:
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        request = pb.GetOpeningShareRequest(warrant_id=WARRANT_ID)
        own = alliance.hospitals["hospital-b"].stub("hospital-b", "client")
        recipients = alliance.hospitals["hospital-b"].stub("hospital-a", "client")
        assert await why(recipients.GetOpeningShare(request)) == UNKNOWN  # nothing is ordered
        await alliance.order(alliance.warrant(staff.opening))
        await alliance.shares()
        assert await why(own.GetOpeningShare(request)) == UNKNOWN
        assert (await recipients.GetOpeningShare(request)).sealed_share
        with pytest.raises(aio.AioRpcError) as caught:
            await alliance.hospitals["hospital-b"].holder.GetOpeningShare(request)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.slow
async def test_holders_are_found_for_the_recipient_of_a_warrant_only(world: World) -> None:
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        identity = staff.credential.identity()
        other = alliance.hospitals["hospital-b"]
        assert await why(found_by(alliance.issuer, identity)) == UNKNOWN  # no warrant yet
        await alliance.order(alliance.warrant(staff.opening))
        assert await found_by(alliance.issuer, identity) == staff.admission
        assert await why(found_by(other, identity)) == UNKNOWN
        unknown = (grpc.StatusCode.NOT_FOUND, "HOLDER_UNKNOWN")
        for nobody in (bytes(48), b"", other.member.encode()):
            assert await why(found_by(alliance.issuer, nobody)) == unknown


@pytest.mark.slow
async def test_a_patient_is_never_found_whatever_the_warrant_says(world: World) -> None:
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        patient = await alliance.issuer.enrol()
        await alliance.order(alliance.warrant(staff.opening))
        unknown = (grpc.StatusCode.NOT_FOUND, "HOLDER_UNKNOWN")
        assert await why(found_by(alliance.issuer, patient.identity())) == unknown


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        {"sharing": 2},
        {"key_epoch": 2},
        {"threshold": 1},
        {"opening_key": bytes(48)},
        {"ciphertext": bytes(96)},
        {"recipient_key": bytes(1_216)},
        {"scope": "record:00112233"},
        {"warrant": b"w" * 16},
    ],
)
async def test_a_warrant_that_does_not_fit_is_reported_and_opens_nothing(
    world: World, what: dict[str, object]
) -> None:
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        await alliance.order(replace(alliance.warrant(staff.opening), **what))
        reports = await alliance.reports()
        assert sorted(reports) == list(BOTH)
        for report in reports.values():
            assert report.outcome == chain_pb.OUTCOME_FAILED
            assert report.digest == b""
        request = pb.GetOpeningShareRequest(warrant_id=WARRANT_ID)
        for hospital in alliance.hospitals.values():
            stub = hospital.stub("hospital-a", "client")
            assert await why(stub.GetOpeningShare(request)) == UNKNOWN


@pytest.mark.slow
async def test_a_silent_chain_opens_nobody_and_a_restart_makes_what_was_ordered(
    world: World,
) -> None:
    late = world.genesis.parameters.fresh_seconds + 1
    async with alliance_of(world) as alliance:
        staff = await clinician(alliance)
        warrant = alliance.warrant(staff.opening)
        world.clock.seconds += late
        for feed in world.feeds:
            assert world.is_up_to_date(feed)
        request = pb.GetOpeningShareRequest(warrant_id=WARRANT_ID)
        stub = alliance.issuer.stub("hospital-a", "client")
        stale = (grpc.StatusCode.FAILED_PRECONDITION, "CHAIN_STALE")
        assert await why(stub.GetOpeningShare(request)) == stale
        # the order is in a block, and the block is old: it is taken, and waits
        world.clock.seconds -= late
        past = world.clock.seconds
        world.clock.seconds = past - late
        await alliance.order(warrant)
        world.clock.seconds = past
        assert world.ledger.waiting == []
        key = alliance.key
    async with running(world) as hospitals:
        await world.beat(1)
        again = Alliance(world, hospitals, key)
        assert again.opened(warrant, await again.shares()) == staff.credential.identity()


# --- presentations of staff


def to_verify(credential: Credential, key: bytes, **changes: bytes) -> pb.PresentationToVerify:
    """A right presentation, with an opening if there is a key, and then changed."""
    context, scope = transaction_context(BODY), SCOPE.encode()
    shown = [1] if schema_of(credential.header).name == "staff" else []
    if key:
        made = present_accountably(
            credential, opening_key=key, disclosed=shown, scope=scope, context=context
        )
    else:
        octets = present(credential, disclosed=shown, scope=scope, context=context)
        made = Accountable(octets, b"")
    presentation = chain_pb.Presentation(
        issuer_public_key=credential.public_key,
        header=credential.header,
        disclosed=[
            chain_pb.DisclosedAttribute(index=index, value=credential.attributes[index])
            for index in shown
        ],
        scope=SCOPE,
        proof=made.octets,
        pseudonym=credential.pseudonym(scope),
        opening_key=key,
        opening=made.opening,
    )
    for name, value in changes.items():
        setattr(presentation, name, value)
    return pb.PresentationToVerify(presentation=presentation, context=context)


@pytest.mark.slow
async def test_an_opening_is_verified_with_the_presentation(world: World) -> None:
    key = SHARED.public_key
    async with world.hospital() as hospital:
        staff = await hospital.enrol(schema="staff", role="clinician")
        patient = await hospital.enrol()
        good = to_verify(staff, key)
        opening = good.presentation.opening
        assert await hospital.verify(
            good,
            to_verify(staff, b""),
            to_verify(patient, b""),
            to_verify(staff, key, opening=to_verify(staff, key).presentation.opening),
            to_verify(staff, key, opening_key=OTHER.public_key),
            to_verify(staff, key, opening=b""),
            to_verify(staff, key, opening_key=b"", opening=b""),
            to_verify(staff, b"", opening_key=key, opening=opening),
            to_verify(patient, b"", opening_key=key, opening=opening),
        ) == [True, True, True, False, False, False, False, False, False]
