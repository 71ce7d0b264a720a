"""Crashes, restored backups, silent chains, an absent ledger: nothing is lost or repeated."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.testing import TestChain, make_genesis
from cipherward_kit.datafolder import DataFolderOfAnotherChain
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey

if TYPE_CHECKING:
    from conftest import Hospital, StudyRun, World

pytestmark = pytest.mark.slow  # four hospitals start: about a second


def rows_of(hospital: Hospital, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds in a hospital's database."""
    connection = sqlite3.connect(hospital.config.data_dir / "compute.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def restore(backup: Path, database: Path) -> None:
    """Put an old copy of the database in its place."""
    for suffix in ("-wal", "-shm"):
        Path(f"{database}{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, database)


async def share_of(study: StudyRun, member: str, order: OrderKey) -> bytes:
    """Return the stored share of a member, fetched as hospital-d's compute service."""
    request = pb.GetDecryptionShareRequest(
        study_id=study.study, order=chain_pb.OrderRef(height=order.height, index=order.index)
    )
    hospital = study.world.hospitals[member]
    peer = hospital.stub("hospital-d", "compute")
    return b"".join([one.chunk async for one in peer.GetDecryptionShare(request)])


async def test_a_member_that_was_away_catches_up_and_the_study_goes_on(
    world: World, study: StudyRun
) -> None:
    study.commitments = await study.done(study.ceremony_order("commit"))
    hospital = world.hospitals["hospital-d"]
    await hospital.stop()
    order = study.ceremony_order("reveal")
    await eventually(lambda: order not in world.ledger.reports)  # nobody is done without its deal
    await hospital.start()
    assert len(await study.done(order)) == 4


@pytest.mark.begins("counted")
async def test_a_share_is_the_same_bytes_after_a_crash_before_the_report(
    world: World, study: StudyRun
) -> None:
    """hospital-a gives its share and waits for that of hospital-c, which is down."""
    counts = await study.to_counts()
    await world.hospitals["hospital-c"].stop()
    order = study.release_order("release_counts", counts, study.members[:3])
    before = await share_of(study, "hospital-a", order)
    await world.hospitals["hospital-a"].stop()
    await world.hospitals["hospital-a"].start()
    await world.hospitals["hospital-c"].start()
    world.append()  # the chain goes on: who restarts gives nothing while it is silent
    await study.done(order)
    assert await share_of(study, "hospital-a", order) == before


@pytest.mark.begins("counted")
async def test_a_restored_backup_repeats_the_same_share_and_no_other(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    counts = await study.to_counts()
    hospital = world.hospitals["hospital-a"]
    database, backup = hospital.config.data_dir / "compute.db", tmp_path / "backup.db"
    await hospital.stop()
    shutil.copy(database, backup)
    await hospital.start()
    order = study.release_order("release_counts", counts, study.members[:3])
    await study.done(order)
    before = await share_of(study, "hospital-a", order)
    await hospital.stop()
    restore(backup, database)
    await hospital.start()
    await eventually(lambda: bool(rows_of(hospital, "SELECT 1 FROM shares")))
    assert await share_of(study, "hospital-a", order) == before


async def test_a_backup_from_before_the_ceremony_makes_no_second_key(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    hospital = world.hospitals["hospital-a"]
    database, backup = hospital.config.data_dir / "compute.db", tmp_path / "backup.db"
    await hospital.stop()
    shutil.copy(database, backup)
    await hospital.start()
    study.commitments = await study.done(study.ceremony_order("commit"))
    await hospital.stop()
    restore(backup, database)
    await hospital.start()
    reports = await study.reports(study.ceremony_order("reveal"))
    assert {report.outcome for report in reports.values()} == {chain_pb.OUTCOME_FAILED}
    assert "old backup" in (await study.seen_at("hospital-a")).failure
    assert "hospital-a" in (await study.seen_at("hospital-b")).failure


@pytest.mark.begins("passed")
async def test_a_backup_from_before_a_contribution_makes_no_second_one(
    world: World, study: StudyRun, tmp_path: Path
) -> None:
    """It encrypts again with other randomness, which nobody is shown: the chain has the first."""
    await study.to_passed()
    hospital = world.hospitals["hospital-a"]
    database, backup = hospital.config.data_dir / "compute.db", tmp_path / "backup.db"
    await hospital.stop()
    shutil.copy(database, backup)
    await hospital.start()
    commitments = await study.done(study.start_order("values", "commit"))
    await hospital.stop()
    restore(backup, database)
    await hospital.start()
    reports = await study.reports(study.start_order("values", "verify", commitments))
    assert {report.outcome for report in reports.values()} == {chain_pb.OUTCOME_FAILED}
    assert (await study.seen_at("hospital-a")).failure_reason == "OLD_BACKUP"
    assert "hospital-a: its contribution is not" in (await study.seen_at("hospital-b")).failure


@pytest.mark.soak
async def test_a_member_that_goes_down_in_every_step_resumes(world: World, study: StudyRun) -> None:
    """hospital-b goes down right after each order, whatever it has done of it by then."""
    hospital, online = world.hospitals["hospital-b"], study.members[:3]

    async def through(order: OrderKey, members: tuple[str, ...] = ()) -> dict[str, bytes]:
        await hospital.stop()
        await hospital.start()
        world.chain.heartbeat()  # it may have seen the order's block already: then it waits for one
        return await study.done(order, members)

    await study.put_spec()
    study.instantiate()
    study.commitments = await through(study.ceremony_order("commit"))
    study.reveals = await through(study.ceremony_order("reveal"))
    (study.key_digest,) = set((await through(study.ceremony_order("confirm"))).values())
    digest = await summed_through(study, "counts", through)
    refreshed = await through(study.start_order("counts", "refresh", digest=digest))
    add = study.start_order("counts", "add", refreshed, digest=digest)
    (again,) = set((await through(add)).values())
    study.verdicts = await through(study.release_order("release_counts", again, online))
    digest = await summed_through(study, "values", through)
    study.release = study.release_order("release_result", digest, online)
    await through(study.release, online)
    assert study.finish(await study.totals(digest)).patients == 119
    await through(study.retire())
    assert rows_of(hospital, "SELECT count(*), count(DISTINCT c1_digest) FROM shares") == [(2, 2)]


async def summed_through(
    study: StudyRun, stage: str, through: Callable[[OrderKey], Awaitable[dict[str, bytes]]]
) -> bytes:
    commitments = await through(study.start_order(stage, "commit"))
    (digest,) = set((await through(study.start_order(stage, "verify", commitments))).values())
    return digest


@pytest.mark.begins("counted")
async def test_a_silent_chain_stops_sensitive_acts_until_it_speaks_again(
    world: World, study: StudyRun
) -> None:
    counts = await study.to_counts()
    world.clock.seconds += 60
    order = study.release_order("release_counts", counts, study.members[:3])
    hospital = world.hospitals["hospital-a"]
    query = "SELECT instruction FROM orders"
    await eventually(lambda: rows_of(hospital, query) == [("ReleaseCounts",)])
    await eventually(lambda: not hospital.readiness.ready)
    assert not rows_of(hospital, "SELECT 1 FROM shares")
    world.chain.heartbeat(time_ns=int(world.clock.seconds * 1e9))
    world.chain.heartbeat()
    await study.done(order)


@pytest.mark.begins("counted")
async def test_a_study_that_ended_meanwhile_gets_no_share(world: World, study: StudyRun) -> None:
    counts = await study.to_counts()
    hospital = world.hospitals["hospital-a"]
    await hospital.stop()
    study.release_order("release_counts", counts, study.members[:3])
    retire = study.retire()
    world.clock.seconds += 60  # what it has missed is older than what counts as recent
    world.chain.heartbeat(time_ns=int(world.clock.seconds * 1e9))
    world.chain.heartbeat()
    await hospital.start()
    await study.done(retire)
    assert not rows_of(hospital, "SELECT 1 FROM shares")
    assert not rows_of(hospital, "SELECT 1 FROM orders")


async def test_the_end_of_a_study_cancels_what_waits_for_a_peer(
    world: World, study: StudyRun
) -> None:
    study.commitments = await study.done(study.ceremony_order("commit"))
    await world.hospitals["hospital-d"].stop()
    study.ceremony_order("reveal")
    retire = study.retire()
    await study.done(retire, study.members[:3])
    assert (await study.seen_at("hospital-a")).ended


@pytest.mark.begins("keyed")
async def test_own_secret_and_deals_are_gone_once_the_key_share_is_made(
    world: World, study: StudyRun
) -> None:
    for hospital in world.hospitals.values():
        deals = "SELECT count(*) FROM ceremony_messages WHERE kind = 'deal'"
        assert rows_of(hospital, deals) == [(0,)]
        assert rows_of(hospital, "SELECT length(secret_salt) FROM ceremonies") == [(0,)]


@pytest.mark.begins("released")
async def test_a_retired_study_leaves_no_key_and_no_input(world: World, study: StudyRun) -> None:
    await study.to_result()
    await study.done(study.retire())
    for hospital in world.hospitals.values():
        assert rows_of(hospital, "SELECT count(*) FROM ceremonies") == [(0,)]
        assert rows_of(hospital, "SELECT stage, length(own) FROM sums") == [("values", 0)]


async def test_two_studies_run_side_by_side(study: StudyRun, another: StudyRun) -> None:
    first, second = study.ceremony_order("commit"), another.ceremony_order("commit")
    study.commitments = await study.done(first)
    another.commitments = await another.done(second)
    assert not set(study.commitments.values()) & set(another.commitments.values())
    first, second = study.ceremony_order("reveal"), another.ceremony_order("reveal")
    await study.done(first)
    await another.done(second)


async def test_reports_wait_for_a_ledger_that_is_away(world: World, study: StudyRun) -> None:
    world.ledger.away = True
    order = study.ceremony_order("commit")
    await eventually(lambda: world.ledger.submitted >= 4)
    assert order not in world.ledger.reports
    world.ledger.away = False
    await study.done(order)


async def test_a_report_survives_a_restart(world: World, study: StudyRun) -> None:
    world.ledger.away = True
    order = study.ceremony_order("commit")
    await eventually(lambda: world.ledger.submitted >= 4)
    for hospital in world.hospitals.values():
        await hospital.stop()
    world.ledger.away = False
    for hospital in world.hospitals.values():
        await hospital.start()
    await study.done(order)


async def test_a_report_that_the_chain_refused_as_too_old_is_made_anew(
    world: World, study: StudyRun
) -> None:
    world.ledger.refusal = "TRANSACTION_EXPIRED"
    order = study.ceremony_order("commit")
    await eventually(lambda: world.ledger.submitted >= 4)
    world.ledger.refusal = ""
    await study.done(order)


async def test_a_report_that_the_ledger_finds_too_old_is_made_anew(
    world: World, study: StudyRun
) -> None:
    world.ledger.verdict = "TRANSACTION_EXPIRED"
    order = study.ceremony_order("commit")
    await eventually(lambda: world.ledger.submitted >= 4)
    world.ledger.verdict = ""
    hospital = world.hospitals["hospital-a"]
    for one in world.hospitals.values():  # a restart looks at once, instead of after a pause
        await one.stop()
        await one.start()
    await study.done(order)
    await eventually(lambda: rows_of(hospital, "SELECT 1 FROM reports") == [])


async def test_a_report_that_came_too_late_for_its_step_is_not_sent_again(
    world: World, study: StudyRun
) -> None:
    world.ledger.refusal = "ORDER_NOT_CURRENT"
    study.ceremony_order("commit")
    await eventually(lambda: world.ledger.submitted >= 4)
    for hospital in world.hospitals.values():
        await eventually(lambda one=hospital: rows_of(one, "SELECT 1 FROM reports") == [])
    assert world.ledger.submitted == 4


async def test_a_folder_of_another_genesis_is_not_used(world: World, study: StudyRun) -> None:
    hospital = world.hospitals["hospital-a"]
    await eventually(lambda: bool(rows_of(hospital, "SELECT 1 FROM position WHERE height > 0")))
    await hospital.stop()
    world.chain = TestChain(*make_genesis(4, time_ns=world.chain.genesis.time_ns - 1))
    with pytest.raises(DataFolderOfAnotherChain):
        await hospital.start()
