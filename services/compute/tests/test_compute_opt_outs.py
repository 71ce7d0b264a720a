"""Patients who keep their rows out: of counts and of values, from a block on, and provably."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from grpc import aio

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.authorization import PseudonymSigner
from cipherward_chain.opt_outs import verify_statement
from cipherward_chain.reads import build_read
from cipherward_chain.testing import seed_of
from cipherward_chain.wire import NANOS
from cipherward_compute.commitments import Contributed
from cipherward_compute.service import GET_STUDY, OPT_OUT
from cipherward_kit.errors import reason_of
from cipherward_studies.analyses.moments import MomentsResult

if TYPE_CHECKING:
    from conftest import Hospital, MakeSpec, MakeWallet, Rows, StudyRun, World

pytestmark = pytest.mark.slow  # four hospitals start: about a second

MINIMUM = 20  # of the study
OUT, IN = pb.OPT_OUT_CHOICE_OUT, pb.OPT_OUT_CHOICE_IN


def references(rows: Rows) -> list[bytes]:
    """Return a reference for each row."""
    return [hashlib.sha256(b"row %d" % place).digest()[:16] for place in range(len(rows))]


async def refused(call: Awaitable[Any]) -> str:
    with pytest.raises(aio.AioRpcError) as refusal:
        await call
    return reason_of(refusal.value)


@pytest.fixture
async def named(study: StudyRun, rows: Mapping[str, Rows]) -> StudyRun:
    """The study, over rows that have references."""
    for member, hospital in study.world.hospitals.items():
        await hospital.contribute(rows[member], references=references(rows[member]))
    return study


async def put(hospital: Hospital, reference: bytes, choice: int = OUT) -> pb.OptOutReceipt:
    request = pb.PutOptOutRequest(reference=reference, choice=choice)  # pyright: ignore[reportArgumentType] - also choices that there are not
    return (await hospital.stub().PutOptOut(request)).receipt


async def link(hospital: Hospital, pseudonym: bytes, named: Sequence[bytes]) -> None:
    await hospital.stub().LinkReferences(
        pb.LinkReferencesRequest(pseudonym=pseudonym, references=named)
    )


def choice(world: World, signer: Any, said: bytes = b"out", method: str = OPT_OUT) -> Any:
    read = build_read(
        method,
        said,
        chain_id=world.chain.genesis.chain_id,
        signer=signer,
        time_ns=int(world.clock.seconds * NANOS),
    )
    return pb.OptOutRequest(read=read)


async def said(world: World, signer: Any, *, what: bytes = b"out") -> pb.OptOutResponse:
    return await world.hospitals["hospital-a"].holder().OptOut(choice(world, signer, what))


def expected(study: StudyRun, rows: Mapping[str, Rows]) -> Rows:
    pooled = np.concatenate([rows[m] for m in study.members])
    return pooled[~np.isnan(pooled).any(axis=1)]


@pytest.mark.begins("keyed")
async def test_a_row_that_is_out_is_in_neither_the_counts_nor_the_values(
    named: StudyRun, rows: Mapping[str, Rows]
) -> None:
    hospital = named.world.hospitals["hospital-a"]
    for place in (0, 7, 29):
        await put(hospital, references(rows["hospital-a"])[place])
    named.world.append()
    digest = await named.to_result()
    found = named.finish(await named.totals(digest))
    left = {**rows, "hospital-a": np.delete(rows["hospital-a"], (0, 7, 29), axis=0)}
    pooled = expected(named, left)
    assert found.patients == len(pooled) == 116
    (moments, _) = found.results
    assert isinstance(moments, MomentsResult)
    assert [one.sum for one in moments.variables] == pytest.approx(pooled.sum(axis=0), rel=1e-7)


@pytest.mark.begins("keyed")
async def test_a_reference_that_is_out_is_out_in_every_data_set(
    study: StudyRun, rows: Mapping[str, Rows], a_spec: MakeSpec
) -> None:
    for member, hospital in study.world.hospitals.items():
        known = references(rows[member])[::-1]
        await hospital.contribute(rows[member], references=known, data_set="cohort-2")
    hospital = study.world.hospitals["hospital-a"]
    await put(hospital, references(rows["hospital-a"])[0])
    study.world.append()
    second = replace(study, spec=a_spec(data_set="cohort-2"))
    digest = await second.to_result()
    assert second.finish(await second.totals(digest)).patients == 118


@pytest.mark.begins("keyed")
async def test_an_opt_out_after_the_start_order_counts_for_the_next_study(
    named: StudyRun, another: StudyRun, rows: Mapping[str, Rows]
) -> None:
    hospital = named.world.hospitals["hospital-a"]
    counts = await named.to_counts()
    for reference in references(rows["hospital-a"])[:MINIMUM]:  # fewer would be singled out
        await put(hospital, reference)
    await named.passed(counts)
    digest = await named.summed("values")
    named.release = named.release_order("release_result", digest, named.members[:3])
    await named.done(named.release, named.members[:3])
    assert named.finish(await named.totals(digest)).patients == 119  # as they were counted
    digest = await another.to_result()
    assert another.finish(await another.totals(digest)).patients == 119 - MINIMUM


@pytest.mark.begins("keyed")
async def test_who_takes_part_again_does_so_from_the_next_study_on(
    named: StudyRun, another: StudyRun, rows: Mapping[str, Rows]
) -> None:
    hospital, known = named.world.hospitals["hospital-a"], references(rows["hospital-a"])
    for reference in known[:MINIMUM]:  # fewer would be singled out
        await put(hospital, reference)
    counts = await named.to_counts()
    for reference in known[:MINIMUM]:
        await put(hospital, reference, IN)
    await named.passed(counts)
    digest = await named.summed("values")
    named.release = named.release_order("release_result", digest, named.members[:3])
    await named.done(named.release, named.members[:3])
    assert named.finish(await named.totals(digest)).patients == 119 - MINIMUM
    digest = await another.to_result()
    assert another.finish(await another.totals(digest)).patients == 119


@pytest.mark.begins("keyed")
async def test_rows_without_references_are_not_counted_once_a_patient_is_out(
    study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    await put(study.world.hospitals["hospital-a"], references(rows["hospital-a"])[0])
    await study.put_spec()
    reports = await study.reports(study.start_order("counts", "commit"))
    failed = {member for member, report in reports.items() if report.outcome != 1}
    assert failed == {"hospital-a"}
    assert "no references" in (await study.seen_at("hospital-a")).failure


@pytest.mark.begins("keyed")
async def test_a_contribution_that_names_another_block_is_refused_by_who_adds(
    named: StudyRun,
) -> None:
    """hospital-b leaves opt-outs of the last blocks out of account, and says so."""
    await named.put_spec()
    commitments = await named.done(named.start_order("counts", "commit"))
    assert named.started is not None
    path = named.world.hospitals["hospital-b"].config.data_dir / "compute.db"
    connection = sqlite3.connect(path)
    try:
        with connection:
            connection.execute("UPDATE studies SET opt_outs_height = opt_outs_height - 1")
            (own,) = connection.execute("SELECT own FROM sums").fetchone()
    finally:
        connection.close()
    stale = Contributed(own, named.started.height - 1).commitment
    assert commitments["hospital-b"] != stale
    commitments["hospital-b"] = stale
    reports = await named.reports(named.start_order("counts", "verify", commitments))
    assert {report.outcome for report in reports.values()} == {2}
    failure = (await named.seen_at("hospital-a")).failure
    assert failure == "hospital-b: its contribution has opt-outs up to another block"


@pytest.mark.begins("keyed")
async def test_a_commitment_is_to_the_block_of_the_start_order(named: StudyRun) -> None:
    await named.put_spec()
    commitments = await named.done(named.start_order("counts", "commit"))
    started = named.started
    assert started is not None
    await named.done(named.start_order("counts", "verify", commitments))
    peer = named.world.hospitals["hospital-a"].stub("hospital-b", "compute")
    counts = pb.CONTRIBUTION_STAGE_COUNTS
    request = pb.GetContributionRequest(study_id=named.study, stage=counts)
    found = [one async for one in peer.GetContribution(request)]
    assert found[0].opt_outs_height == started.height
    batch = b"".join(one.chunk for one in found)
    digest = Contributed(batch, found[0].opt_outs_height).commitment
    assert digest == commitments["hospital-a"]


@pytest.mark.begins("keyed")
async def test_a_wallets_choice_reaches_the_rows_that_the_hospital_has_linked(
    named: StudyRun, rows: Mapping[str, Rows], a_wallet: MakeWallet
) -> None:
    world, wallet = named.world, a_wallet()
    hospital = world.hospitals["hospital-a"]
    assert not (await said(world, wallet)).linked
    counted = await hospital.stub().CountOptOuts(pb.CountOptOutsRequest())
    assert (counted.pseudonyms, counted.pseudonyms_unlinked, counted.references) == (1, 1, 0)
    await link(hospital, wallet.pseudonym, references(rows["hospital-a"])[:2])
    assert (await said(world, wallet)).linked
    counted = await hospital.stub().CountOptOuts(pb.CountOptOutsRequest())
    assert (counted.pseudonyms, counted.pseudonyms_unlinked, counted.references) == (1, 0, 2)
    world.append()
    digest = await named.to_result()
    assert named.finish(await named.totals(digest)).patients == 117


async def test_a_link_that_is_replaced_reaches_other_rows(
    named: StudyRun, rows: Mapping[str, Rows], a_wallet: MakeWallet
) -> None:
    world, wallet = named.world, a_wallet(issuer="hospital-b")  # vouched for by another member
    hospital, known = world.hospitals["hospital-a"], references(rows["hospital-a"])
    await said(world, wallet)
    await link(hospital, wallet.pseudonym, known[:2])
    world.append()
    await link(hospital, wallet.pseudonym, known[1:2])
    counted = await hospital.stub().CountOptOuts(pb.CountOptOutsRequest())
    assert (counted.pseudonyms_unlinked, counted.references) == (0, 1)
    await link(hospital, wallet.pseudonym, ())
    counted = await hospital.stub().CountOptOuts(pb.CountOptOutsRequest())
    assert (counted.pseudonyms_unlinked, counted.references) == (1, 0)


async def test_a_receipt_is_the_members_signed_statement(
    lone: World, rows: Mapping[str, Rows], a_wallet: MakeWallet
) -> None:
    hospital, wallet = lone.hospitals["hospital-a"], a_wallet()
    reference = references(rows["hospital-a"])[0]
    key = lone.chain.genesis.members["hospital-a"].public_key
    first = await put(hospital, reference)
    statement = verify_statement(first.statement, first.authorization, key)
    assert (statement.kind, statement.subject, statement.choice) == ("reference", reference, "out")
    assert (statement.chain_id, statement.member) == (lone.chain.genesis.chain_id, "hospital-a")
    lone.append()
    lone.append()
    again = await put(hospital, reference)
    assert again.statement == first.statement  # the same choice stands since then
    shown = (await said(lone, wallet)).receipt
    statement = verify_statement(shown.statement, shown.authorization, key)
    assert (statement.kind, statement.subject) == ("pseudonym", wallet.pseudonym)


async def test_a_choice_is_a_patients_and_this_members(lone: World, a_wallet: MakeWallet) -> None:
    holder = lone.hospitals["hospital-a"].holder()
    others = (
        a_wallet("hospital-b"),
        a_wallet(schema="staff", role="clinician"),
        replace(a_wallet(), scope=f"record:{bytes(16).hex()}"),
        PseudonymSigner(seed_of("somebody")),
        lone.member_signer("hospital-a"),
    )
    for signer in others:
        assert await refused(holder.OptOut(choice(lone, signer))) == "READ_REJECTED"
    for wrong in (choice(lone, a_wallet(), method=GET_STUDY), _forged(lone, a_wallet)):
        assert await refused(holder.OptOut(wrong)) == "READ_REJECTED"
    once = choice(lone, a_wallet())
    await holder.OptOut(once)
    assert await refused(holder.OptOut(once)) == "READ_REJECTED"
    unclear = choice(lone, a_wallet(), b"perhaps")
    assert await refused(holder.OptOut(unclear)) == "READ_MALFORMED"


def _forged(world: World, a_wallet: MakeWallet) -> pb.OptOutRequest:
    """Return the choice of one patient, bound to the body of another."""
    first, second = choice(world, a_wallet()), choice(world, a_wallet())
    first.read.authorization = second.read.authorization
    return first


async def test_leaving_is_possible_when_coming_back_is_not(
    lone: World, a_wallet: MakeWallet
) -> None:
    """With a credential of an ended epoch, and while the chain is silent."""
    holder, wallet = lone.hospitals["hospital-a"].holder(), a_wallet(epoch=0)
    await holder.OptOut(choice(lone, wallet))
    assert await refused(holder.OptOut(choice(lone, wallet, b"in"))) == "READ_REJECTED"
    current = a_wallet()
    await holder.OptOut(choice(lone, current))
    await holder.OptOut(choice(lone, current, b"in"))
    lone.clock.seconds += 60
    await holder.OptOut(choice(lone, current))
    assert await refused(holder.OptOut(choice(lone, current, b"in"))) == "CHAIN_STALE"


async def test_nothing_is_taken_while_identity_is_away(lone: World, a_wallet: MakeWallet) -> None:
    hospital = lone.hospitals["hospital-a"]
    lone.identity.away = True
    assert await refused(hospital.holder().OptOut(choice(lone, a_wallet()))) == "IDENTITY_AWAY"
    counted = await hospital.stub().CountOptOuts(pb.CountOptOutsRequest())
    assert counted.pseudonyms == 0


async def test_what_is_no_choice_is_malformed(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    for wrong in (put(hospital, b"short"), put(hospital, b"r" * 16, 0)):
        assert await refused(wrong) == "OPT_OUT_MALFORMED"
    many = [secrets.token_bytes(16) for _ in range(65)]
    for wrong in (
        link(hospital, b"p" * 47, ()),
        link(hospital, b"p" * 48, [b"short"]),
        link(hospital, b"p" * 48, many),
    ):
        assert await refused(wrong) == "OPT_OUT_MALFORMED"


async def test_only_the_own_member_enters_links_and_counts(lone: World) -> None:
    hospital = lone.hospitals["hospital-a"]
    for stub in (hospital.holder(), hospital.stub("hospital-b", "client")):
        for call in (
            stub.PutOptOut(pb.PutOptOutRequest(reference=b"r" * 16, choice=OUT)),
            stub.LinkReferences(pb.LinkReferencesRequest(pseudonym=b"p" * 48)),
            stub.CountOptOuts(pb.CountOptOutsRequest()),
        ):
            assert await refused(call) == "CALLER_REFUSED"


async def test_no_pseudonym_and_no_reference_stands_on_the_disk_in_the_clear(
    named: StudyRun, rows: Mapping[str, Rows], a_wallet: MakeWallet
) -> None:
    world, wallet = named.world, a_wallet()
    hospital, known = world.hospitals["hospital-a"], references(rows["hospital-a"])
    await said(world, wallet)
    await link(hospital, wallet.pseudonym, known[:1])
    await put(hospital, known[1])
    await hospital.stop()
    for path in hospital.config.data_dir.glob("compute.db*"):
        stored = path.read_bytes()
        assert wallet.pseudonym not in stored
        assert not [reference for reference in known[:2] if reference in stored]
