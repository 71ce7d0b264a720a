"""Orders that cannot be carried out, and peers that do not keep to the protocol."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.batches import packed
from cipherward_compute.commitments import Contributed, proof_context
from cipherward_compute.sums import Sum
from cipherward_compute.vault import Vault
from cipherward_kit.testing import eventually
from cipherward_threshold.errors import TooFewShares
from cipherward_threshold.proofs.contributions import encrypt_contribution
from cipherward_threshold.switching import combine_switched

if TYPE_CHECKING:
    from conftest import MakeSpec, Rows, StudyRun, World

pytestmark = pytest.mark.slow  # four hospitals start: about a second

FAILED, DONE = chain_pb.OUTCOME_FAILED, chain_pb.OUTCOME_DONE


def tampered(world: World, member: str, work: Callable[[sqlite3.Connection], object]) -> None:
    """Change what a hospital has stored, as one that does not keep to the protocol would."""
    path = world.hospitals[member].config.data_dir / "compute.db"
    connection = sqlite3.connect(path)
    try:
        with connection:
            work(connection)
    finally:
        connection.close()


def flipped(octets: bytes) -> bytes:
    """Return the bytes with a low bit changed near the end, where residues are."""
    changed = bytearray(octets)
    changed[-9] ^= 1
    return bytes(changed)


def rows_at(world: World, member: str, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds in a hospital's database."""
    found: list[tuple[Any, ...]] = []
    tampered(world, member, lambda c: found.extend(c.execute(query).fetchall()))
    return found


async def outcomes(study: StudyRun, order: object) -> dict[str, int]:
    reports = await study.reports(order)  # pyright: ignore[reportArgumentType] - an OrderKey
    return {member: report.outcome for member, report in reports.items()}


async def failure_at(study: StudyRun, member: str) -> str:
    return (await study.seen_at(member)).failure


async def reason_at(study: StudyRun, member: str) -> str:
    return (await study.seen_at(member)).failure_reason


@pytest.mark.begins("keyed")
async def test_a_cohort_below_the_minimum_without_the_own_part_fails(
    a_spec: MakeSpec, study: StudyRun
) -> None:
    big = replace(study, spec=a_spec(minimum=90))  # 119 in all, less than 90 without 30
    counts = await big.to_counts()
    order = big.release_order("release_counts", counts, big.members[:3])
    found = await outcomes(big, order)
    assert found == {
        "hospital-a": FAILED,
        "hospital-b": DONE,  # one of its patients is incomplete, so the others have 90
        "hospital-c": FAILED,
        "hospital-d": FAILED,
    }
    assert await reason_at(big, "hospital-a") == "COHORT_TOO_SMALL"
    assert "fewer patients than the minimum" in await failure_at(big, "hospital-a")


@pytest.mark.begins("keyed")
async def test_patients_of_two_members_only_are_not_released(
    world: World, study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    for member in ("hospital-c", "hospital-d"):
        await world.hospitals[member].contribute(rows[member] + 1000)  # all implausible
    for member in ("hospital-a", "hospital-b"):
        await world.hospitals[member].contribute(np.concatenate([rows["hospital-a"]] * 3))
    counts = await study.to_counts()
    order = study.release_order("release_counts", counts, study.members[:3])
    assert set((await outcomes(study, order)).values()) == {FAILED}
    assert await reason_at(study, "hospital-c") == "CONTRIBUTORS_TOO_FEW"


@pytest.mark.begins("keyed")
async def test_a_member_without_the_data_set_says_so(a_spec: MakeSpec, study: StudyRun) -> None:
    other = replace(study, spec=a_spec(data_set="cohort-2"))
    await other.put_spec()
    order = other.start_order("counts", "commit")
    assert set((await outcomes(other, order)).values()) == {FAILED}
    assert await failure_at(other, "hospital-a") == "this member has no data set cohort-2"


async def test_a_member_that_never_got_the_text_says_so(study: StudyRun) -> None:
    await study.ceremony()
    order = study.start_order("counts", "commit")
    assert set((await outcomes(study, order)).values()) == {FAILED}
    assert "not handed" in await failure_at(study, "hospital-d")


@pytest.mark.begins("keyed")
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"minimum": 21}, "another minimum"),
        ({"requester_key_digest": bytes(32)}, "another requester's key"),
        ({"key_digest": bytes(32)}, "another key"),
        ({"data_set": "cohort-2"}, "another data set"),
        ({"outputs": ["count", "mean"]}, "statistics that the order does not name"),
    ],
)
async def test_a_text_that_the_chain_describes_otherwise_is_refused(
    study: StudyRun, changed: dict[str, bytes | int], why: str
) -> None:
    await study.put_spec()
    order = study.start_order("counts", "commit", None, **changed)
    assert set((await outcomes(study, order)).values()) == {FAILED}
    assert why in await failure_at(study, "hospital-a")


async def test_a_study_of_two_members_is_refused(study: StudyRun) -> None:
    pair = replace(study, members=("hospital-a", "hospital-b"), threshold=2)
    await pair.put_spec()
    await pair.ceremony()
    order = pair.start_order("counts", "commit")
    assert set((await outcomes(pair, order)).values()) == {FAILED}


@pytest.mark.begins("passed")
async def test_rows_that_changed_since_they_were_counted_are_not_encrypted(
    world: World, study: StudyRun, rows: Mapping[str, Rows]
) -> None:
    await study.to_passed()
    await world.hospitals["hospital-b"].contribute(rows["hospital-b"][:-1])
    found = await outcomes(study, study.start_order("values", "commit"))
    assert found == {m: FAILED if m == "hospital-b" else DONE for m in study.members}


@pytest.mark.begins("keyed")
async def test_a_ciphertext_that_was_not_committed_to_names_its_sender(
    world: World, study: StudyRun
) -> None:
    await study.put_spec()
    commitments = await study.done(study.start_order("counts", "commit"))

    def flip(connection: sqlite3.Connection) -> None:
        (own,) = connection.execute("SELECT own FROM sums").fetchone()
        connection.execute("UPDATE sums SET own = ?", (flipped(own),))

    tampered(world, "hospital-b", flip)
    found = await outcomes(study, study.start_order("counts", "verify", commitments))
    assert set(found.values()) == {FAILED}
    assert "hospital-b: its contribution" in await failure_at(study, "hospital-d")


@pytest.mark.begins("keyed")
async def test_a_copied_ciphertext_is_not_counted_twice(study: StudyRun) -> None:
    await study.put_spec()
    commitments = await study.done(study.start_order("counts", "commit"))
    commitments["hospital-d"] = commitments["hospital-c"]
    found = await outcomes(study, study.start_order("counts", "verify", commitments))
    assert set(found.values()) == {FAILED}
    assert "the same ciphertexts" in await failure_at(study, "hospital-a")


def replaced(world: World, member: str, octets: bytes) -> None:
    tampered(world, member, lambda c: c.execute("UPDATE sums SET own = ?", (octets,)))


@pytest.mark.begins("keyed")
async def test_bytes_that_are_no_contribution_name_their_sender(
    world: World, study: StudyRun
) -> None:
    await study.put_spec()
    commitments = await study.done(study.start_order("counts", "commit"))
    replaced(world, "hospital-b", b"\0")
    height = study.started.height if study.started else 0
    commitments["hospital-b"] = Contributed(b"\0", height).commitment
    order = study.start_order("counts", "verify", commitments)
    reports = await study.reports(order, ("hospital-a", "hospital-c", "hospital-d"))
    others = ("hospital-a", "hospital-c", "hospital-d")
    assert {reports[member].outcome for member in others} == {FAILED}
    assert (await failure_at(study, "hospital-a")).startswith("hospital-b: its contribution")
    assert await reason_at(study, "hospital-a") == "CONTRIBUTION_REFUSED"


def proven(study: StudyRun, member: str, changes: Mapping[str, Any]) -> bytes:
    """Return what `member` would send had it encrypted for something else."""
    ceremony = rows_at(study.world, member, "SELECT public_key FROM ceremonies")
    wanted = Sum(study.study, "counts")
    context = proof_context(
        study.world.chain.genesis.chain_id,
        changes.get("member", member),
        replace(wanted, **changes.get("sum", {})),
        study.spec.digest,
    )
    slots = [[3] * study.plan.count_slots] * changes.get("ciphertexts", 1)
    made = encrypt_contribution(
        "additive-1", changes.get("public_key", ceremony[0][0]), slots, context=context
    )
    return packed(made.ciphertexts, () if changes.get("bare") else (made.proof,))


@pytest.mark.begins("keyed")
@pytest.mark.parametrize(
    "changes",
    [
        {"member": "hospital-c"},
        {"sum": {"study": bytes(16)}},
        {"sum": {"stage": "values", "round": 1}},
        {"sum": {"refreshed": bytes(32)}},
        {"ciphertexts": 2},
        {"bare": True},
    ],
)
async def test_a_contribution_for_something_else_is_refused_by_everybody(
    world: World, study: StudyRun, changes: Mapping[str, Any]
) -> None:
    """Replayed, foreign, of another number, or without a proof: nobody adds it."""
    await study.put_spec()
    commitments = await study.done(study.start_order("counts", "commit"))
    foreign = proven(study, "hospital-b", changes)
    height = study.started.height if study.started else 0
    replaced(world, "hospital-b", foreign)
    commitments["hospital-b"] = Contributed(foreign, height).commitment
    order = study.start_order("counts", "verify", commitments)
    others = ("hospital-a", "hospital-c", "hospital-d")
    reports = await study.reports(order, others)
    assert {reports[member].outcome for member in others} == {FAILED}
    for member in others:
        assert await reason_at(study, member) == "CONTRIBUTION_REFUSED"
        assert (await failure_at(study, member)).startswith("hospital-b: ")


@pytest.mark.begins("counted")
async def test_an_order_that_names_another_sum_gets_no_share(world: World, study: StudyRun) -> None:
    await study.to_counts()
    order = study.release_order("release_counts", bytes(32), study.members[:3])
    assert set((await outcomes(study, order)).values()) == {FAILED}
    assert "another sum" in await failure_at(study, "hospital-a")


@pytest.mark.begins("released")
async def test_a_second_share_of_the_same_sum_is_refused_whoever_orders_it(
    world: World, study: StudyRun
) -> None:
    digest = await study.to_result()
    again = study.release_order(
        "release_result", digest, ("hospital-a", "hospital-b", "hospital-d")
    )
    reports = await study.reports(again, ("hospital-a", "hospital-b", "hospital-d"))
    assert reports["hospital-a"].outcome == reports["hospital-b"].outcome == FAILED
    assert reports["hospital-d"].outcome == DONE  # it had given none
    assert "was given for another order" in await failure_at(study, "hospital-a")


@pytest.mark.begins("counted")
async def test_the_same_set_again_by_another_order_is_a_second_share_too(study: StudyRun) -> None:
    digest = await study.to_counts()
    online = study.members[:3]
    await study.done(study.release_order("release_counts", digest, online))
    again = study.release_order("release_counts", digest, online)
    found = await study.reports(again, online)  # hospital-d waits for their shares in vain
    assert {found[m].outcome for m in online} == {FAILED}


@pytest.mark.begins("valued")
async def test_a_set_below_the_threshold_gets_nothing(study: StudyRun) -> None:
    digest = await study.to_values()
    pair = study.members[:2]
    reports = await study.reports(study.release_order("release_result", digest, pair), pair)
    assert {r.outcome for r in reports.values()} == {FAILED}


@pytest.mark.begins("released")
async def test_two_of_three_shares_open_nothing(study: StudyRun) -> None:
    await study.to_result()
    parts = [await study.result_of(member) for member in study.members[:2]]
    with pytest.raises(TooFewShares):
        combine_switched(
            "additive-1", parts[0].sums[0], [part.shares[0] for part in parts], circuit="sum"
        )


@pytest.mark.begins("counted")
async def test_a_share_that_is_none_names_its_sender(world: World, study: StudyRun) -> None:
    """hospital-d is in no set, so it takes the three shares from its peers."""
    digest = await study.to_counts()
    hospital = world.hospitals["hospital-d"]
    await hospital.stop()
    order = study.release_order("release_counts", digest, study.members[:3])
    await study.done(order, study.members[:3])
    vault_of_b = _vault(world, "hospital-b")

    def swap(connection: sqlite3.Connection) -> None:
        key, c1 = connection.execute("SELECT key_digest, c1_digest FROM shares").fetchone()
        other = vault_of_b.seal(b"no share", b"shares", key, c1)
        connection.execute("UPDATE shares SET share = ?", (other,))

    tampered(world, "hospital-b", swap)
    await hospital.start()
    reports = await study.reports(order)
    assert reports["hospital-d"].outcome == FAILED
    assert (await failure_at(study, "hospital-d")).startswith("hospital-b: ")


@pytest.mark.begins("counted")
async def test_a_sum_that_was_changed_on_the_disk_gets_no_share(
    world: World, study: StudyRun
) -> None:
    digest = await study.to_counts()

    def flip(connection: sqlite3.Connection) -> None:
        (total,) = connection.execute("SELECT total FROM sums").fetchone()
        connection.execute("UPDATE sums SET total = ?", (flipped(total),))

    tampered(world, "hospital-b", flip)
    reports = await study.reports(
        study.release_order("release_counts", digest, study.members[:3]), ("hospital-b",)
    )
    assert reports["hospital-b"].outcome == FAILED
    assert "the stored sum is damaged" in await failure_at(study, "hospital-b")


@pytest.mark.begins("keyed")
async def test_rows_that_were_changed_on_the_disk_are_not_counted(
    world: World, study: StudyRun
) -> None:
    def flip(connection: sqlite3.Connection) -> None:
        (sealed,) = connection.execute("SELECT sealed FROM data_set_chunks").fetchone()
        connection.execute("UPDATE data_set_chunks SET sealed = ?", (flipped(sealed),))

    await study.put_spec()
    tampered(world, "hospital-c", flip)
    found = await outcomes(study, study.start_order("counts", "commit"))
    assert found == {m: FAILED if m == "hospital-c" else DONE for m in study.members}
    assert "damaged" in await failure_at(study, "hospital-c")


async def test_an_order_that_does_not_list_this_member_is_not_followed(study: StudyRun) -> None:
    three = replace(study, members=study.members[:3])
    await three.done(three.ceremony_order("commit"))
    await eventually(lambda: three.world.hospitals["hospital-d"].readiness.ready)
    assert "hospital-d" not in next(iter(three.world.ledger.reports.values()))


async def test_an_order_out_of_form_fails_and_nothing_stops(study: StudyRun) -> None:
    order = study.order("start_study", stage="median")
    assert set((await outcomes(study, order)).values()) == {FAILED}
    await study.done(study.ceremony_order("commit"))


@pytest.mark.begins("counted")
async def test_an_order_after_the_end_finds_no_key(study: StudyRun) -> None:
    await study.to_counts()
    await study.done(study.retire())
    order = study.start_order("values", "commit")
    assert set((await outcomes(study, order)).values()) == {FAILED}


def _vault(world: World, member: str):

    return Vault(world.hospitals[member].config.data_key_file.read_bytes())
