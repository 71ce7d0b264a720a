"""Sums and risk scores over stored columns of real patients, for the table in docs/studies.md.

The same patients are known at two hospitals: one stores a tumour's radius encrypted, the other its
texture. They enrol with wallets of their own, as they would at home. Models are fitted in the clear
on the patients who do not enrol.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import statsmodels.api

from bench.stage import Stage
from bench.study_oracles import Figure
from cipherward_client.demo.tables import load_table
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.data_keys import (
    DataKey,
    DataKeyRequest,
    propose_data_key,
    show_data_key,
    vote_data_key,
)
from cipherward_client.sdk.enrolment import enrol
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.inferences import await_scores, infer
from cipherward_client.sdk.opt_outs import link_references
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.scores import ScoreRequest, propose_score, vote_score
from cipherward_client.sdk.studies import fetch_result, propose_study, vote, watch_study
from cipherward_client.sdk.study_requests import threshold_of
from cipherward_client.wallet.scopes import STAFF
from cipherward_studies.analyses.product_sum import ProductSumResult
from cipherward_studies.columns import ColumnText
from cipherward_studies.explain import batch_bytes
from cipherward_studies.models import Model
from cipherward_studies.scores import logistic
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns, Floats
from cipherward_threshold.parameters import profile

TABLE, DATA_SET = "breast_cancer", "cohort-6"
ENROLLED = 100  # each shows itself at both hospitals, some 0.3 s; 469 are left for the models
ENROL_SECONDS = 120
AT_ONCE = 4  # wallets that enrol side by side
KEY_SECONDS, STUDY_SECONDS = 600.0, 300.0
PROFILE = "product-1"
UNITS = {"radius": "mm", "texture": "1"}
# As many bits as values of 20 bits leave for the ranges.
TEXT = ColumnText.from_document(
    {
        "data_set": DATA_SET,
        "variables": [
            {"name": "radius", "low": 0, "high": 30, "unit": UNITS["radius"], "fraction_bits": 15},
            {
                "name": "texture",
                "low": 0,
                "high": 40,
                "unit": UNITS["texture"],
                "fraction_bits": 14,
            },
        ],
    }
)
COLUMNS = 4  # of one member: values and flags of two variables, one block
models: Any = statsmodels.api


class ColumnsFailed(Exception):
    """A study or a use over stored columns came to no result."""


@dataclass(frozen=True, slots=True)
class StoredLine:
    """What one computation on stored columns gave.

    sent: bytes that one hospital sends to each other one: its columns and their proofs, which are
        sent once for all studies; or a use's mask and its proof.
    """

    title: str
    figures: Sequence[Figure]
    seconds: float
    sent: int


TITLES = (
    "sums of products, covariance (two hospitals' stored columns)",
    "risk score, linear (against the plain model, fitted on others)",
    "risk score, logistic (against the plain model, fitted on others)",
)


@dataclass(frozen=True, slots=True)
class Cohort:
    """Patients with stored columns: a data key that is ready, and what the oracles may see.

    references: by which the first hospital knows each of them.
    """

    stage: Stage
    key: DataKey
    enrolled: Columns
    others: Columns
    references: Sequence[bytes]

    @property
    def holders(self) -> list[str]:
        """Whose columns are used: the first two hospitals'."""
        return list(self.stage.hospitals)[:2]

    @property
    def voters(self) -> list[Hospital]:
        """As many hospitals as decide."""
        hospitals = list(self.stage.hospitals.values())
        return hospitals[: threshold_of(len(hospitals))]


async def measure_columns(stage: Stage) -> list[StoredLine]:
    """Let patients enrol, and compute everything that is computed on their stored columns.

    Raises:
        ClientError, ColumnsFailed: something did not end with a result.
    """
    cohort = await _stored(stage)
    return [
        await _product_sum(cohort),
        await _scores(cohort, "linear", TITLES[1]),
        await _scores(cohort, "logistic", TITLES[2]),
    ]


async def _stored(stage: Stage) -> Cohort:
    table = load_table(TABLE)
    enrolled = {name: column[:ENROLLED] for name, column in table.items()}
    others = {name: column[ENROLLED:] for name, column in table.items()}
    members = list(stage.hospitals)
    references = {member: [secrets.token_bytes(16) for _ in range(ENROLLED)] for member in members}
    for place, member in enumerate(members):
        rows = np.column_stack([enrolled[name] for name in TEXT.names])
        if place > 1:  # the others have a patient of their own, who does not enrol
            rows, references[member] = rows[:1], references[member][:1]
        names = [f"{name} [{UNITS[name]}]" for name in TEXT.names]
        hospital = stage.hospitals[member]
        await contribute_rows(hospital, DATA_SET, names, rows, references=references[member])
    first, second = members[:2]
    request = DataKeyRequest(TEXT, datetime.now(UTC).year, enrol_seconds=ENROL_SECONDS)
    data_key = (await propose_data_key(stage.hospitals[first], request)).data_key
    side_by_side = asyncio.Semaphore(AT_ONCE)

    async def come(place: int) -> None:
        async with side_by_side:
            wallet = await stage.person(first)
            for member in (first, second):
                taken = await enrol(stage.alliance, wallet, data_key, member)
                reference = references[member][place]
                await link_references(stage.hospitals[member], taken.care_pseudonym, [reference])

    async with asyncio.TaskGroup() as group:
        for place in range(ENROLLED):
            group.create_task(come(place))
    cohort = Cohort(
        stage,
        await show_data_key(stage.hospitals[first], data_key),
        enrolled,
        others,
        references[first],
    )
    for hospital in cohort.voters:
        await vote_data_key(hospital, data_key)
    return replace(cohort, key=await _ready(stage.hospitals[first], data_key))


async def _ready(hospital: Hospital, data_key: bytes) -> DataKey:
    async with asyncio.timeout(KEY_SECONDS):
        while (shown := await show_data_key(hospital, data_key)).state != "ready":
            if shown.state in ("failed", "rejected", "withdrawn"):
                raise ColumnsFailed(f"the data key is {shown.state}")
            await asyncio.sleep(1.0)
    return shown


async def _product_sum(cohort: Cohort) -> StoredLine:
    alliance, (first, second) = cohort.stage.alliance, cohort.holders
    draft = Draft.from_document(
        {
            "data_set": DATA_SET,
            "variables": [
                {"name": one.name, "low": one.low, "high": one.high, "unit": one.unit}
                for one in TEXT.variables
            ],
            "analyses": [
                {
                    "kind": ProductSumResult.kind,
                    "x": {"variable": "radius", "at": first, "fraction_bits": 15},
                    "y": {"variable": "texture", "at": second, "fraction_bits": 14},
                }
            ],
            "profile": PROFILE,
            "data_key": {
                "id": cohort.key.data_key.hex(),
                "key_digest": cohort.key.key_digest.hex(),
                "releases_max": cohort.key.releases_max,
            },
        }
    )
    researcher = await cohort.stage.person(list(cohort.stage.hospitals)[-1], STAFF, "researcher")
    wanted = PermitRequest.for_study(draft)
    permit = (await apply_for_permit(alliance, researcher, wanted)).permit_id
    for hospital in cohort.voters:
        await vote_permit(hospital, permit)
    study = (await propose_study(alliance, researcher, draft, permit)).study_id
    for hospital in cohort.voters:
        await vote(hospital, study)
    voted = time.perf_counter()
    async with asyncio.timeout(STUDY_SECONDS):
        last = [step async for step in watch_study(alliance, researcher, study)][-1]
    if last.stage != "released":
        raise ColumnsFailed(f"the study is {last.stage}: {last.failure}")
    (found,) = (await fetch_result(alliance, researcher, study)).answer.results
    seconds = time.perf_counter() - voted
    assert isinstance(found, ProductSumResult)  # what was asked
    x, y = cohort.enrolled["radius"], cohort.enrolled["texture"]
    figures = [
        Figure("covariance of radius, texture", found.covariance, float(np.cov(x, y)[0, 1])),
        Figure("patients", found.patients, ENROLLED),
        Figure("mean of radius", found.mean_x, float(x.mean())),
        Figure("mean of texture", found.mean_y, float(y.mean())),
        Figure("sum of products", found.product_sum, float(x @ y)),
    ]
    return StoredLine(TITLES[0], figures, seconds, batch_bytes(profile(PROFILE), COLUMNS))


async def _scores(cohort: Cohort, kind: str, title: str) -> StoredLine:
    """Score all enrolled patients once, by a model of the two hospitals' columns."""
    fitted = _fitted(cohort.others, kind)
    holders = dict(zip(TEXT.names, cohort.holders, strict=True))
    model = Model.from_document(
        {
            "data_set": DATA_SET,
            "kind": kind,
            "intercept": f"{fitted['']:.6f}",
            "terms": [
                {"variable": name, "at": at, "weight": f"{fitted[name]:.6f}"}
                for name, at in holders.items()
            ],
        }
    )
    hospital = cohort.stage.hospitals[cohort.holders[0]]
    request = ScoreRequest(model, cohort.key.data_key, uses_max=1)
    risk_score = (await propose_score(hospital, request)).risk_score
    for voter in cohort.voters:
        await vote_score(voter, risk_score, model=model)
    began = time.perf_counter()
    use = await infer(hospital, risk_score, cohort.references)
    scored = await await_scores(hospital, use, timeout_seconds=STUDY_SECONDS)
    seconds = time.perf_counter() - began
    if scored.state != "released":
        raise ColumnsFailed(f"the use is {scored.state}: {scored.reason}")
    linear = np.full(ENROLLED, float(model.intercept))
    for term in model.terms:
        linear += float(term.weight) * cohort.enrolled[term.variable]
    figures = [
        Figure("score of the first patient", one.linear, float(expected))
        if one.probability is None
        else Figure("probability of the first patient", one.probability, logistic(float(expected)))
        for one, expected in zip(scored.scores, linear, strict=True)
    ]
    return StoredLine(title, figures, seconds, batch_bytes(profile(PROFILE), 1))


def _fitted(others: Columns, kind: str) -> Mapping[str, float]:
    """Return the coefficients of a model in the clear; the intercept has no name."""
    predictors: Floats = models.add_constant(np.column_stack([others[name] for name in TEXT.names]))
    if kind == "linear":
        found = models.OLS(others["area"], predictors).fit()
    else:
        found = models.Logit(others["malignant"], predictors).fit(disp=0)
    return dict(zip(("", *TEXT.names), map(float, found.params), strict=True))
