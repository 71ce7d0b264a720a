"""Admission: codes, who may be admitted as what, and how many."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio

from cipherward_identity.admissions import ADMISSION_SECONDS, format_code, hash_of_code
from cipherward_kit.errors import error_info, reason_of

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import Hospital, World

STRANGER = format_code(bytes(20))


async def why(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - an awaitable
    return caught.value.code(), reason_of(caught.value)


REJECTED = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REJECTED")


async def test_the_same_request_id_gets_the_same_code_also_after_a_restart(world: World) -> None:
    request_id = str(uuid.uuid4())
    async with world.hospital() as hospital:
        first = await hospital.admit(request_id=request_id)
        assert await hospital.admit(request_id=request_id) == first
        assert await hospital.admit() != first
    async with world.hospital() as hospital:
        assert await hospital.admit(request_id=request_id) == first


async def test_a_request_id_stands_for_one_admission(world: World) -> None:
    request_id = str(uuid.uuid4())
    async with world.hospital() as hospital:
        await hospital.admit("staff", request_id, role="clinician")
        for schema, attributes in (("staff", {"role": "dpo"}), ("patient", {})):
            refusal = await why(hospital.admit(schema, request_id, **attributes))
            assert refusal == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


@pytest.mark.parametrize("request_id", ["x", str(uuid.uuid4()).upper(), uuid.uuid4().hex])
async def test_a_request_id_is_a_uuid_in_its_one_form(world: World, request_id: str) -> None:
    async with world.hospital() as hospital:
        refusal = await why(hospital.admit(request_id=request_id))
    assert refusal == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_MALFORMED")


async def test_an_unknown_schema_is_refused(world: World) -> None:
    async with world.hospital() as hospital:
        refusal = await why(hospital.admit("visitor"))
    assert refusal == (grpc.StatusCode.INVALID_ARGUMENT, "SCHEMA_UNKNOWN")


@pytest.mark.parametrize(
    ("schema", "attributes"),
    [
        ("patient", {"role": "clinician"}),
        ("patient", {"name": "somebody"}),
        ("staff", {}),
        ("staff", {"role": "patient"}),
        ("staff", {"role": "clinician", "member": "hospital-b"}),
        ("staff", {"role": "Clinician"}),
    ],
)
async def test_attributes_are_those_of_the_schema_and_of_this_member(
    world: World, schema: str, attributes: dict[str, str]
) -> None:
    async with world.hospital() as hospital:
        refusal = await why(hospital.admit(schema, **attributes))
    assert refusal == (grpc.StatusCode.INVALID_ARGUMENT, "ATTRIBUTES_DIFFER")


async def test_what_can_have_one_value_only_may_be_said(world: World) -> None:
    async with world.hospital() as hospital:
        assert await hospital.admit("staff", role="dpo", member="hospital-a")
        assert await hospital.admit("patient", role="patient")


async def test_codes_that_are_out_are_bounded_until_they_are_used_or_expire(
    world: World,
) -> None:
    async with world.hospital(admissions_open_max=2) as hospital:
        await hospital.enrol()  # a used code does not count
        kept = str(uuid.uuid4())
        codes = [await hospital.admit(request_id=kept), await hospital.admit()]
        with pytest.raises(aio.AioRpcError) as caught:
            await hospital.admit()
        assert reason_of(caught.value) == "ADMISSIONS_FULL"
        info = error_info(caught.value)
        assert info is not None
        assert info.metadata["open_max"] == "2"
        assert await hospital.admit(request_id=kept) == codes[0]  # a retry is no new code
        await world.beat(ADMISSION_SECONDS)
        fresh = await hospital.admit(request_id=kept)
        assert fresh != codes[0]  # no code comes to life a second time
        assert await why(hospital.begin(codes[0])) == REJECTED


async def test_a_code_expires_after_a_day(world: World) -> None:
    async with world.hospital() as hospital:
        early, late = await hospital.admit(), await hospital.admit()
        await world.beat(ADMISSION_SECONDS - 1)
        await hospital.begin(early)
        asked = await hospital.ask(late)
        await world.beat(1)
        assert await why(hospital.begin(early)) == REJECTED
        assert await why(hospital.holder.RequestCredential(asked.request)) == REJECTED


@pytest.mark.parametrize("code", ["", "a", STRANGER, STRANGER[:-1], "é" * 32, "a" * 10_000])
async def test_a_code_that_was_never_given_is_refused(world: World, code: str) -> None:
    async with world.hospital() as hospital:
        assert await why(hospital.begin(code)) == REJECTED


async def test_a_code_may_be_typed_in_capitals_and_without_hyphens(world: World) -> None:
    async with world.hospital() as hospital:
        code = await hospital.admit()
        typed = f" {code.upper().replace('-', '')} "
        assert (await hospital.begin(typed)).session
    assert hash_of_code(typed) == hash_of_code(code)


async def test_codes_have_160_bits_and_differ_between_hospitals(world: World) -> None:
    request_id = str(uuid.uuid4())

    async def code_of(hospital: Hospital) -> str:
        return await hospital.admit(request_id=request_id)

    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        codes = {await code_of(first), await code_of(second)}
    assert len(codes) == 2
    assert all(len(code.replace("-", "")) * 5 == 160 for code in codes)
