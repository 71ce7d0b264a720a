"""Renewal each epoch, and revocation by leaving it out."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_anoncred.schema import parse_header
from cipherward_kit.errors import reason_of

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import Hospital, World

REJECTED = (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_REJECTED")


async def why(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - an awaitable
    return caught.value.code(), reason_of(caught.value)


async def stop(hospital: Hospital, request_id: str) -> None:
    await hospital.desk.StopRenewal(pb.StopRenewalRequest(request_id=request_id))


async def test_a_renewed_credential_is_of_the_new_epoch_with_the_same_pseudonyms(
    world: World,
) -> None:
    async with world.hospital() as hospital:
        credential = await hospital.enrol(schema="staff", role="researcher")
        await world.beat(world.genesis.parameters.epoch_seconds)
        answer = await hospital.renew(credential.identity())
        assert answer == await hospital.renew(credential.identity())
    renewed = credential.renewed(answer.signature, answer.header)
    assert parse_header(renewed.header).epoch == 2
    assert renewed.pseudonym(b"study:00") == credential.pseudonym(b"study:00")


async def test_renewals_go_on_after_a_restart(world: World) -> None:
    async with world.hospital() as hospital:
        credential = await hospital.enrol()
        before = await hospital.renew(credential.identity())
    async with world.hospital() as hospital:
        assert await hospital.renew(credential.identity()) == before


@pytest.mark.parametrize("identity", [b"", bytes(48), bytes(10_000)])
async def test_an_unknown_identity_is_refused(world: World, identity: bytes) -> None:
    async with world.hospital() as hospital:
        assert await why(hospital.renew(identity)) == REJECTED


async def test_a_holder_of_another_hospital_is_unknown(world: World) -> None:
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        credential = await first.enrol()
        assert await why(second.renew(credential.identity())) == REJECTED


async def test_a_stopped_holder_is_renewed_no_more(world: World) -> None:
    request_id = str(uuid.uuid4())
    async with world.hospital() as hospital:
        code = await hospital.admit("staff", request_id, role="clinician")
        asked = await hospital.ask(code)
        credential = asked.accept((await hospital.holder.RequestCredential(asked.request)).grant)
        other = await hospital.enrol()
        await hospital.renew(credential.identity())
        await stop(hospital, request_id)
        await stop(hospital, request_id)
        assert await why(hospital.renew(credential.identity())) == REJECTED
        await hospital.renew(other.identity())
        again = await hospital.enrol(credential, schema="staff", role="researcher")
        await hospital.renew(again.identity())  # the desk has admitted the person again


async def test_stopping_an_admission_kills_its_unused_code(world: World) -> None:
    request_id = str(uuid.uuid4())
    async with world.hospital() as hospital:
        code = await hospital.admit(request_id=request_id)
        asked = await hospital.ask(code)
        await stop(hospital, request_id)
        assert await why(hospital.begin(code)) == REJECTED
        assert await why(hospital.holder.RequestCredential(asked.request)) == REJECTED


async def test_only_an_admission_can_be_stopped(world: World) -> None:
    async with world.hospital() as hospital:
        unknown = await why(stop(hospital, str(uuid.uuid4())))
        assert unknown == (grpc.StatusCode.NOT_FOUND, "ADMISSION_UNKNOWN")
        malformed = await why(stop(hospital, "the clinician of room 3"))
        assert malformed == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_MALFORMED")
