"""Risk scores as a hospital asks for them: the model's file, the terms, and what is answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cipherward.compute.v1 import compute_service_pb2 as compute_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_chain.canonical import decode_map, encode
from cipherward_chain.key_holders import KeyHolders
from cipherward_client.cli.commands import run
from cipherward_client.sdk.data_keys import DataKey
from cipherward_client.sdk.errors import ClientError
from cipherward_client.sdk.inferences import inference_of
from cipherward_client.sdk.scores import (
    ModelUnreadable,
    RiskScoreUnreadable,
    ScoreRequest,
    read_model,
    score_of,
)
from cipherward_studies.errors import DraftInvalid

MODEL = """
data_set: cohort-1
kind: logistic
intercept: -6.20
terms:
  - {variable: age, at: hospital-a, weight: 0.0431}
  - {variable: bmi, at: hospital-b, weight: 0.1175}
"""
COLUMNS = """
data_set: cohort-1
variables:
  - {name: age, low: 0, high: 120, unit: a}
  - {name: bmi, low: 10, high: 80, fraction_bits: 4}
"""
MEMBERS = ("hospital-d", "hospital-a", "hospital-c", "hospital-b")
KEY = DataKey(
    data_key=b"k" * 16,
    state="ready",
    data_set="cohort-1",
    year=2026,
    members=MEMBERS,
    holders=KeyHolders(("hospital-a", "hospital-b", "hospital-e"), 3, b"r" * 16),
    minimum=10,
    releases_max=300,
    enrol_until=1,
    expires=2,
    key_digest=b"d" * 32,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.yaml"
    path.write_text(MODEL)
    return path


def contract(file: Path, **changed: Any) -> pb.Contract:
    request = ScoreRequest(read_model(file), KEY.data_key)
    fields: dict[str, Any] = {
        "instance_id": b"s" * 16,
        "template": "risk-score",
        "state": "granted",
        "terms": request.terms("hospital-a", KEY, 1000),
        "variables": encode({"uses": 2, "failure": "MASK_REFUSED"}),
    }
    return pb.Contract(**{**fields, **changed})


def test_a_models_file_is_read_with_the_decimals_that_it_has(file: Path) -> None:
    model = read_model(file)
    assert model.members == ("hospital-a", "hospital-b")
    assert [str(term.weight) for term in model.terms] == ["0.0431", "0.1175"]
    as_json = file.with_suffix(".json")
    as_json.write_text(json.dumps(model.to_document()))
    assert read_model(as_json) == model


def test_a_file_that_describes_no_model_is_refused(file: Path) -> None:
    file.write_text("{")
    with pytest.raises(ModelUnreadable):
        read_model(file)
    file.write_text(MODEL.replace("0.1175", "0"))
    with pytest.raises(DraftInvalid, match="/terms/1/weight"):
        read_model(file)


def test_a_request_becomes_the_terms_of_its_contract(file: Path) -> None:
    model = read_model(file)
    terms = decode_map(ScoreRequest(model, KEY.data_key, seconds=60).terms("hospital-a", KEY, 1000))
    assert terms["hospital"] == ["hospital-a"]
    assert terms["members"] == list(KEY.holders.members)  # not who made it
    assert (terms["threshold"], terms["approvals"]) == (3, 3)
    assert (terms["source"], terms["key_digest"]) == (KEY.data_key, KEY.key_digest)
    assert (terms["model_digest"], terms["expires"]) == (model.digest, 1060)


def test_a_risk_score_is_shown_as_its_contract_stands(file: Path) -> None:
    found = score_of(contract(file))
    assert (found.state, found.hospital, found.uses) == ("granted", "hospital-a", 2)
    assert found.failure == "MASK_REFUSED"
    assert score_of(contract(file, variables=encode({}))).uses == 0
    with pytest.raises(RiskScoreUnreadable, match="no risk score"):
        score_of(contract(file, template="study"))
    with pytest.raises(RiskScoreUnreadable, match="out of form"):
        score_of(contract(file, terms=encode({"hospital": []})))


def test_a_linear_models_scores_have_no_probability() -> None:
    score = compute_pb.Score(reference=b"r" * 16, known=1, linear=0.5)
    answer = compute_pb.GetInferenceResponse(
        state=compute_pb.INFERENCE_STATE_RELEASED, variables=2, scores=[score]
    )
    (linear,) = inference_of(b"u" * 16, answer).scores
    assert (linear.linear, linear.probability, linear.known) == (0.5, None, 1)
    answer.scores[0].probability = 0.6
    (logistic,) = inference_of(b"u" * 16, answer).scores
    assert logistic.probability == 0.6
    with pytest.raises(ClientError, match="NOT_SERVED"):
        inference_of(b"u" * 16, compute_pb.GetInferenceResponse())


def test_the_command_checks_a_model_against_its_columns(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = file.with_name("columns.yaml")
    columns.write_text(COLUMNS)
    assert run(["score", "model", str(file), "--columns", str(columns), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model_digest"] == read_model(file).digest.hex()
    # Half a step of either column; how the weights are rounded adds less than a hundredth of that.
    assert told["error"] == pytest.approx(0.0431 / 2 + 0.1175 / 32, rel=0.01)
    file.write_text(MODEL.replace("0.1175", "0.000000001").replace("0.0431", "1000"))
    assert run(["score", "model", str(file), "--columns", str(columns), "--json"]) == 1
    assert "bmi at hospital-b" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["model", "propose", "approve", "run", "show", "end"])
def test_every_command_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", command, "--help"]) == 0
    assert "score" in capsys.readouterr().out
