"""Columns of a data key: who is in them, that their flags are flags, and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_compute.arithmetic.columns import proven_columns
from cipherward_compute.arithmetic.inputs import Encryption
from cipherward_compute.column_keys import BLOCK_SLOTS, PROFILE, DataKey, Slots, study_scope
from cipherward_compute.columns import Layout, Manifest, parse_manifest
from cipherward_studies.columns import Column, ColumnText

if TYPE_CHECKING:
    from conftest import DataKeyRun, Patient

pytestmark = pytest.mark.slow  # four hospitals start, and encrypt columns

A, B, D = "hospital-a", "hospital-b", "hospital-d"


def layout_of(run: DataKeyRun, text: ColumnText) -> Layout:
    scope = study_scope(run.id)
    pseudonyms = sorted(one.wallets[scope].pseudonym for one in run.patients)
    key = DataKey(run.id, text.data_set, 10, text.digest, text, 1)
    return Layout(key, Slots.of(run.id, tuple(pseudonyms)))


def slot_of(run: DataKeyRun, layout: Layout, patient: Patient) -> int:
    return layout.slots.pseudonyms.index(patient.wallets[study_scope(run.id)].pseudonym)


@pytest.fixture
def text() -> ColumnText:
    return ColumnText.from_document(
        {
            "data_set": "cohort-1",
            "variables": [
                {"name": "age", "low": 0, "high": 120},
                {"name": "bmi", "low": 10, "high": 80, "fraction_bits": 8},
            ],
        }
    )


def tampered(run: DataKeyRun, layout: Layout, flag: int, member: str = B) -> Manifest:
    """Return a member's list with an honestly proven batch in which one flag is another number."""
    manifest = parse_manifest(run.manifest(member), layout, member)
    chain_id = run.world.chain.genesis.chain_id
    context = layout.proof_context(chain_id, member, 0)
    encryption = Encryption(PROFILE, run.made.public_key, context)
    values = [[flag, 1, 0] if c.kind == "flag" else [50, 51, 0] for c in layout.columns]
    ciphertexts, proof = proven_columns(encryption, values)
    kept = run.storages[member].kept
    digests = [hashlib.sha256(octets).digest() for octets in (*ciphertexts, proof)]
    kept.update(zip(digests, (*ciphertexts, proof), strict=True))
    return replace(manifest, columns=tuple(digests[:-1]), proofs=(digests[-1],))


@pytest.mark.begins("verified")
async def test_columns_hold_the_values_of_enrolled_patients_in_equal_slots_and_pass_their_check(
    run: DataKeyRun, text: ColumnText
) -> None:
    layout = layout_of(run, text)
    both, *_, alone, _, wild, _ = run.patients
    lists = {m: parse_manifest(run.manifest(m), layout, m) for m in run.storages}
    assert {one.slots for one in lists.values()} == {layout.slots.digest}
    count = len(run.patients)

    def held(member: str, variable: str, kind: str) -> list[int]:
        """Return what a column has of three patients."""
        column = Column(variable, 0, "flag" if kind == "flag" else "value")
        octets = run.storages[member].kept[lists[member].of(layout, column)]
        slots = run.opened(octets, BLOCK_SLOTS)
        assert not any(slots[count:])
        return [slots[slot_of(run, layout, one)] for one in (both, wild, alone)]

    assert held(A, "age", "value") == [50, 0, 0]
    assert held(A, "age", "flag") == [1, 0, 0]
    assert held(B, "bmi", "value") == [63 * 128, 33 * 256, 0]
    assert held(B, "bmi", "flag") == [1, 1, 0]
    assert held(D, "age", "flag") == [0, 0, 0]
    await run.study.done(run.open_order())
    assert all(run.manifest(A, of=member) == run.manifest(A) for member in run.storages)


@pytest.mark.begins("fixed")
async def test_a_flag_that_is_two_names_its_member(run: DataKeyRun, text: ColumnText) -> None:
    run.rewrite(B, tampered(run, layout_of(run, text), flag=2))
    await run.verify()
    reports = await run.study.reports(run.open_order())
    assert {report.outcome for report in reports.values()} == {chain_pb.OUTCOME_FAILED}
    seen = await run.study.seen_at(A)
    assert (seen.failure_reason, seen.failure.split(":")[0]) == ("FLAGS_WRONG", B)


@pytest.mark.begins("enrolled")
async def test_a_member_that_was_stopped_at_every_step_resumes(run: DataKeyRun) -> None:
    hospital = run.world.hospitals[B]
    others = [member for member in run.storages if member != B]
    await hospital.stop()
    order = run.fix_order("commit")
    await run.study.reports(order, others)
    await hospital.start()
    run.commitments = await run.study.done(order)
    await hospital.stop()
    order = run.fix_order("verify", b"\7" * 32)
    await hospital.start()
    (run.digest,) = set((await run.study.done(order)).values())
    await hospital.stop()
    order = run.open_order(online=[A, B, "hospital-c"])
    await hospital.start()
    await run.study.done(order)


@pytest.mark.begins("verified")
async def test_a_dead_opening_is_tried_again_with_other_weights_and_nothing_is_verified_twice(
    run: DataKeyRun,
) -> None:
    first, fetched = run.digest, run.storages[B].gets
    await run.verify(seed=b"\x08" * 32)
    assert run.digest != first
    assert run.storages[B].gets == fetched + 4 * 2  # its two flag columns, by every member
    await run.study.done(run.open_order())


@pytest.mark.begins("fixed")
async def test_a_column_that_is_cut_off_or_another_keys_names_its_member(
    run: DataKeyRun, text: ColumnText
) -> None:
    layout = layout_of(run, text)
    honest = dict(run.commitments)
    manifest = parse_manifest(run.manifest(B), layout, B)
    storage = run.storages[B]
    column = manifest.columns[0]
    storage.lies[column] = storage.kept[column][:-8]
    await named(run, B)
    storage.lies.clear()
    kept = storage.kept.pop(column)
    await named(run, B)
    storage.kept[column] = kept
    cut = storage.kept[column][:-8]
    foreign = bytearray(storage.kept[column])
    foreign[20] ^= 1  # in the name of the key
    for octets in (cut, bytes(foreign)):
        digest = hashlib.sha256(octets).digest()
        storage.kept[digest] = octets
        run.rewrite(B, replace(manifest, columns=(digest, *manifest.columns[1:])))
        await named(run, B)
    run.rewrite(B, manifest)
    assert run.commitments == honest
    await run.verify()


@pytest.mark.begins("fixed")
async def test_a_list_that_was_not_committed_to_or_has_other_slots_names_its_member(
    run: DataKeyRun, text: ColumnText
) -> None:
    layout = layout_of(run, text)
    manifest = parse_manifest(run.manifest(B), layout, B)
    committed = run.commitments[B]
    run.rewrite(B, replace(manifest, proofs=(bytes(32),)))
    run.commitments[B] = committed
    await named(run, B, others=("hospital-a", "hospital-c", "hospital-d"))
    run.rewrite(B, replace(manifest, slots=bytes(32)))
    await named(run, B, others=("hospital-a", "hospital-c", "hospital-d"))


async def named(run: DataKeyRun, member: str, others: tuple[str, ...] = (A,)) -> None:
    """Let all verify, which fails, and see whom the others name."""
    order = run.fix_order("verify", b"\7" * 32)
    reports = await run.study.reports(order, others)
    for other in others:
        assert reports[other].outcome == chain_pb.OUTCOME_FAILED
        assert (await run.study.seen_at(other)).failure.split(":")[0] == member
