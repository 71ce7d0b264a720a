"""What explain says before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cipherward_studies.explain import explain
from cipherward_studies.plan import Plan
from cipherward_studies.privacy import epsilon_of
from cipherward_threshold.keys import combine_public_key, member_secret
from cipherward_threshold.proofs.contributions import encrypt_contribution

Compile = Callable[[dict[str, Any]], Plan]

DOCUMENT: dict[str, Any] = {
    "variables": [
        {"name": "age", "low": 18, "high": 100, "unit": "years", "missing": "refuse"},
        {"name": "bmi", "low": 10, "high": 60, "unit": "kg/m2", "outside": "clip"},
        {"name": "sex", "kind": "flag", "low": 1, "high": 2, "outside": "refuse"},
    ],
    "cohort": [
        {"variable": "age", "op": "between", "values": [40, 80]},
        {"variable": "sex", "op": "!=", "values": [1]},
    ],
    "analyses": [
        {"kind": "moments", "variables": ["bmi"], "statistics": ["mean"]},
        {"kind": "histogram", "variable": "age", "bins": 4, "quantiles": [0.5]},
    ],
}


def test_each_hospital_s_work_is_told_in_sentences(plan: Compile) -> None:
    found = explain(plan(DOCUMENT))
    text = "\n".join(found.computes)
    assert "age in 40 to 80 and sex is not 1" in text
    assert "age: 18 to 100 years; a missing value stops the study" in text
    assert "bmi: 10 to 60 kg/m2; a missing value leaves the patient out; another" in text
    assert "another value becomes the nearer end" in text
    assert "sex: 1 or 2; " in text
    assert "noise" not in text
    assert "age 18 to below 38.5" in found.cells
    assert "bmi above 10" in found.cells
    assert found.error_bounds["2 histogram: histogram"] == "exact"
    assert "20.5" in found.error_bounds["2 histogram: quantiles"]
    assert found.privacy is None
    assert (found.rounds, found.releases) == (1, 1)
    assert json.loads(json.dumps(found.to_document()))["counts"]["slots"] == 9


def test_noise_is_told_with_what_it_is_worth(plan: Compile) -> None:
    found = explain(plan(DOCUMENT | {"rho_micro": 20_000}))
    assert found.privacy is not None
    assert found.privacy.rho_in_all == pytest.approx(0.02)
    assert found.privacy.epsilon == pytest.approx(epsilon_of(0.02))
    assert len(found.privacy.sigmas) == 2
    assert "noise" in found.error_bounds
    assert any("noise" in sentence for sentence in found.computes)


@pytest.mark.slow
def test_the_bytes_are_those_of_a_real_contribution(plan: Compile) -> None:
    compiled = plan(DOCUMENT)
    told = explain(compiled).values
    secrets = [member_secret("additive-1", bytes([i]) * 32, b"explain") for i in (1, 2, 3)]
    shares = [secret.public_key_share() for secret in secrets]
    key = combine_public_key("additive-1", b"explain", shares)
    batches = compiled.batches([0] * compiled.value_slots)
    made = encrypt_contribution("additive-1", key, batches, context=b"explain")
    assert told.ciphertexts == len(made.ciphertexts)
    assert told.bytes == sum(map(len, made.ciphertexts)) + len(made.proof)
