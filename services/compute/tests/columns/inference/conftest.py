"""A data key whose columns are ready, and risk scores of hospital-a over them.

The orders of a use are those of its contract, one after another.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward_chain.canonical import Value, decode_map, encode
from cipherward_compute.column_keys import study_scope
from cipherward_kit.testing import eventually
from cipherward_member.reports import OrderKey
from cipherward_studies.columns import ColumnText
from cipherward_studies.models import Model
from cipherward_studies.scores import ScorePlan, plan_scores
from cipherward_threshold.keys import public_key_digest

# From the folders above, which have a conftest of this name too.
DataKeyRun: TypeAlias = Any
Patient: TypeAlias = Any
World: TypeAlias = Any
StudyRun: TypeAlias = Any

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
A, B, C, D = MEMBERS
SET = (B, C, D)  # who decrypts: the hospital that asks is not among them
THRESHOLD = 3
TEXT = ColumnText.from_document(  # as in the folder's data keys
    {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120},
            {"name": "bmi", "low": 10, "high": 80, "fraction_bits": 8},
        ],
    }
)
DOCUMENT: dict[str, Any] = {
    "data_set": "cohort-1",
    "kind": "logistic",
    "intercept": "-6.25",
    "terms": [
        {"variable": "age", "at": A, "weight": "0.0412"},
        {"variable": "bmi", "at": B, "weight": "0.0712"},
        {"variable": "bmi", "at": C, "weight": "-0.011"},
    ],
}


@dataclass
class ScoreRun:
    """A risk score of hospital-a, driven as its contract would drive it."""

    key: DataKeyRun
    study: StudyRun
    model: Model
    uses: int = 0
    request: bytes = b""
    requester_key_digest: bytes = b""
    commitments: dict[str, bytes] = field(default_factory=dict[str, bytes])
    release: OrderKey | None = None

    @property
    def plan(self) -> ScorePlan:
        return plan_scores(self.model, TEXT)

    @property
    def hospital(self) -> Any:
        return self.study.world.hospitals[A]

    async def put_model(self, *members: str) -> None:
        for member in members or MEMBERS:
            holder = self.study.world.hospitals[member].holder()
            answer = await holder.PutModel(pb.PutModelRequest(model=self.model.to_bytes()))
            assert answer.digest == self.model.digest

    def propose(self, **changed: Value) -> None:
        now = int(self.study.world.clock.seconds)
        terms: dict[str, Value] = {
            "source": self.key.id,
            "hospital": [A],
            "members": list(MEMBERS),
            "threshold": THRESHOLD,
            "model_digest": self.model.digest,
            "step_seconds": 600,
            "expires": now + 86_400,
            **changed,
        }
        act = chain_pb.Instantiate(
            template="risk-score", version=1, instance_id=self.study.study, terms=encode(terms)
        )
        self.study.world.append(chain_pb.Act(instantiate=act))

    async def infer(self, *patients: Patient, request_id: str = "") -> bytes:
        """Ask for scores, and let the chain take it; return the use."""
        before = len(self.study.world.ledger.transitions)
        references = [patient.reference(A) for patient in patients]
        begun = await self.hospital.stub().Infer(self.asking(references, request_id))
        taken = self.study.world.ledger.transitions
        await eventually(lambda: len(taken) > before, what="the transition")
        asked = taken[-1]
        assert (asked.instance_id, asked.transition) == (self.study.study, "infer")
        arguments = decode_map(asked.arguments)
        assert isinstance(arguments["request"], bytes)
        assert isinstance(arguments["requester_key_digest"], bytes)
        self.request = arguments["request"]
        self.requester_key_digest = arguments["requester_key_digest"]
        self.uses += 1
        assert begun.inference_id == self.request[:16]
        return begun.inference_id

    def asking(self, references: Sequence[bytes], request_id: str = "") -> pb.InferRequest:
        return pb.InferRequest(
            request_id=request_id or str(uuid.uuid4()),
            risk_score=self.study.study,
            references=references,
        )

    def order(self, stage: str, step: str, **changed: Value) -> OrderKey:
        arguments: dict[str, Value] = {
            "stage": stage,
            "step": step,
            "threshold": THRESHOLD,
            "minimum": 10,
            "spec_digest": self.model.digest,
            "data_set": "cohort-1",
            "outputs": ["risk_score"],
            "requester_key_digest": self.requester_key_digest,
            "key_digest": public_key_digest(self.key.made.public_key),
            "commitments": {} if step == "commit" else dict(self.commitments),
            "round": self.uses,
            "iterate": self.request,
            "verdicts": {},
            "source": self.key.id,
            "digest": b"",
            "members": [A] if step == "commit" else list(MEMBERS),
            **changed,
        }
        return self.study.order("start_study", **arguments)

    async def masked(self) -> None:
        self.commitments = await self.study.done(self.order("counts", "commit"), [A])

    async def agreed(self, stage: str) -> bytes:
        """Let all compute; return the digest that they agree on."""
        (digest,) = set((await self.study.done(self.order(stage, "verify"))).values())
        return digest

    def release_order(self, instruction: str, digest: bytes) -> OrderKey:
        arguments: dict[str, Value] = {
            "set": list(SET),
            "digest": digest,
            "threshold": THRESHOLD,
            "key_digest": public_key_digest(self.key.made.public_key),
            "source": self.key.id,
        }
        if instruction == "release_counts":
            arguments["minimum"] = 10
        else:
            arguments["requester_key_digest"] = self.requester_key_digest
            arguments["round"] = self.uses
        return self.study.order(instruction, **arguments)

    async def to_scores(self) -> bytes:
        """Run up to the scores; return the digest that all agree on."""
        await self.masked()
        await self.study.done(self.release_order("release_counts", await self.agreed("counts")))
        return await self.agreed("values")

    async def released(self, digest: bytes) -> None:
        self.release = self.release_order("release_result", digest)
        await self.study.done(self.release, SET)

    async def answer(self, inference: bytes, state: int) -> pb.GetInferenceResponse:
        """Wait for a use to come to `state`."""
        found = pb.GetInferenceResponse()

        async def there() -> bool:
            nonlocal found
            request = pb.GetInferenceRequest(inference_id=inference)
            found = await self.hospital.stub().GetInference(request)
            return found.state != pb.INFERENCE_STATE_ASKED

        await eventually(there, seconds=60, what="the answer")
        assert found.state == state, found
        return found

    def in_the_clear(self, patient: Patient) -> tuple[int, float]:
        """Return how many variables of a patient are known, and the score."""
        known, total = 0, float(self.model.intercept)
        for term in self.model.terms:
            row = patient.rows.get(term.at)
            if row is not None:
                known += 1
                total += float(term.weight) * row[("age", "bmi").index(term.variable)]
        return known, total

    def slot_of(self, patient: Patient) -> int:
        scope = study_scope(self.key.id)
        pseudonyms = sorted(one.wallets[scope].pseudonym for one in self.key.patients)
        return pseudonyms.index(patient.wallets[scope].pseudonym)

    def rows(self, table: str, member: str = A) -> list[tuple[Any, ...]]:
        database = self.study.world.hospitals[member].config.data_dir / "compute.db"
        connection = sqlite3.connect(database)
        found = connection.execute(f"SELECT * FROM {table}").fetchall()
        connection.close()
        return found


MakeModel: TypeAlias = Callable[..., Model]  # `changed` are entries of its document
MakeScores: TypeAlias = Callable[..., ScoreRun]


@pytest.fixture
def a_model() -> MakeModel:
    def make(**changed: Any) -> Model:
        return Model.from_document({**DOCUMENT, **changed})

    return make


@pytest.fixture
def a_score(living: DataKeyRun, a_model: MakeModel) -> MakeScores:
    def make(**changed: Any) -> ScoreRun:
        model = a_model(**changed)
        study = replace(living.study, study=uuid.uuid4().bytes, template="risk-score")
        return ScoreRun(living, study, model)

    return make


@pytest.fixture
async def scores(a_score: MakeScores) -> ScoreRun:
    """A risk score that all have the model of, and that is granted."""
    made = a_score()
    await made.put_model()
    made.propose()
    await eventually(lambda: bool(made.rows("risk_scores")), what="the proposal")
    return made
