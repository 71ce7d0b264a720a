"""A release that a member of the set does not carry out is dead: the next one is about another c1,
and nobody gives a second share of anything."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.batches import packed
from cipherward_compute.commitments import Contributed, proof_context
from cipherward_compute.sums import Sum
from cipherward_kit.testing import eventually
from cipherward_threshold.proofs.contributions import encrypt_contribution

if TYPE_CHECKING:
    from conftest import Hospital, StudyRun, World

pytestmark = pytest.mark.slow  # four hospitals start: about a second

FIRST = ("hospital-a", "hospital-b", "hospital-c")
NEXT = ("hospital-a", "hospital-b", "hospital-d")
FAILED = chain_pb.OUTCOME_FAILED


def in_database(hospital: Hospital, query: str, *values: object) -> list[tuple[object, ...]]:
    """Return what a query finds in a hospital's database, or change it."""
    connection = sqlite3.connect(hospital.config.data_dir / "compute.db")
    try:
        with connection:
            return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def shares_of(hospital: Hospital) -> list[tuple[object, ...]]:
    return in_database(hospital, "SELECT c1_digest, height FROM shares ORDER BY height")


async def dead_counts(world: World, study: StudyRun) -> bytes:
    """Order the counts of a set whose hospital-c is down; the others give their shares."""
    counts = await study.to_counts()
    await world.hospitals["hospital-c"].stop()
    study.release_order("release_counts", counts, FIRST)
    for member in FIRST[:2]:
        await eventually(lambda one=world.hospitals[member]: bool(shares_of(one)))
    return counts


@pytest.mark.begins("counted")
async def test_counts_whose_release_is_dead_are_opened_by_the_next_set(
    world: World, study: StudyRun
) -> None:
    counts = await dead_counts(world, study)
    again = await study.refreshed("counts", counts, NEXT)
    order = study.release_order("release_counts", again, NEXT)
    passes = await study.done(order, NEXT)
    study.verdicts = passes
    await world.hospitals["hospital-c"].start()
    digest = await study.summed("values")
    study.release = study.release_order("release_result", digest, NEXT)
    await study.done(study.release, NEXT)
    assert study.finish(await study.totals(digest, NEXT)).patients == 119
    given = shares_of(world.hospitals["hospital-a"])
    assert len({c1 for c1, _ in given}) == len(given) == 3  # two attempts and the values
    seen = await study.seen_at("hospital-a")
    assert seen.steps_done == seen.steps_total - 1  # the dead release is the step never taken


@pytest.mark.begins("counted")
async def test_a_dead_release_that_waits_for_a_share_makes_room_for_the_next(
    world: World, study: StudyRun
) -> None:
    counts = await dead_counts(world, study)
    hospital = world.hospitals["hospital-a"]
    waiting = "SELECT instruction FROM orders"
    assert in_database(hospital, waiting) == [("ReleaseCounts",)]
    await study.done(study.start_order("counts", "refresh", digest=counts), NEXT)
    assert in_database(hospital, waiting) == []


@pytest.mark.begins("valued")
async def test_values_whose_release_is_dead_are_switched_by_the_next_set(
    world: World, study: StudyRun
) -> None:
    values = await study.to_values()
    await world.hospitals["hospital-c"].stop()
    dead = study.release_order("release_result", values, FIRST)
    before = await study.done(dead, FIRST[:2])
    again = await study.refreshed("values", values, NEXT)
    study.release = study.release_order("release_result", again, NEXT)
    after = await study.done(study.release, NEXT)
    assert before["hospital-a"] != after["hospital-a"]
    assert study.finish(await study.totals(again, NEXT)).patients == 119


@pytest.mark.begins("valued")
async def test_a_third_attempt_refreshes_the_second(world: World, study: StudyRun) -> None:
    values = await study.to_values()
    once = await study.refreshed("values", values, study.members)
    twice = await study.refreshed("values", once, study.members)
    study.release = study.release_order("release_result", twice, FIRST)
    await study.done(study.release, FIRST)
    assert study.finish(await study.totals(twice)).patients == 119


@pytest.mark.begins("counted")
async def test_a_share_of_the_dead_sum_is_not_given_to_a_later_order(
    world: World, study: StudyRun
) -> None:
    counts = await dead_counts(world, study)
    await study.refreshed("counts", counts, NEXT)
    order = study.release_order("release_counts", counts, NEXT)
    reports = await study.reports(order, FIRST[:2])
    assert {one.outcome for one in reports.values()} == {FAILED}
    assert (await study.seen_at("hospital-a")).failure_reason == "SHARE_ALREADY_GIVEN"


@pytest.mark.begins("counted")
async def test_what_is_not_proven_to_be_zero_refreshes_nothing(
    world: World, study: StudyRun
) -> None:
    """hospital-b would add something to the counts: its proof is one of a contribution."""
    counts = await study.to_counts()
    commitments = await study.done(study.start_order("counts", "refresh", digest=counts))
    hospital = world.hospitals["hospital-b"]
    ((public_key,),) = in_database(hospital, "SELECT public_key FROM ceremonies")
    assert isinstance(public_key, bytes)
    context = proof_context(
        world.chain.genesis.chain_id,
        "hospital-b",
        Sum(study.study, "counts", 0, counts),
        study.spec.digest,
    )
    made = encrypt_contribution("additive-1", public_key, [[1000]], context=context)
    other = packed(made.ciphertexts, (made.proof,))
    in_database(hospital, "UPDATE sums SET own = ? WHERE refreshed = ?", other, counts)
    ((height,),) = in_database(hospital, "SELECT opt_outs_height FROM studies")
    assert isinstance(height, int)
    commitments["hospital-b"] = Contributed(other, height).commitment
    order = study.start_order("counts", "add", commitments, digest=counts)
    honest = ("hospital-a", "hospital-c", "hospital-d")
    reports = await study.reports(order, honest)
    assert {reports[member].outcome for member in honest} == {FAILED}
    assert (await study.seen_at("hospital-a")).failure.startswith("hospital-b: ")


@pytest.mark.begins("counted")
async def test_a_member_that_has_no_such_sum_refreshes_nothing(study: StudyRun) -> None:
    await study.to_counts()
    order = study.start_order("counts", "refresh", digest=bytes(32))
    reports = await study.reports(order)
    assert {one.outcome for one in reports.values()} == {FAILED}
    assert (await study.seen_at("hospital-a")).failure_reason == "SUM_DIFFERS"


async def test_who_was_silent_is_told_when_a_study_fails(world: World, study: StudyRun) -> None:
    await study.put_spec()
    study.commitments = await study.done(study.ceremony_order("commit"))
    await world.hospitals["hospital-d"].stop()
    study.ceremony_order("reveal")
    await study.done(study.retire("failed"), FIRST)
    seen = await study.seen_at("hospital-a")
    assert seen.failure_reason == "MEMBER_SILENT"
    assert "hospital-d" in seen.failure


@pytest.mark.begins("keyed")
async def test_who_failed_is_told_where_nothing_failed(world: World, study: StudyRun) -> None:
    await study.put_spec()
    hospital = world.hospitals["hospital-d"]
    in_database(hospital, "DELETE FROM specs")
    reports = await study.reports(study.start_order("counts", "commit"))
    assert reports["hospital-d"].outcome == FAILED
    await study.done(study.retire("failed"))
    seen = await study.seen_at("hospital-a")
    assert (seen.failure_reason, list(seen.failed)) == ("MEMBER_FAILED", ["hospital-d"])
    assert "hospital-d" in seen.failure
    assert (await study.seen_at("hospital-d")).failure_reason == "SPEC_NOT_HANDED_OVER"
