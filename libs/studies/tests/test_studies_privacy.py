"""Differential privacy: sigma, the contributors' parts, epsilon, and the room for noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cipherward_studies.analysis import FRACTION_BITS, PATIENTS_MAX
from cipherward_studies.document import ANALYSES_MAX
from cipherward_studies.errors import ContributorsTooFew
from cipherward_studies.plan import Plan
from cipherward_studies.privacy import MICRO, TAIL_SIGMAS, NoiseBlock, epsilon_of, sigma_of
from cipherward_threshold.parameters import profile
from cipherward_threshold.proofs.bounds import BATCH_MAX

Compile = Callable[[dict[str, Any]], Plan]

DOCUMENT: dict[str, Any] = {
    "variables": [{"name": "age", "low": 18, "high": 100}],
    "analyses": [
        {"kind": "moments", "variables": ["age"]},
        {"kind": "histogram", "variable": "age", "bins": 8},
    ],
}


def test_an_exact_study_has_no_noise(plan: Compile) -> None:
    assert plan(DOCUMENT).noise(b"") == ()


def test_the_rho_of_a_round_is_what_its_blocks_spend_together(plan: Compile) -> None:
    compiled = plan(DOCUMENT | {"rho_micro": 30_000})
    blocks = compiled.noise(b"")
    assert [(block.start, block.stop) for block in blocks] == [(0, 2), (2, 4), (4, 12)]
    assert blocks[-1].stop == compiled.value_slots
    sensitivities = [1.0, *(one.sensitivity(b"") for one in compiled.analyses)]
    spent = sum(
        (sensitivity / block.sigma) ** 2 / 2
        for sensitivity, block in zip(sensitivities, blocks, strict=True)
    )
    assert spent == pytest.approx(0.03)


def test_what_colluders_cannot_subtract_is_the_whole_noise() -> None:
    block = NoiseBlock(0, 1, sigma_of(1.0, 0.01))
    for contributors, threshold in ((4, 3), (10, 7), (3, 3)):
        part = block.contributor_sigma(contributors, threshold)
        honest = contributors - (threshold - 1)
        assert math.sqrt(honest) * part == pytest.approx(block.sigma)
    with pytest.raises(ContributorsTooFew):
        block.contributor_sigma(2, 3)


def test_the_least_rho_over_the_widest_round_wraps_no_sum() -> None:
    parameters = profile("additive-1")
    slots = BATCH_MAX * parameters.slots
    sensitivity = math.sqrt(slots) * ((1 << FRACTION_BITS) + 1)
    sigma = sigma_of(sensitivity, 1 / MICRO / (1 + ANALYSES_MAX))
    room = parameters.message_bound - (PATIENTS_MAX << FRACTION_BITS)
    assert room / 2 < TAIL_SIGMAS * sigma < room


@pytest.mark.parametrize("rho", [0.0001, 0.01, 0.1, 1.0, 5.0])
def test_epsilon_is_the_least_of_the_bounds_and_below_the_simple_one(rho: float) -> None:
    delta = 1e-6
    alphas = 1.0 + np.exp(np.linspace(-5, 15, 200_001))
    bounds = rho * alphas - np.log(alphas * delta) / (alphas - 1.0) + np.log1p(-1.0 / alphas)
    assert epsilon_of(rho, delta) == pytest.approx(max(0.0, float(bounds.min())), rel=1e-6)
    assert epsilon_of(rho, delta) < rho + 2 * math.sqrt(rho * math.log(1 / delta))


def test_no_rho_is_no_epsilon() -> None:
    assert epsilon_of(0.0) == 0.0
