"""Services that lie are found out: nothing is believed that the chain does not prove."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_client.sdk.audit import audit_record
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.consents import ConsentTerms, grant_consent
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.records import WalletOwner, get_record, put_record
from cipherward_client.wallet.wallet import Wallet

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
