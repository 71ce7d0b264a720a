"""Contributions, study texts, reads and the exchange between members, as callers see them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.authorization import MemberSigner, PseudonymSigner
from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.testing import seed_of
from cipherward_compute.service import GET_RESULT, GET_STUDY
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey
from cipherward_studies.spec import StudySpec

if TYPE_CHECKING:
    from conftest import MakeSpec, Rows, StudyRun, World

pytestmark = pytest.mark.slow  # four hospitals start: about a second


async def refused(call: Any) -> str:
    """Return the reason with which a call, or a stream, is refused."""
    with pytest.raises(aio.AioRpcError) as refusal:
        await (call.read() if hasattr(call, "read") else call)
    return reason_of(refusal.value)


async def sent(stream: Any) -> bytes:
    """Return all that a stream of chunks sends."""
    return b"".join([one.chunk async for one in stream])


def changed_text(spec: StudySpec, **changed: Any) -> bytes:
    return encode({**decode_map(spec.octets), **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 1},
        {"data_set": "hiv"},
        {"analyses": []},
        {"minimum": 0},
        {"profile": "additive-9"},
        {"requester_public_key": b"key"},
        {"variables": []},
        {"note": "more"},
        # more moments than eight ciphertexts carry
        {"analyses": [{"kind": "moments", "variables": ["age"], "statistics": ["median"]}]},
    ],
)
async def test_a_text_out_of_form_is_refused(
    lone: World, spec: StudySpec, changed: dict[str, object]
) -> None:
    holder = lone.hospitals["hospital-a"].holder()
    octets = changed_text(spec, **changed)
    put = holder.PutStudySpec(pb.PutStudySpecRequest(spec=octets))
    assert await refused(put) == "STUDY_SPEC_MALFORMED"


async def test_a_text_too_long_is_refused(lone: World) -> None:
    holder = lone.hospitals["hospital-a"].holder()
    put = holder.PutStudySpec(pb.PutStudySpecRequest(spec=bytes(256 * 1024 + 1)))
    assert await refused(put) == "STUDY_SPEC_MALFORMED"


async def test_a_variable_that_the_data_set_does_not_have_is_unknown(
    study: StudyRun, a_spec: MakeSpec
) -> None:
    taller = replace(
        study,
        spec=a_spec(
            variables=[{"name": "height", "low": 0, "high": 3, "unit": "m"}],
            analyses=[{"kind": "moments", "variables": ["height"]}],
        ),
    )
    assert await refused(taller.put_spec()) == "VARIABLE_UNKNOWN"


async def test_texts_that_nobody_starts_are_bounded_and_forgotten(
    lone: World, spec: StudySpec
) -> None:
    hospital = lone.hospitals["hospital-a"]
    await hospital.stop()
    hospital.config = hospital.config.model_copy(update={"specs_waiting_max": 2})
    await hospital.start()

    def put(minimum: int) -> Awaitable[pb.PutStudySpecResponse]:
        text = changed_text(spec, minimum=minimum)
        return hospital.holder().PutStudySpec(pb.PutStudySpecRequest(spec=text))

    for minimum in (10, 11, 11):
        await put(minimum)
    assert await refused(put(12)) == "STUDY_SPECS_FULL"
    lone.clock.seconds += 3 * 86_400
    await put(12)


async def test_parameters_of_rounds_are_kept_by_their_digest_and_bounded(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    await hospital.stop()
    hospital.config = hospital.config.model_copy(update={"specs_waiting_max": 2})
    await hospital.start()

    def put(number: int) -> Awaitable[pb.PutIterateResponse]:
        iterate = encode({"beta": [number]})
        return hospital.holder().PutIterate(pb.PutIterateRequest(iterate=iterate))

    assert (await put(1)).digest == hashlib.sha256(encode({"beta": [1]})).digest()
    await put(1)
    await put(2)
    assert await refused(put(3)) == "ITERATES_FULL"
    lone.clock.seconds += 2 * 86_400
    await put(3)


@pytest.mark.parametrize("iterate", [b"", b"\xf9\x3c\x00", bytes(64 * 1024 + 1)])
async def test_parameters_out_of_form_are_refused(lone: World, iterate: bytes) -> None:
    holder = lone.hospitals["hospital-a"].holder()
    put = holder.PutIterate(pb.PutIterateRequest(iterate=iterate))
    assert await refused(put) == "ITERATE_MALFORMED"


async def test_a_study_is_shown_to_its_members_and_its_requester_only(
    world: World, study: StudyRun
) -> None:
    study.instantiate()
    holder = world.hospitals["hospital-a"].holder()

    def get(signer: object) -> Awaitable[pb.GetStudyResponse]:
        read = world.read(GET_STUDY, study.study, signer=signer)
        return holder.GetStudy(pb.GetStudyRequest(read=read))

    for signer in (None, world.member_signer("hospital-d")):
        assert (await get(signer)).study.stage == "proposed"
    forged = MemberSigner("hospital-d", seed_of("somebody"))
    for signer in (PseudonymSigner(seed_of("somebody")), forged):
        assert await refused(get(signer)) == "READ_REJECTED"


async def test_a_read_for_another_method_or_a_second_time_is_rejected(
    world: World, study: StudyRun
) -> None:
    study.instantiate()
    holder = world.hospitals["hospital-a"].holder()
    other = pb.GetStudyRequest(read=world.read(GET_RESULT, study.study))
    assert await refused(holder.GetStudy(other)) == "READ_REJECTED"
    once = pb.GetStudyRequest(read=world.read(GET_STUDY, study.study))
    await holder.GetStudy(once)
    assert await refused(holder.GetStudy(once)) == "READ_REJECTED"


async def test_a_read_out_of_form_is_malformed(lone: World) -> None:
    holder = lone.hospitals["hospital-a"].holder()
    empty = pb.GetStudyRequest(read=chain_pb.AuthorizedRead(body=b"x"))
    assert await refused(holder.GetStudy(empty)) == "READ_MALFORMED"
    short = pb.GetStudyRequest(read=lone.read(GET_STUDY, b"study"))
    assert await refused(holder.GetStudy(short)) == "READ_MALFORMED"
    no_order = pb.GetResultRequest(read=lone.read(GET_RESULT, bytes(16)))
    assert await refused(holder.GetResult(no_order)) == "READ_MALFORMED"


async def test_a_study_that_no_block_started_is_unknown(lone: World) -> None:
    holder = lone.hospitals["hospital-a"].holder()
    request = pb.GetStudyRequest(read=lone.read(GET_STUDY, secrets.token_bytes(16)))
    assert await refused(holder.GetStudy(request)) == "STUDY_UNKNOWN"


async def test_a_study_that_nobody_approves_lapses(world: World, study: StudyRun) -> None:
    study.instantiate(step_seconds=60)
    assert not (await study.seen_at("hospital-a")).ended
    world.chain.heartbeat(time_ns=world.chain.genesis.time_ns + 120 * 10**9)
    world.chain.heartbeat()
    world.clock.seconds += 120
    await eventually(lambda: _ended(study))
    seen = await study.seen_at("hospital-a")
    assert (seen.stage, seen.failure) == ("failed", "it was not approved in time")
    assert seen.failure_reason == "NOT_APPROVED_IN_TIME"


async def _ended(study: StudyRun) -> bool:
    return (await study.seen_at("hospital-a")).ended


@pytest.mark.begins("released")
async def test_a_result_is_for_the_requester_and_the_order_that_released_it(
    world: World, study: StudyRun
) -> None:
    await study.to_result()
    holder = world.hospitals["hospital-a"].holder()

    def get(**named: Any) -> Any:
        return holder.GetResult(
            pb.GetResultRequest(read=world.read(GET_RESULT, study.study, **named))
        )

    member = world.member_signer("hospital-a")
    assert await refused(get(order=study.release, signer=member)) == "READ_REJECTED"
    assert await refused(get(order=OrderKey(1, 0))) == "NOT_RELEASED"
    world.clock.seconds += 60
    assert await refused(get(order=study.release)) == "CHAIN_STALE"


@pytest.mark.begins("valued")
async def test_a_result_of_a_study_that_failed_is_not_released(study: StudyRun) -> None:
    digest = await study.to_values()
    await study.world.hospitals["hospital-c"].stop()
    online = study.members[:3]
    study.release = study.release_order("release_result", digest, online)
    await study.done(study.release, online[:2])
    await study.done(study.retire("failed"), ("hospital-a", "hospital-b", "hospital-d"))
    assert (await study.seen_at("hospital-a")).stage == "failed"
    assert await refused(study.result_of("hospital-a")) == "NOT_RELEASED"


def message(study: StudyRun, kind: int) -> pb.GetCeremonyMessageRequest:
    return pb.GetCeremonyMessageRequest(study_id=study.study, kind=kind)  # pyright: ignore[reportArgumentType] - also kinds that there are not


async def test_messages_are_shown_when_all_have_committed_and_each_deal_to_its_receiver(
    world: World, study: StudyRun
) -> None:
    study.commitments = await study.done(study.ceremony_order("commit"))
    hospital = world.hospitals["hospital-a"]
    peer = hospital.stub("hospital-b", "compute")
    share = message(study, pb.CEREMONY_MESSAGE_KIND_REVEAL)
    deal = message(study, pb.CEREMONY_MESSAGE_KIND_DEAL)
    assert await refused(peer.GetCeremonyMessage(share)) == "NOT_YET_MADE"
    assert await refused(peer.GetCeremonyMessage(deal)) == "NOT_YET_MADE"
    await study.done(study.ceremony_order("reveal"))
    other = hospital.stub("hospital-c", "compute")
    shown = [await sent(one.GetCeremonyMessage(share)) for one in (peer, other)]
    assert shown[0] == shown[1]
    dealt = [await sent(one.GetCeremonyMessage(deal)) for one in (peer, other)]
    assert dealt[0] != dealt[1]
    assert await refused(peer.GetCeremonyMessage(message(study, 0))) == "MESSAGE_KIND_UNKNOWN"


async def test_peers_outside_the_study_and_other_services_get_nothing(
    world: World, study: StudyRun
) -> None:
    three = replace(study, members=study.members[:3])
    three.commitments = await three.done(three.ceremony_order("commit"))
    await three.done(three.ceremony_order("reveal"))
    hospital = world.hospitals["hospital-a"]
    share = message(study, pb.CEREMONY_MESSAGE_KIND_REVEAL)
    outsider = hospital.stub("hospital-d", "compute")
    assert await refused(outsider.GetCeremonyMessage(share)) == "STUDY_UNKNOWN"
    storage = hospital.stub("hospital-b", "storage")
    assert await refused(storage.GetCeremonyMessage(share)) == "CALLER_REFUSED"
    assert await refused(hospital.holder().GetCeremonyMessage(share)) == "CALLER_REFUSED"


@pytest.mark.begins("keyed")
async def test_a_contribution_is_shown_only_when_all_have_committed(
    world: World, study: StudyRun
) -> None:
    await study.put_spec()
    commitments = await study.done(study.start_order("counts", "commit"))
    peer = world.hospitals["hospital-a"].stub("hospital-b", "compute")

    def get(stage: int) -> Any:
        request = pb.GetContributionRequest(study_id=study.study, stage=stage)  # pyright: ignore[reportArgumentType] - also stages that there are not
        return peer.GetContribution(request)

    assert await refused(get(pb.CONTRIBUTION_STAGE_COUNTS)) == "NOT_YET_MADE"
    await study.done(study.start_order("counts", "verify", commitments))
    assert await sent(get(pb.CONTRIBUTION_STAGE_COUNTS))
    assert await refused(get(pb.CONTRIBUTION_STAGE_VALUES)) == "NOT_YET_MADE"
    assert await refused(get(0)) == "MESSAGE_KIND_UNKNOWN"
    world.clock.seconds += 60
    assert await refused(get(pb.CONTRIBUTION_STAGE_COUNTS)) == "CHAIN_STALE"


@pytest.mark.begins("keyed")
async def test_contributed_rows_replace_the_earlier_ones(
    study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    for member, hospital in study.world.hospitals.items():
        await hospital.contribute(rows[member][:25])
    digest = await study.to_result()
    assert study.finish(await study.totals(digest)).patients == 99
