"""VerifyPresentations: a pure function for the own services, whatever else the service is doing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import grpc
import psutil
import pytest
from blockbuster import BlockBuster
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.identity.v1 import identity_service_pb2 as pb
from cipherward_anoncred.credential import Credential, scope_base
from cipherward_anoncred.presentation import present
from cipherward_anoncred.schema import attribute, header_of
from cipherward_identity import arithmetic
from cipherward_identity.service import DOMAIN
from cipherward_identity.verification import BATCH_MAX
from cipherward_kit.errors import reason_of
from cipherward_kit.jobs import JOBS
from cipherward_kit.testing import eventually, seen_reasons

if TYPE_CHECKING:  # the fixtures' types; pytest itself brings the fixtures
    from services.identity.tests.conftest import World

Item = pb.PresentationToVerify


def shown(
    credential: Credential,
    scope: str = "study:00",
    context: bytes = b"a body",
    disclosed: tuple[int, ...] = (0,),
) -> Item:
    """Return a presentation as a ledger sends it."""
    proof = present(credential, disclosed=disclosed, scope=scope.encode(), context=context)
    values = [
        chain_pb.DisclosedAttribute(index=index, value=credential.attributes[index])
        for index in disclosed
    ]
    return Item(
        presentation=chain_pb.Presentation(
            issuer_public_key=credential.public_key,
            header=credential.header,
            disclosed=values,
            scope=scope,
            proof=proof,
            pseudonym=credential.pseudonym(scope.encode()),
        ),
        context=context,
    )


def bent(item: Item, bend: Callable[[Item], object]) -> Item:
    copy = Item()
    copy.CopyFrom(item)
    bend(copy)
    return copy


async def test_presentations_of_two_hospitals_patients_and_staff_verify_in_one_batch(
    world: World,
) -> None:
    async with world.hospital("hospital-a") as first, world.hospital("hospital-b") as second:
        patient = await first.enrol()
        staff = await second.enrol(schema="staff", role="clinician")
        items = [
            shown(patient),
            shown(patient, disclosed=()),
            shown(staff, "duty:hospital-b:1", disclosed=(0, 1)),
            shown(staff, "duty:hospital-b:1", disclosed=(1,)),
        ]
        assert await first.verify(*items) == [True] * 4
        assert await second.verify(*items) == [True] * 4  # any member can check any issuer


# A point like any pseudonym, of nobody who presents here.
ANOTHER_PSEUDONYM = scope_base(b"study:00").to_compressed_bytes()

BENDS: dict[str, Callable[[Item], object]] = {
    "context": lambda item: setattr(item, "context", b"another body"),
    "scope": lambda item: setattr(item.presentation, "scope", "study:01"),
    "empty scope": lambda item: setattr(item.presentation, "scope", ""),
    "long scope": lambda item: setattr(item.presentation, "scope", "s" * 300),
    "proof": lambda item: setattr(
        item.presentation, "proof", item.presentation.proof[:-1] + b"\x00"
    ),
    "no proof": lambda item: setattr(item.presentation, "proof", b""),
    "key": lambda item: setattr(item.presentation, "issuer_public_key", bytes(96)),
    "no key": lambda item: setattr(item.presentation, "issuer_public_key", b""),
    "epoch": lambda item: setattr(
        item.presentation, "header", header_of("patient", "hospital-a", 2)
    ),
    "schema": lambda item: setattr(
        item.presentation, "header", header_of("staff", "hospital-a", 1)
    ),
    "unknown schema": lambda item: setattr(
        item.presentation, "header", header_of("visitor", "hospital-a", 1)
    ),
    "no header": lambda item: setattr(item.presentation, "header", b""),
    "value": lambda item: setattr(
        item.presentation.disclosed[0], "value", attribute("role", "text", "clinician")
    ),
    "value of another name": lambda item: setattr(
        item.presentation.disclosed[0], "value", attribute("member", "text", "patient")
    ),
    "no value": lambda item: setattr(item.presentation.disclosed[0], "value", b""),
    "index": lambda item: setattr(item.presentation.disclosed[0], "index", 1),
    "huge index": lambda item: setattr(item.presentation.disclosed[0], "index", 2**32 - 1),
    "another pseudonym": lambda item: setattr(item.presentation, "pseudonym", ANOTHER_PSEUDONYM),
    "no pseudonym": lambda item: setattr(item.presentation, "pseudonym", b""),
    "proof about another pseudonym": lambda item: setattr(
        item.presentation,
        "proof",
        item.presentation.proof.replace(item.presentation.pseudonym, ANOTHER_PSEUDONYM),
    ),
    "another pseudonym in both places": lambda item: (
        setattr(
            item.presentation,
            "proof",
            item.presentation.proof.replace(item.presentation.pseudonym, ANOTHER_PSEUDONYM),
        ),
        setattr(item.presentation, "pseudonym", ANOTHER_PSEUDONYM),
    ),
    "left out": lambda item: item.presentation.ClearField("disclosed"),
    "twice": lambda item: item.presentation.disclosed.append(item.presentation.disclosed[0]),
    "everything": lambda item: item.Clear(),
}


@pytest.mark.slow
async def test_whatever_is_bent_does_not_verify_and_spoils_nothing_beside_it(
    world: World,
) -> None:
    async with world.hospital() as hospital:
        good = shown(await hospital.enrol())
        items = [item for bend in BENDS.values() for item in (good, bent(good, bend))]
        verdicts = await hospital.verify(*items)
        assert all(verdicts[0::2])
        wrong = [name for name, ok in zip(BENDS, verdicts[1::2], strict=True) if ok]
        assert not wrong


async def test_an_empty_batch_has_no_verdict(world: World) -> None:
    async with world.hospital() as hospital:
        assert await hospital.verify() == []


async def test_a_batch_has_at_most_256(world: World) -> None:
    async with world.hospital() as hospital:
        assert await hospital.verify(*[Item()] * BATCH_MAX) == [False] * BATCH_MAX
        with pytest.raises(aio.AioRpcError) as caught:
            await hospital.verify(*[Item()] * (BATCH_MAX + 1))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "BATCH_TOO_LARGE"


async def test_it_answers_before_a_block_was_seen_and_on_a_standing_chain(world: World) -> None:
    async with world.hospital() as hospital:
        item = shown(await hospital.enrol())
    world.clock.seconds += 10_000
    del world.chain.blocks[:]  # the feed has nothing to give
    async with world.hospital("hospital-b", fresh=False) as hospital:
        assert await hospital.verify(item) == [True]


@pytest.mark.parametrize(
    ("member", "service"),
    [("hospital-b", "ledger"), ("hospital-b", "compute")],
)
async def test_only_the_own_members_services_may_ask(
    world: World, member: str, service: str
) -> None:
    async with world.hospital("hospital-a") as hospital:
        stub = hospital.stub(member, service)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.VerifyPresentations(pb.VerifyPresentationsRequest())
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason_of(caught.value) == "CALLER_REFUSED"


@pytest.mark.slow
async def test_more_batches_than_the_bound_are_refused_and_the_rest_is_answered(
    world: World,
) -> None:
    async with world.hospital(jobs_waiting_max=1) as hospital:
        batch = [shown(await hospital.enrol())] * 20
        calls = [hospital.verify(*batch) for _ in range(8)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = {reason_of(e) for e in answers if isinstance(e, aio.AioRpcError)}
    assert refusals == {"WORKERS_BUSY"}
    assert [True] * 20 in answers


async def test_a_flood_of_issuance_does_not_keep_the_ledger_waiting(world: World) -> None:
    async with world.hospital(jobs_waiting_max=1) as hospital:
        credential = await hospital.enrol()
        renewals = [hospital.renew(credential.identity()) for _ in range(50)]
        flood = asyncio.gather(*renewals, return_exceptions=True)
        assert await hospital.verify(shown(credential)) == [True]
        answers = await flood
    assert {reason_of(e) for e in answers if isinstance(e, aio.AioRpcError)} <= {"WORKERS_BUSY"}


@pytest.mark.slow
async def test_a_lost_worker_process_costs_a_retry_only(
    world: World, watched_loop: BlockBuster
) -> None:
    watched_loop.deactivate()  # a pool starts its processes from the loop's thread
    jobs = JOBS.labels(arithmetic.__name__)
    before = {child.pid for child in psutil.Process().children()}
    async with world.hospital(workers=1) as hospital:
        item = shown(await hospital.enrol())
        (worker,) = [
            child.pid
            for child in psutil.Process().children()
            if child.pid not in before and "spawn_main" in " ".join(child.cmdline())
        ]
        os.kill(worker, signal.SIGSTOP)  # so that it is in the middle of the job
        verdict = asyncio.ensure_future(hospital.verify(item))
        await eventually(lambda: any(s.value == 1 for m in jobs.collect() for s in m.samples))
        os.kill(worker, signal.SIGKILL)
        assert await verdict == [True]
    assert (DOMAIN, "WORKER_LOST") in seen_reasons()
