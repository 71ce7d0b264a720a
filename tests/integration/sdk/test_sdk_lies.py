"""Services that lie are found out: nothing is believed that the chain does not prove."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.group_keys import RECORD
from cipherward_chain.orders import Order
from cipherward_chain.release_parts import sign_part
from cipherward_chain.sealing import seal, share_place
from cipherward_chain.signatures import SigningKey
from cipherward_client.alliance.layout import MEMBER_KEY
from cipherward_client.sdk.audit import audit_record
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent, show_consent
from cipherward_client.sdk.errors import ClientError, explaining
from cipherward_client.sdk.group_keys import group_key
from cipherward_client.sdk.notices import notices_of_member
from cipherward_client.sdk.proven_orders import block_at
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.sdk.templates import get_template
from cipherward_client.wallet.wallet import Wallet
from cipherward_threshold.group.curve import G, octets

G1 = octets(G)

Town = Any  # conftest's; test modules cannot import it
Change = Callable[[Any], None]


class LyingStream:
    """A stream whose messages are changed on their way."""

    def __init__(self, stream: Any, change: Change) -> None:
        self._stream, self._change = stream, change

    def cancel(self) -> None:
        self._stream.cancel()

    async def __aiter__(self) -> AsyncGenerator[Any]:
        async for response in self._stream:
            self._change(response)
            yield response


class Liar:
    """A service whose answers to one method are changed on their way."""

    def __init__(self, stub: Any, method: str, change: Change) -> None:
        self._stub, self._method, self._change = stub, method, change

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._stub, name)
        if name != self._method:
            return call

        def stream(request: Any, **options: Any) -> Any:
            return LyingStream(call(request, **options), self._change)

        async def unary(request: Any, **options: Any) -> Any:
            response = await call(request, **options)
            self._change(response)
            return response

        return stream if name == "GetRecord" else unary


class LyingAlliance(Alliance):
    """A connection on which one service lies in one method."""

    service, method = "", ""
    change: Change

    def ledger_of(self, member: str) -> Any:
        return self._of(super().ledger_of(member), "ledger")

    @property
    def contract(self) -> Any:
        return self._of(super().contract, "contract")

    def storage_of(self, member: str) -> Any:
        return self._of(super().storage_of(member), "storage")

    def _of(self, stub: Any, service: str) -> Any:
        return Liar(stub, self.method, self.change) if service == self.service else stub


@pytest.fixture
async def lies(town: Town) -> Any:
    """Make connections on which `service` lies in `method`, as `change` does."""
    async with AsyncExitStack() as stack:

        def lying(service: str, method: str, change: Change) -> Alliance:
            honest = town.alliance
            alliance = LyingAlliance(honest.genesis, honest.endpoints, None, honest.home, stack)
            alliance.service, alliance.method, alliance.change = service, method, change
            return alliance

        yield lying


class Case:
    """A record of 2 MiB, consented to a clinician."""

    def __init__(self, patient: Wallet, clinician: Wallet, record_id: bytes, grant_id: bytes):
        self.patient, self.clinician = patient, clinician
        self.record_id, self.grant_id = record_id, grant_id

    @classmethod
    async def make(cls, town: Town) -> Case:
        patient, clinician = await town.person("a"), await town.person("b", "staff", "clinician")
        owner = WalletOwner(town.alliance, patient)
        record = await put_record(await town.hospital("a"), bytes(2_000_000), owner)
        expires = int(town.alliance.now()) + 3600
        terms = ConsentTerms(record.record_id, "hospital-b", expires)
        consent = await grant_consent(town.alliance, patient, terms)
        return cls(patient, clinician, record.record_id, consent.grant_id)

    async def opened_over(self, alliance: Alliance) -> str:
        """Return the reason why the record does not open over that connection."""
        with pytest.raises(ClientError) as told:
            await get_record(alliance, self.clinician, self.record_id, self.grant_id)
        return told.value.reason


def flip(name: str) -> Change:
    """Return what flips a bit in the middle of a field of bytes."""

    def change(message: Any) -> None:
        value = bytearray(getattr(message, name))
        value[len(value) // 2] ^= 1
        setattr(message, name, bytes(value))

    return change


def cut(message: Any) -> None:
    message.part = message.part[:-1]


def lengthened(message: Any) -> None:
    message.part += b"\0"


def other_order(response: Any) -> None:
    """Name another custodian: where the key would be fetched instead."""
    orders = response.block.orders
    orders[0] = orders[0].replace(b"hospital-a", b"hospital-d")


async def test_a_custodian_cannot_pass_anything_else_off_as_the_record(
    town: Town, lies: Any
) -> None:
    case = await Case.make(town)
    for method, change, reason in (
        ("GetRecord", flip("part"), "RECORD_CORRUPT"),
        ("GetRecord", cut, "RECORD_CORRUPT"),
        ("GetRecord", lengthened, "RECORD_CORRUPT"),
        ("GetReleasedKey", flip("sealed_part"), "OPENING_REJECTED"),
        ("GetReleasedKey", flip("anchor"), "ANCHOR_DIFFERS"),
        ("GetReleasedKey", flip("alliance_slot"), "ALLIANCE_SLOT_DIFFERS"),
        ("GetGuardianShare", flip("sealed_part"), "OPENING_REJECTED"),
    ):
        assert await case.opened_over(lies("storage", method, change)) == reason


async def test_a_ledger_cannot_forge_receipts_or_orders(town: Town, lies: Any) -> None:
    case = await Case.make(town)
    opened = await get_record(town.alliance, case.clinician, case.record_id, case.grant_id)

    def other_receipt(response: Any) -> None:
        response.receipt.ParseFromString(opened.act.receipt)

    def forged_receipt(response: Any) -> None:
        flip("result")(response.receipt)

    def other_block(response: Any) -> None:
        flip("header")(response.block)

    for method, change, reason in (
        ("GetReceipt", forged_receipt, "RECEIPT_REJECTED"),
        ("GetReceipt", other_receipt, "RECEIPT_OF_ANOTHER"),
        ("GetBlock", other_order, "ORDERS_REJECTED"),
        ("GetBlock", other_block, "ORDER_DIFFERS"),
    ):
        assert await case.opened_over(lies("ledger", method, change)) == reason


async def test_an_index_cannot_say_what_no_receipt_proves(town: Town, lies: Any) -> None:
    case = await Case.make(town)
    await get_record(town.alliance, case.clinician, case.record_id, case.grant_id)

    def refused(response: Any) -> None:
        response.disclosures[0].stage = contract_pb.DISCLOSURE_STAGE_REFUSED

    def another_purpose(response: Any) -> None:
        response.disclosures[0].purpose = "HPAYMT"

    def another_time(response: Any) -> None:
        response.disclosures[0].time.seconds += 60

    def another_contract(response: Any) -> None:
        response.disclosures[0].instance_id = bytes(16)

    def carried_out(response: Any) -> None:
        response.disclosures[0].stage = contract_pb.DISCLOSURE_STAGE_CARRIED_OUT
        response.disclosures[0].report_transaction_id = b""

    def another_order(response: Any) -> None:
        response.disclosures[0].order.index += 7

    for change in (
        refused,
        another_purpose,
        another_time,
        another_contract,
        carried_out,
        another_order,
    ):
        with pytest.raises(ClientError) as told:
            await audit_record(
                lies("contract", "ListDisclosures", change), case.patient, case.record_id
            )
        assert told.value.reason == "DISCLOSURE_DIFFERS", change.__name__


async def test_a_contract_service_cannot_pass_off_another_state(town: Town, lies: Any) -> None:
    patient = await town.person("a")
    record = await put_record(
        await town.hospital("a"), b"content", WalletOwner(town.alliance, patient)
    )
    expires = int(town.alliance.now()) + 3600
    terms = ConsentTerms(record.record_id, "hospital-b", expires)
    consent = await grant_consent(town.alliance, patient, terms)

    def another_value(response: Any) -> None:
        flip("value")(response.proven.proofs[0])

    def another_root(response: Any) -> None:
        flip("app_hash")(response.proven)

    def nothing(response: Any) -> None:
        del response.proven.proofs[:]

    def another_epoch(response: Any) -> None:
        response.key_epoch += 1

    async def key(alliance: Alliance) -> None:
        with explaining():
            await group_key(alliance, RECORD)

    async def contract(alliance: Alliance) -> None:
        await show_consent(alliance, patient, consent.grant_id)

    async def template(alliance: Alliance) -> None:
        await get_template(alliance, "consent")

    for method, change, question in (
        ("GetGroupKey", another_value, key),
        ("GetGroupKey", another_root, key),
        ("GetGroupKey", another_epoch, key),
        ("GetContract", another_value, contract),
        ("GetContract", nothing, contract),
        ("GetTemplate", another_value, template),
        ("GetTemplate", nothing, template),
    ):
        with pytest.raises(ClientError) as told:
            await question(lies("contract", method, change))
        assert told.value.reason == "STATE_UNPROVEN", method


class WrongGuardian:
    """A guardian's storage that hands over a share of something else, signed with its own key."""

    def __init__(self, stub: Any, town: Town, member: str, given: asyncio.Event) -> None:
        self._stub, self._town, self._member, self._given = stub, town, member, given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    async def GetGuardianShare(self, request: Any, timeout: float) -> Any:  # noqa: ASYNC109 (grpc's)
        response = await self._stub.GetGuardianShare(request, timeout=timeout)
        body = chain_pb.ReadBody.FromString(request.read.body)
        block = await block_at(self._town.alliance, body.order.height)
        order = Order.from_bytes(block.orders[body.order.index])
        fields = order.fields()
        part = chain_pb.ReleasePart(
            role="guardian",
            member_id=self._member,
            order_digest=hashlib.sha256(order.to_bytes()).digest(),
            anchor_digest=fields.octets("anchor_digest"),
            # In form: its own index and sharing, the point G, and a proof of nothing.
            body=b"\0\4" + (1).to_bytes(4, "big") + G1 + bytes(31) + b"\1" + bytes(31) + b"\1",
        )
        seed = self._town.folder.member(self._member).key(MEMBER_KEY).read_bytes()
        place = share_place(
            self._town.alliance.chain_id,
            body.object,
            (body.order.height, body.order.index),
            self._member,
            fields.octets("reader"),
        )
        signed = sign_part(self._town.alliance.chain_id, part, SigningKey(seed))
        response.sealed_part = seal(signed, fields.octets("reader_key"), place)
        self._given.set()
        return response


class Late:
    """A guardian's storage that answers after another one."""

    def __init__(self, stub: Any, given: asyncio.Event) -> None:
        self._stub, self._given = stub, given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    async def GetGuardianShare(self, request: Any, timeout: float) -> Any:  # noqa: ASYNC109 (grpc's)
        await self._given.wait()
        return await self._stub.GetGuardianShare(request, timeout=timeout)


class BetrayedAlliance(Alliance):
    """A connection on which hospital-d hands over a wrong share, and hospital-c a late one."""

    town: Any

    def storage_of(self, member: str) -> Any:
        stub = super().storage_of(member)
        given = self.__dict__.setdefault("given", asyncio.Event())
        if member == "hospital-d":
            return WrongGuardian(stub, self.town, member, given)
        return Late(stub, given) if member == "hospital-c" else stub


async def test_a_guardian_that_signs_a_wrong_share_is_named_and_the_record_opens(
    town: Town,
) -> None:
    case = await Case.make(town)
    honest = town.alliance
    async with AsyncExitStack() as stack:
        alliance = BetrayedAlliance(honest.genesis, honest.endpoints, None, honest.home, stack)
        alliance.town = town
        opened = await get_record(alliance, case.clinician, case.record_id, case.grant_id)
    assert opened.content == bytes(2_000_000)
    (fault,) = opened.faults
    assert fault.member == "hospital-d"
    assert fault.act is not None
    assert fault.act.result.applied
    told = await notices_of_member(await town.hospital("d"))
    assert "bad-share" in [notice.kind for notice in told]
