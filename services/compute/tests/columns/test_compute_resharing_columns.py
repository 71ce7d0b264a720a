"""A data key goes to other holders over real sockets, and its columns are computed with by them."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward_chain.canonical import Value, encode
from cipherward_compute.column_keys import PROFILE
from cipherward_kit.errors import reason_of
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey
from cipherward_studies.spec import Draft
from cipherward_threshold.evaluation.relinearisation import relin_key_digest
from cipherward_threshold.keys import public_key_digest
from cipherward_threshold.switching import RequesterKey

if TYPE_CHECKING:
    from conftest import DataKeyRun, MadeKey, StudyRun

pytestmark = pytest.mark.slow  # four hospitals start, encrypt columns and multiply them

A, B, C, D = MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
OLD, DEALERS, NEW = (A, B, C), (A, B), (B, C, D)
COMMON = 12  # patients of both hospitals


@dataclass
class KeyResharing:
    """A resharing of a data key, driven as its contract would drive it: a leaves, d joins."""

    key: DataKeyRun
    run: StudyRun
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    reveals: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def propose(self) -> None:
        terms: dict[str, Value] = {
            "members": list(NEW),
            "holders": list(OLD),
            "step_seconds": 600,
        }
        act = chain_pb.Instantiate(
            template="key-resharing", version=1, instance_id=self.run.study, terms=encode(terms)
        )
        self.run.world.append(chain_pb.Act(instantiate=act))

    def order(self, step: str, members: Sequence[str], **other: Value) -> OrderKey:
        arguments: dict[str, Value] = {
            **self._about(members),
            "step": step,
            "dealers": list(DEALERS),
            "seed": b"",
            "commitments": dict(self.commitments),
            "reveals": dict(self.reveals),
            "evaluation_digest": relin_key_digest(self.key.made.relin_key),
            "spec_digest": self.key.spec_digest,
            "column_commitments": dict(self.key.commitments),
        }
        return self.run.order("reshare_key", **{**arguments, **other})

    def _about(self, members: Sequence[str]) -> dict[str, Value]:
        return {
            "members": list(members),
            "source": self.key.id,
            "holders": list(OLD),
            "new": list(NEW),
            "threshold": 2,
            "key_digest": public_key_digest(self.key.made.public_key),
        }

    async def happen(self) -> None:
        """Take all steps, and hand the key over."""
        run, seed = self.run, b"\7" * 32
        await run.done(self.order("ready", OLD, dealers=[]), OLD)
        self.commitments = await self._done("deal", DEALERS, commitments={})
        self.reveals = await self._done("answer", NEW, reveals={})
        assert len(set((await self._done("confirm", NEW)).values())) == 1
        self.reveals = await self._done("test", NEW, seed=seed)
        assert len(set((await self._done("open", NEW, seed=seed)).values())) == 1
        run.order("hand_over_key", **self._about(MEMBERS))

    async def _done(self, step: str, members: Sequence[str], **other: Value) -> dict[str, bytes]:
        return await self.run.done(self.order(step, members, **other), members)


def proven(key: DataKeyRun, member: str) -> set[str]:
    """Return whose handed columns a member has verified a batch of."""
    database = key.world.hospitals[member].config.data_dir / "compute.db"
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT member FROM proven_columns WHERE study = ?", (key.id,))
    found = {name for (name,) in rows}
    connection.close()
    return found


@pytest.fixture
async def ready(living: DataKeyRun, key_of_three: MadeKey) -> DataKeyRun:
    """A data key of three hospitals, whose columns are verified."""
    study = replace(living.study, members=OLD, threshold=2)
    run = replace(living, study=study, made=key_of_three)
    run.propose()
    await run.put_text()
    for number in range(COMMON):
        run.a_patient(a=(40.0 + number, 25.0), b=(40.0 + number, 20.0 + number))
    run.register(*run.patients)
    await run.contribute()
    for patient in run.patients:
        await run.enrol(patient)
    run.give_key()
    await run.fix()
    await run.verify()
    return run


def a_study(key: DataKeyRun, researcher: RequesterKey) -> StudyRun:
    document: dict[str, Any] = {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120},
            {"name": "bmi", "low": 10, "high": 80},
        ],
        "analyses": [
            {
                "kind": "product_sum",
                "x": {"variable": "age", "at": A},
                "y": {"variable": "bmi", "at": B, "fraction_bits": 8},
            }
        ],
        "profile": PROFILE,
        "minimum": 10,
        "data_key": {
            "id": key.id.hex(),
            "key_digest": public_key_digest(key.made.public_key).hex(),
            "releases_max": 100,
        },
    }
    return replace(
        key.study,
        spec=Draft.from_document(document).spec(researcher.public_key()),
        study=secrets.token_bytes(16),
        template="column-study",
        members=NEW,
        key_digest=public_key_digest(key.made.public_key),
        commitments={},
        verdicts={},
    )


async def test_new_holders_compute_with_the_columns_of_one_that_has_left(
    ready: DataKeyRun,
) -> None:
    run = replace(ready.study, study=secrets.token_bytes(16), template="key-resharing")
    resharing = KeyResharing(ready, run)
    resharing.propose()
    await eventually(lambda: stage_at(run, D, "proposed"))
    await resharing.happen()
    await eventually(lambda: stage_at(run, A, "handed_over"))
    assert (await run.seen_at(A)).ended
    await eventually(lambda: stage_at(run, D, "handed_over"))
    assert not (await run.seen_at(D)).ended

    await ready.world.hospitals[D].stop()
    await ready.world.hospitals[D].start()
    assert proven(ready, D) == set()
    study = a_study(ready, RequesterKey.generate(PROFILE, b"c" * 32))
    await study.put_spec()
    study.instantiate()
    order = study.start_order("counts", "verify", source=ready.id)
    (counts,) = set((await study.done(order)).values())  # d multiplies what the others do
    assert proven(ready, D) == {A, B}  # it has verified what it used
    assert proven(ready, C) == set()  # which had verified it before
    passes = await study.done(
        study.release_order("release_counts", counts, (C, D), source=ready.id)
    )
    study.verdicts = {member: passes[member] for member in (C, D)}
    order = study.start_order("values", "verify", source=ready.id)
    (values,) = set((await study.done(order)).values())
    release = study.release_order("release_result", values, (B, D), source=ready.id)
    await study.done(release, (B, D))


async def stage_at(run: StudyRun, member: str, stage: str) -> bool:
    try:
        return (await run.seen_at(member)).stage == stage
    except aio.AioRpcError as error:
        if reason_of(error) != "STUDY_UNKNOWN":
            raise
        return False
