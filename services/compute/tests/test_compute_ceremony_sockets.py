"""Ceremonies between four running services, over sockets and a chain."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_compute.ceremony.messages import commitment_to
from cipherward_compute.instructions import CeremonyStep
from cipherward_threshold.dealing.messages import DealCheck
from cipherward_threshold.parameters import profile

if TYPE_CHECKING:
    from conftest import StudyRun

    from cipherward_chain.canonical import Value

STEPS: tuple[CeremonyStep, ...] = (
    "relin_first",
    "relin_second",
    "relin_combine",
    "test_commit",
    "test_open",
)


@pytest.mark.slow
async def test_a_data_key_is_made_tested_and_destroyed_by_orders_of_the_chain(
    study: StudyRun,
) -> None:
    study.instantiate()
    named: dict[str, Value] = {"profile": "product-1", "set": []}
    study.commitments = await study.done(study.ceremony_order("commit", **named))
    for step in ("reveal", "confirm", *STEPS):
        named["set"] = list(study.members[:3]) if step == "test_open" else []
        study.reveals = await study.done(study.ceremony_order(step, **named))
    assert len(set(study.reveals.values())) == 1
    await study.done(study.retire())


@pytest.mark.slow
async def test_who_accuses_a_dealer_falsely_is_named_by_every_other_member(study: StudyRun) -> None:
    study.instantiate()
    row, liar = profile("additive-1"), "hospital-d"
    study.commitments = await study.done(study.ceremony_order("commit"))
    study.reveals = await study.done(study.ceremony_order("reveal"))
    database = study.world.hospitals[liar].config.data_dir / "compute.db"
    with sqlite3.connect(database) as connection:
        (octets,) = connection.execute(
            "SELECT octets FROM ceremony_messages WHERE kind = 'check'"
        ).fetchone()
        check = DealCheck.parse(row, octets)
        values = check.values.copy()
        values[0, 0, 0] ^= 1
        lie = replace(check, values=values).to_bytes(row)
        connection.execute("UPDATE ceremony_messages SET octets = ? WHERE kind = 'check'", (lie,))
    connection.close()
    study.reveals[liar] = commitment_to(study.study, "check", liar, lie)
    reports = await study.reports(study.ceremony_order("confirm"))
    assert {report.outcome for report in reports.values()} == {chain_pb.OUTCOME_FAILED}
    for member in study.members:
        seen = await study.seen_at(member)
        assert (seen.failure_reason, seen.failure.split(":")[0]) == ("PEER_WRONG", liar)
