"""Risk scores over real processes: granted by the members, read by the treating hospital alone."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from cipherward_client.alliance.running import running_alliance
from cipherward_client.cli.commands import run
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.data_keys import (
    DataKeyRequest,
    propose_data_key,
    show_data_key,
    vote_data_key,
)
from cipherward_client.sdk.enrolment import enrol
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.inferences import await_scores, infer, show_inference
from cipherward_client.sdk.opt_outs import link_references
from cipherward_client.sdk.scores import (
    ScoreRequest,
    propose_score,
    show_score,
    vote_score,
)
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.columns import ColumnText
from cipherward_studies.models import Model
from cipherward_studies.scores import logistic, plan_scores

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
TREATING = "hospital-a"
TEXT = ColumnText.from_document(
    {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 120, "unit": "a"},
            {"name": "bmi", "low": 10, "high": 80, "unit": "kg/m2", "fraction_bits": 4},
        ],
    }
)
# The first patients are of two hospitals, the others of the treating one alone.
PATIENTS, COMMON = 12, 10
ENROL_SECONDS = 10  # ahead of the proposal's block; the key takes longer
KEY_SECONDS = 400.0  # some 20 seconds on a machine that is free
USES = 1
Rows = NDArray[np.float64]


def a_model(**changed: Any) -> Model:
    """Return a logistic model of the patient's age here and body mass at the other hospital."""
    document: dict[str, Any] = {
        "data_set": "cohort-1",
        "kind": "logistic",
        "intercept": "-6.2",
        "terms": [
            {"variable": "age", "at": TREATING, "weight": "0.0431"},
            {"variable": "bmi", "at": "hospital-b", "weight": "0.1175"},
        ],
    }
    return Model.from_document(document | changed)


@dataclass
class Town:
    """A running alliance with a data key that is ready, and a hospital's patients."""

    folder: Path
    hospitals: dict[str, Hospital]
    data_key: bytes
    references: list[bytes]
    ages: Rows
    bmi: Rows

    @property
    def treating(self) -> Hospital:
        """The hospital that asks for scores."""
        return self.hospitals[TREATING]

    async def granted(self, model: Model, uses: int = USES) -> bytes:
        """Return a risk score that the members have granted."""
        request = ScoreRequest(model, self.data_key, uses_max=uses)
        risk_score = (await propose_score(self.treating, request)).risk_score
        for member in MEMBERS[:3]:
            await vote_score(self.hospitals[member], risk_score, model=model)
        return risk_score


async def patient(
    alliance: Alliance, hospitals: dict[str, Hospital], key: bytes, known: dict[str, bytes]
) -> None:
    """Let a patient enrol at its hospitals, which know by which names its rows go."""
    wallet = Wallet.create(alliance.chain_id)
    code = await admit_holder(hospitals[TREATING], "patient")
    await obtain_credential(alliance, wallet, TREATING, code)
    for member, reference in known.items():
        taken = await enrol(alliance, wallet, key, member)
        await link_references(hospitals[member], taken.care_pseudonym, [reference])


async def until_ready(hospital: Hospital, data_key: bytes) -> None:
    async with asyncio.timeout(KEY_SECONDS):
        while (state := (await show_data_key(hospital, data_key)).state) != "ready":
            assert state not in ("failed", "rejected", "withdrawn"), state
            await asyncio.sleep(0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Town]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            running_alliance(tmp_path_factory.mktemp("risk-scores"))
        )
        opened = Alliance.open(running.folder.endpoints_file, running.folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = {
            member: await stack.enter_async_context(open_hospital(running.folder, member))
            for member in MEMBERS
        }
        numbers = np.random.default_rng(5)
        ages = numbers.integers(20, 90, PATIENTS).astype(np.float64)
        bmi = numbers.integers(18 * 16, 40 * 16, COMMON).astype(np.float64) / 16
        here = [secrets.token_bytes(16) for _ in range(PATIENTS)]
        there = [secrets.token_bytes(16) for _ in range(COMMON)]
        names, nobody = ("age [a]", "bmi [kg/m2]"), [secrets.token_bytes(16)]
        tables = {
            "hospital-a": (np.column_stack([ages, np.full(PATIENTS, 25.0)]), here),
            "hospital-b": (np.column_stack([ages[:COMMON], bmi]), there),
            "hospital-c": (np.array([[50.0, 22.0]]), nobody),
            "hospital-d": (np.array([[60.0, 23.0]]), nobody),
        }
        for member, (rows, references) in tables.items():
            await contribute_rows(hospitals[member], "cohort-1", names, rows, references=references)
        request = DataKeyRequest(TEXT, 2026, enrol_seconds=ENROL_SECONDS)
        data_key = (await propose_data_key(hospitals[TREATING], request)).data_key
        for place, reference in enumerate(here):
            known = {TREATING: reference}
            if place < COMMON:
                known["hospital-b"] = there[place]
            await patient(alliance, hospitals, data_key, known)
        for member in MEMBERS[:3]:
            await vote_data_key(hospitals[member], data_key)
        await until_ready(hospitals[TREATING], data_key)
        yield Town(running.folder.root, hospitals, data_key, here, ages, bmi)


async def test_scores_are_the_models_own_and_another_hospital_reads_none(town: Town) -> None:
    model = a_model()
    risk_score = await town.granted(model)
    wanted = [*town.references[:3], town.references[COMMON]]
    use = await infer(town.treating, risk_score, wanted)
    found = await await_scores(town.treating, use)
    assert (found.state, found.variables) == ("released", 2), found
    assert [one.reference for one in found.scores] == wanted
    assert [one.known for one in found.scores] == [2, 2, 2, 1]
    # Every value is a whole number of steps: what is left of the error is rounding of the weights,
    # 2^-25 for each of at most 120 and 1,280 steps.
    error = 1e-4
    assert error < plan_scores(model, TEXT).error
    for one, place in zip(found.scores, (0, 1, 2, COMMON), strict=True):
        bmi = town.bmi[place] if place < COMMON else 0.0
        expected = -6.2 + 0.0431 * town.ages[place] + 0.1175 * bmi
        assert abs(one.linear - expected) <= error
        assert one.probability == pytest.approx(logistic(expected), abs=error)

    with pytest.raises(ClientError) as told:  # the use is at the treating hospital alone
        await show_inference(town.hospitals["hospital-b"], use)
    assert told.value.reason == "INFERENCE_UNKNOWN"
    with pytest.raises(ClientError) as told:
        await infer(town.hospitals["hospital-b"], risk_score, town.references[:1])
    assert told.value.reason == "RISK_SCORE_UNKNOWN"

    # It was granted for one use.
    again = await await_scores(town.treating, await infer(town.treating, risk_score, wanted))
    assert (again.state, again.reason) == ("failed", "POLICY_DENIED")
    assert not again.scores
    shown = await show_score(town.treating, risk_score)
    assert (shown.state, shown.uses, shown.uses_max) == ("granted", 1, 1)


async def test_who_has_not_enrolled_is_not_scored(town: Town) -> None:
    risk_score = await town.granted(a_model(kind="linear"))
    with pytest.raises(ClientError) as told:
        await infer(town.treating, risk_score, [town.references[0], secrets.token_bytes(16)])
    assert told.value.reason == "PATIENT_NOT_ENROLLED"
    assert "reference 2" in told.value.detail


async def test_the_command_shows_a_linear_models_scores(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    risk_score = await town.granted(a_model(kind="linear"))
    reference = town.references[0].hex()
    words = ["score", "run", risk_score.hex(), "--member", TREATING, "--patient", reference]
    capsys.readouterr()
    status = await asyncio.to_thread(run, [*words, "--alliance", str(town.folder), "--json"])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err
    (score,) = json.loads(told.out)["scores"]
    assert (score["reference"], score["known"], score["probability"]) == (reference, 2, None)
    expected = -6.2 + 0.0431 * town.ages[0] + 0.1175 * town.bmi[0]
    assert score["linear"] == pytest.approx(expected, abs=1e-4)


async def test_a_member_votes_for_no_other_model_than_it_has_read(town: Town) -> None:
    request = ScoreRequest(a_model(), town.data_key)
    risk_score = (await propose_score(town.treating, request)).risk_score
    with pytest.raises(ClientError) as told:
        await vote_score(town.hospitals["hospital-b"], risk_score, model=a_model(intercept="0"))
    assert told.value.reason == "MODEL_DIFFERS"
