"""Enrolling for the columns of a data key: two presentations of one body, to one hospital."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.domains import read_context
from cipherward_chain.opt_outs import care_scope
from cipherward_chain.reads import build_read
from cipherward_chain.wire import NANOS
from cipherward_compute.column_keys import data_key_of, study_scope
from cipherward_compute.service import OPT_OUT
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_studies.columns import ColumnText

if TYPE_CHECKING:
    from conftest import DataKeyRun, Patient

pytestmark = pytest.mark.slow  # four hospitals start: about a second

A, B = "hospital-a", "hospital-b"


async def refused(call: Awaitable[Any]) -> str:
    with pytest.raises(aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


@pytest.fixture
async def proposed(run: DataKeyRun) -> DataKeyRun:
    run.propose()
    await run.put_text()
    return run


def rows(run: DataKeyRun, table: str, member: str = A) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(run.world.hospitals[member].config.data_dir / "compute.db")
    found = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return found


async def test_an_enrolment_says_what_is_still_missing(proposed: DataKeyRun) -> None:
    patient = proposed.a_patient(a=(50, 25))
    hospital = proposed.world.hospitals[A].holder()
    first = await hospital.Enrol(proposed.request(patient, A))
    assert (first.linked, first.registered) == (False, False)
    proposed.register(patient)
    await eventually(lambda: len(rows(proposed, "registrations")) == 1)
    (again,) = await proposed.enrol(patient)
    assert (again.linked, again.registered) == (True, True)
    assert len(rows(proposed, "enrolments")) == 1
    assert rows(proposed, "enrolments", B) == []


async def test_the_store_alone_names_no_patient(proposed: DataKeyRun) -> None:
    patient = proposed.a_patient(a=(50, 25))
    await proposed.enrol(patient)
    stored = b"".join(part for row in rows(proposed, "enrolments") for part in row)
    for wallet in patient.wallets.values():
        assert wallet.pseudonym not in stored
    assert patient.reference(A) not in stored


async def test_an_enrolment_is_taken_back_and_made_again(proposed: DataKeyRun) -> None:
    patient = proposed.a_patient(a=(50, 25))
    await proposed.enrol(patient)
    await proposed.enrol(patient, choice=b"out")
    assert rows(proposed, "enrolments") == []
    await proposed.enrol(patient, choice=b"out")
    await proposed.enrol(patient)
    assert len(rows(proposed, "enrolments")) == 1


async def test_only_two_presentations_of_one_body_enrol(proposed: DataKeyRun) -> None:
    run, world = proposed, proposed.world
    patient, other = run.a_patient(a=(50, 25)), run.a_patient(a=(60, 26))
    hospital = world.hospitals[A].holder()
    good, theirs = run.request(patient, A), run.request(other, A)

    def signed(scope: str, who: Patient = patient) -> Any:
        """Return the good body, authorised in another scope or by another patient."""
        read = type(good.care)()
        read.CopyFrom(good.care)
        read.authorization = who.wallets[scope].authorize(read_context(read.body))
        return read

    care, study = care_scope(A), study_scope(run.id)
    cases = [
        (pb.EnrolRequest(care=good.care, study=theirs.study), "READ_MALFORMED"),
        (pb.EnrolRequest(care=good.care), "READ_MALFORMED"),
        (pb.EnrolRequest(care=signed(care), study=signed(care)), "READ_REJECTED"),
        (pb.EnrolRequest(care=signed(study), study=signed(study)), "READ_REJECTED"),
        (pb.EnrolRequest(care=signed(study), study=signed(care)), "READ_REJECTED"),
        (pb.EnrolRequest(care=signed(care_scope(B)), study=signed(study)), "READ_REJECTED"),
        (run.request(patient, A, b"maybe"), "READ_MALFORMED"),
    ]
    for request, reason in cases:
        assert await refused(hospital.Enrol(request)) == reason
    assert await refused(hospital.Enrol(run.request(patient, B))) == "READ_REJECTED"
    await hospital.Enrol(good)
    assert await refused(hospital.Enrol(good)) == "READ_REJECTED"  # the same read again
    assert len(rows(run, "enrolments")) == 1


async def test_an_enrolment_for_what_is_not_proposed_or_while_nobody_verifies_is_refused(
    run: DataKeyRun,
) -> None:
    hospital = run.world.hospitals[A].holder()
    patient = run.a_patient(a=(50, 25))
    assert await refused(hospital.Enrol(run.request(patient, A))) == "DATA_KEY_UNKNOWN"
    text = ColumnText.from_document(
        {"data_set": "cohort-9", "variables": [{"name": "x", "low": 0, "high": 1}]}
    )
    put = hospital.PutColumnText
    assert await refused(put(pb.PutColumnTextRequest(text=b"?"))) == "COLUMN_TEXT_MALFORMED"
    request = pb.PutColumnTextRequest(text=text.octets)
    assert await refused(put(request)) == "COLUMN_TEXT_UNKNOWN"
    run.world.identity.away = True
    assert await refused(hospital.Enrol(run.request(patient, A))) == "IDENTITY_AWAY"
    run.world.identity.away = False
    run.world.clock.seconds += 3600
    assert await refused(hospital.Enrol(run.request(patient, A))) == "CHAIN_STALE"
    left = await refused(hospital.Enrol(run.request(patient, A, b"out")))
    assert left == "DATA_KEY_UNKNOWN"  # leaving needs no living chain


async def test_nobody_enrols_or_leaves_once_the_columns_are_fixed_or_the_key_has_ended(
    proposed: DataKeyRun,
) -> None:
    run, patient = proposed, proposed.a_patient(a=(50, 25))
    await run.enrol(patient)
    order = run.fix_order("commit")  # fails, since there is no key
    await run.study.reports(order)
    hospital = run.world.hospitals[A].holder()
    for choice in (b"in", b"out"):
        request = run.request(patient, A, choice)
        assert await refused(hospital.Enrol(request)) == "ENROLMENT_CLOSED"
    run.register(patient)
    await run.study.done(run.study.retire("retired"))
    assert rows(run, "enrolments") == rows(run, "registrations") == []
    assert await refused(hospital.Enrol(run.request(patient, A))) == "ENROLMENT_CLOSED"
    assert (await run.study.seen_at(A)).stage == "retired"


async def test_an_enrolment_for_a_key_that_nobody_approved_is_forgotten(
    proposed: DataKeyRun,
) -> None:
    run, patient = proposed, proposed.a_patient(a=(50, 25))
    await run.enrol(patient)
    chain = run.world.chain
    chain.heartbeat(time_ns=chain.genesis.time_ns + 1200 * NANOS)  # it may be approved for 600 s
    chain.heartbeat()
    run.world.clock.seconds += 1200
    await eventually(lambda: rows(run, "enrolments") == [])
    hospital = run.world.hospitals[A].holder()
    assert await refused(hospital.Enrol(run.request(patient, A))) == "ENROLMENT_CLOSED"


async def test_an_opted_out_patients_values_are_never_in_a_slot(proposed: DataKeyRun) -> None:
    run = proposed
    stays, leaves, unlinked = (run.a_patient(a=(50 + n, 25)) for n in range(3))
    run.register(stays, leaves, unlinked)
    await run.contribute()
    for patient in (stays, leaves):
        await run.enrol(patient)
    hospital = run.world.hospitals[A]
    await hospital.holder().Enrol(run.request(unlinked, A))
    signer = leaves.wallets[care_scope(A)]
    read = build_read(
        OPT_OUT,
        b"out",
        chain_id=run.world.chain.genesis.chain_id,
        signer=signer,
        time_ns=int(run.world.clock.seconds * NANOS),
    )
    await hospital.holder().OptOut(pb.OptOutRequest(read=read))
    run.give_key()
    await run.study.done(run.fix_order("commit"))
    manifest = run.listed(A)
    held = run.opened(run.storages[A].kept[manifest.columns[0]], 3)
    assert sum(held) == 1  # the flags of the first variable
    assert sum(run.opened(run.storages[A].kept[manifest.columns[1]], 3)) == 50


def test_a_scope_names_a_data_key_only_in_its_one_form() -> None:
    assert data_key_of(study_scope(bytes(range(16)))) == bytes(range(16))
    for scope in ("study:", "study:00", f"care:{'00' * 16}", f"study:{'AB' * 16}", "00" * 16):
        assert data_key_of(scope) == b""
