"""Risk scores over real processes: granted by the members, read by the treating hospital alone."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import pytest

from cipherward_client.cli.commands import run
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.inferences import await_scores, infer, show_inference
from cipherward_client.sdk.scores import (
    ScoreRequest,
    propose_score,
    show_score,
    vote_score,
)
from cipherward_studies.models import Model
from cipherward_studies.scores import logistic, plan_scores
from tests.integration.studies.column_town import (
    COMMON,
    MEMBERS,
    TEXT,
    TREATING,
    ColumnTown,
)

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

USES = 1


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


async def granted(town: ColumnTown, model: Model, uses: int = USES) -> bytes:
    """Return a risk score that the members have granted."""
    request = ScoreRequest(model, town.data_key, uses_max=uses)
    risk_score = (await propose_score(town.treating, request)).risk_score
    for member in MEMBERS[:3]:
        await vote_score(town.hospitals[member], risk_score, model=model)
    return risk_score


@pytest.fixture
def town(key_town: ColumnTown) -> ColumnTown:
    return key_town


async def test_scores_are_the_models_own_and_another_hospital_reads_none(town: ColumnTown) -> None:
    model = a_model()
    risk_score = await granted(town, model)
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


async def test_who_has_not_enrolled_is_not_scored(town: ColumnTown) -> None:
    risk_score = await granted(town, a_model(kind="linear"))
    with pytest.raises(ClientError) as told:
        await infer(town.treating, risk_score, [town.references[0], secrets.token_bytes(16)])
    assert told.value.reason == "PATIENT_NOT_ENROLLED"
    assert "reference 2" in told.value.detail


async def test_the_command_shows_a_linear_models_scores(
    town: ColumnTown, capsys: pytest.CaptureFixture[str]
) -> None:
    risk_score = await granted(town, a_model(kind="linear"))
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


async def test_a_member_votes_for_no_other_model_than_it_has_read(town: ColumnTown) -> None:
    request = ScoreRequest(a_model(), town.data_key)
    risk_score = (await propose_score(town.treating, request)).risk_score
    with pytest.raises(ClientError) as told:
        await vote_score(town.hospitals["hospital-b"], risk_score, model=a_model(intercept="0"))
    assert told.value.reason == "MODEL_DIFFERS"
