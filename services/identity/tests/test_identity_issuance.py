"""Blind issuance on the holder port: one secret a patient, one credential a code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio

from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_anoncred.schema import header_of, parse_attribute, parse_header
from cipherward_anoncred.scheme import generate_issuer_key
from cipherward_identity.issuance import SESSION_SECONDS
from cipherward_kit.errors import reason_of

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import Hospital, World

SCOPES = (b"study:01", b"record:02")


async def rejected(call: object) -> aio.AioRpcError:
    """Return the one refusal that every bad code, session and proof gets."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call  # pyright: ignore[reportGeneralTypeIssues] - grpc's awaitable call
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(caught.value) == "CREDENTIAL_REJECTED"
    assert caught.value.details() == "credential rejected"
    return caught.value


async def bad_request(hospital: Hospital, request: pb.RequestCredentialRequest) -> None:
    await rejected(hospital.holder.RequestCredential(request))


def changed(
    asked: pb.RequestCredentialRequest, /, **fields: bytes | str
) -> pb.RequestCredentialRequest:
    copy = pb.RequestCredentialRequest()
    copy.CopyFrom(asked)
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def flipped(octets: bytes, at: int = -1) -> bytes:
    copy = bytearray(octets)
    copy[at] ^= 1
    return bytes(copy)


async def test_one_patient_of_two_hospitals_has_one_pseudonym_per_scope(world: World) -> None:
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        here = await first.enrol()
        there = await second.enrol(here)
        stranger = await second.enrol()
    assert {here.public_key, there.public_key} == {i.public_key for i in world.genesis.issuers}
    for scope in SCOPES:
        assert here.pseudonym(scope) == there.pseudonym(scope)
        assert here.pseudonym(scope) != stranger.pseudonym(scope)
    assert here.identity() != there.identity()  # the two registries cannot be joined


async def test_a_credential_says_what_the_desk_has_checked(world: World) -> None:
    async with world.hospital() as hospital:
        staff = await hospital.enrol(schema="staff", role="clinician")
        patient = await hospital.enrol()
    said = [parse_attribute(octets) for octets in staff.attributes]
    assert [(a.name, a.value) for a in said] == [("member", "hospital-a"), ("role", "clinician")]
    assert [parse_attribute(octets).value for octets in patient.attributes] == ["patient"]
    fields = parse_header(staff.header)
    assert (fields.issuer, fields.schema, fields.epoch) == ("hospital-a", "staff", 1)


async def test_a_code_is_good_for_one_credential(world: World) -> None:
    async with world.hospital() as hospital:
        code = await hospital.admit()
        asked, other = await hospital.ask(code), await hospital.ask(code)
        await hospital.holder.RequestCredential(asked.request)
        await bad_request(hospital, other.request)
        await rejected(hospital.begin(code))


async def test_two_requests_at_once_for_one_code_get_one_credential(world: World) -> None:
    async with world.hospital() as hospital:
        code = await hospital.admit()
        asked = [await hospital.ask(code) for _ in range(4)]
        calls = [hospital.holder.RequestCredential(each.request) for each in asked]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    granted = [a for a in answers if isinstance(a, pb.RequestCredentialResponse)]
    assert len(granted) == 1
    assert {reason_of(e) for e in answers if isinstance(e, aio.AioRpcError)} == {
        "CREDENTIAL_REJECTED"
    }


async def test_the_same_request_at_once_and_again_gets_the_same_grant(world: World) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        calls = [hospital.holder.RequestCredential(asked.request) for _ in range(4)]
        grants = {(await call).grant for call in calls}
    assert len(grants) == 1


async def test_a_grant_is_the_same_after_a_restart_and_long_after_its_session(
    world: World,
) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        before = (await hospital.holder.RequestCredential(asked.request)).grant
    await world.beat(3 * 24 * 3600)
    async with world.hospital() as hospital:
        after = (await hospital.holder.RequestCredential(asked.request)).grant
    assert after == before
    asked.accept(after)


async def test_a_session_survives_a_restart(world: World) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
    async with world.hospital() as hospital:
        asked.accept((await hospital.holder.RequestCredential(asked.request)).grant)


async def test_a_session_of_another_code_is_refused(world: World) -> None:
    async with world.hospital() as hospital:
        one, other = [await hospital.ask(await hospital.admit()) for _ in range(2)]
        await bad_request(hospital, changed(one.request, session=other.request.session))
        await bad_request(hospital, changed(other.request, admission_code=one.offer.issuer))
        swapped = changed(one.request, admission_code=other.request.admission_code)
        await bad_request(hospital, swapped)
        await hospital.holder.RequestCredential(one.request)  # the code is still good


@pytest.mark.parametrize("session", [b"", b"short", bytes(32), bytes(33)])
async def test_a_session_that_was_never_given_is_refused(world: World, session: bytes) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        await bad_request(hospital, changed(asked.request, session=session))


async def test_a_session_whose_time_was_moved_is_refused(world: World) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        await bad_request(
            hospital, changed(asked.request, session=flipped(asked.request.session, 7))
        )


async def test_a_session_ends_after_ten_minutes(world: World) -> None:
    async with world.hospital() as hospital:
        early, late = [await hospital.ask(await hospital.admit()) for _ in range(2)]
        await world.beat(SESSION_SECONDS - 20)
        await hospital.holder.RequestCredential(early.request)
        await world.beat(20)
        await bad_request(hospital, late.request)
        again = await hospital.ask(late.request.admission_code)  # the code is still good
        await hospital.holder.RequestCredential(again.request)


async def test_a_clock_that_is_set_back_lengthens_no_session(world: World) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        await world.beat(SESSION_SECONDS)
        world.clock.seconds -= 25  # within what the chain's freshness tolerates
        await bad_request(hospital, asked.request)


async def test_a_session_ends_with_its_epoch(world: World) -> None:
    await world.beat(world.genesis.parameters.epoch_seconds - 60)
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        await world.beat(90)
        await bad_request(hospital, asked.request)
        offer = await hospital.begin(asked.request.admission_code)
        assert parse_header(offer.header).epoch == 2


@pytest.mark.parametrize("at", [0, 1, 60, 100, -1])
async def test_a_tampered_request_is_refused(world: World, at: int) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        octets = flipped(asked.request.request, at)
        await bad_request(hospital, changed(asked.request, request=octets))
        await hospital.holder.RequestCredential(asked.request)  # nothing is lost


@pytest.mark.parametrize("octets", [b"", b"\x01", b"\x02" + bytes(400), bytes(1000)])
async def test_a_request_out_of_form_is_refused(world: World, octets: bytes) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        await bad_request(hospital, changed(asked.request, request=octets))


async def test_a_request_for_another_hospital_cannot_be_relayed(world: World) -> None:
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        theirs = await second.ask(await second.admit())
        code = await first.admit()
        ours = await first.begin(code)
        await bad_request(first, changed(theirs.request, admission_code=code, session=ours.session))


@pytest.mark.parametrize("which", ["key", "header", "issuer", "epoch", "schema", "half"])
async def test_an_earlier_issuer_that_is_unknown_or_not_current_is_refused(
    world: World, which: str
) -> None:
    stranger = generate_issuer_key(bytes(range(32))).public
    altered: dict[str, dict[str, bytes]] = {
        "key": {"earlier_public_key": stranger},
        "header": {"earlier_header": b"no header"},
        "issuer": {"earlier_header": header_of("patient", "hospital-b", 1)},
        "epoch": {"earlier_header": header_of("patient", "hospital-a", 2)},
        "schema": {"earlier_header": header_of("staff", "hospital-a", 1)},
        "half": {"earlier_public_key": b""},
    }
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        earlier = await first.enrol()
        asked = await second.ask(await second.admit(), earlier)
        await bad_request(second, changed(asked.request, **altered[which]))
        await second.holder.RequestCredential(asked.request)


async def test_an_earlier_credential_of_the_last_epoch_must_be_renewed_first(
    world: World,
) -> None:
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        earlier = await first.enrol()
        await world.beat(world.genesis.parameters.epoch_seconds)
        code = await second.admit()
        await bad_request(second, (await second.ask(code, earlier)).request)
        renewed = await first.renew(earlier.identity())
        current = earlier.renewed(renewed.signature, renewed.header)
        asked = await second.ask(code, current)
        there = asked.accept((await second.holder.RequestCredential(asked.request)).grant)
    assert there.pseudonym(SCOPES[0]) == earlier.pseudonym(SCOPES[0])


async def test_a_first_request_does_not_pass_for_one_on_an_earlier_credential(
    world: World,
) -> None:
    async with world.hospital() as hospital:
        earlier = await hospital.enrol()
        asked = await hospital.ask(await hospital.admit())
        shown = changed(
            asked.request,
            earlier_public_key=earlier.public_key,
            earlier_header=earlier.header,
        )
        await bad_request(hospital, shown)


async def test_a_lost_credential_comes_back_with_the_same_pseudonyms(world: World) -> None:
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        here = await first.enrol()
        lost = await second.enrol(here)
        again = await second.enrol(here)
        renewed = await second.renew(again.identity())
        again.renewed(renewed.signature, renewed.header)
    assert again.identity() == lost.identity()
    assert again.pseudonym(SCOPES[0]) == lost.pseudonym(SCOPES[0])


@pytest.mark.slow
async def test_nothing_is_issued_when_workers_are_busy_and_the_code_stays_good(
    world: World,
) -> None:
    async with world.hospital(jobs_waiting_max=1) as hospital:
        asked = [await hospital.ask(await hospital.admit()) for _ in range(24)]
        calls = [hospital.holder.RequestCredential(each.request) for each in asked]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        busy = [
            each
            for each, answer in zip(asked, answers, strict=True)
            if isinstance(answer, aio.AioRpcError)
        ]
        assert busy
        assert {reason_of(e) for e in answers if isinstance(e, aio.AioRpcError)} == {"WORKERS_BUSY"}
        for each in busy:
            each.accept((await hospital.holder.RequestCredential(each.request)).grant)


async def test_the_store_holds_no_code(world: World) -> None:
    async with world.hospital() as hospital:
        code = await hospital.admit()
        await hospital.ask(code)
    folder = world.folder / "hospital-a"
    stored = b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())
    assert stored
    assert code.encode() not in stored
    assert code.replace("-", "").upper().encode() not in stored


async def test_no_code_session_identity_or_grant_reaches_the_log(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    async with world.hospital() as hospital:
        asked = await hospital.ask(await hospital.admit())
        await bad_request(hospital, changed(asked.request, request=b"bad"))
        grant = (await hospital.holder.RequestCredential(asked.request)).grant
        identity = asked.accept(grant).identity()
        await hospital.renew(identity)
        await rejected(hospital.renew(bytes(48)))
        await rejected(hospital.begin(asked.request.admission_code))
    logged = capsys.readouterr()
    text = logged.out + logged.err
    assert "CREDENTIAL_REJECTED" in text
    for secret in (asked.request.session, grant, identity):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
    assert asked.request.admission_code not in text
