"""A study of four hospitals in a running alliance: from its start order to the researcher's result.

The real patients of the demonstration, seven variables, so a count and 35 sums (seven, and 28 of
products). The clock starts when this process has verified the proven block that orders the study's
start, after the votes and the key ceremony, and stops when the researcher has decrypted the result:
two rounds of encryption, counts first, two releases by three of four hospitals, each step an order
in a proven block and a report. Every decrypted integer is compared with the hospitals' own sums.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.results import Row, Spread, Target
from bench.stage import Stage, whole_alliance
from cipherward_chain.feed import GrpcBlockFeed
from cipherward_chain.light import LightClient
from cipherward_client.demo.oracle import compare
from cipherward_client.demo.patients import load_patients, spread
from cipherward_client.fhir import VARIABLES
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import (
    StudyRequest,
    StudyVariable,
    contribute_rows,
    fetch_result,
    propose_study,
    vote,
    watch_study,
)
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet

NAME = "study"
DATA_SET, OUTCOME = "cohort-1", "progression"
ASKED = ("age", "sex", "bmi", "bp", "s3", "s5", OUTCOME)
STATISTICS = ("count", "sum", "mean", "variance", "linear_regression")
RUNS = 5
STUDY_SECONDS = 120.0
IDLE_SECONDS = 60.0  # longer than any silence between two heartbeats
TARGET = Target(1.5, at_least=False)

Table = NDArray[np.float64]


class StudyFailed(Exception):
    """A study of the benchmark was not released, or its result is not exact."""


def measure() -> list[Row]:
    """Return the row."""
    times = asyncio.run(_measure())
    return [Row(NAME, statistics.median(times), "s", Spread.extremes(times, "studies"), TARGET)]


async def _measure() -> list[float]:
    async with whole_alliance() as stage:
        tables = await _contribute(stage)
        researcher = await stage.person(list(stage.hospitals)[-1], STAFF, "researcher")
        permit = await _permit(stage, researcher)
        await _study(stage, researcher, tables, permit)  # the first one warms up
        return [await _study(stage, researcher, tables, permit) for _ in range(RUNS)]


async def _contribute(stage: Stage) -> list[Table]:
    """Give every hospital its patients' rows; return them, [patients, ASKED] each."""
    dealt = spread(load_patients(), list(stage.hospitals))
    tables = list[Table]()
    for member, patients in dealt.items():
        rows = [[patient.values[name] for name in ASKED] for patient in patients]
        await contribute_rows(stage.hospitals[member], DATA_SET, ASKED, rows)
        tables.append(np.array(rows))
    return tables


def _request() -> StudyRequest:
    known = {variable.name: variable for variable in VARIABLES}
    return StudyRequest(
        data_set=DATA_SET,
        variables=tuple(
            StudyVariable(v.name, str(v.low), str(v.high), v.unit)
            for v in (known[name] for name in ASKED)
        ),
        statistics=STATISTICS,
        outcome=OUTCOME,
    )


async def _permit(stage: Stage, researcher: Wallet) -> bytes:
    """Return the id of a permit that is granted for all runs."""
    request = replace(PermitRequest.for_study(_request()), releases_max=2 * (RUNS + 1))
    applied = await apply_for_permit(stage.alliance, researcher, request)
    for hospital in list(stage.hospitals.values())[:3]:  # as many as must approve
        await vote_permit(hospital, applied.permit_id)
    return applied.permit_id


async def _study(stage: Stage, researcher: Wallet, tables: Sequence[Table], permit: bytes) -> float:
    """Run one study; return the seconds from its start order to its result."""
    hospitals = list(stage.hospitals.values())
    async with asyncio.timeout(STUDY_SECONDS):
        proposed = await propose_study(stage.alliance, researcher, _request(), permit)
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_started(hospitals[0], proposed.study_id))
            for hospital in hospitals[:3]:  # as many as must approve
                await vote(hospital, proposed.study_id)
            stage_seen = await _ended(stage, researcher, proposed.study_id)
            if stage_seen != "released":
                raise StudyFailed(stage_seen)
            result = await fetch_result(stage.alliance, researcher, proposed.study_id)
            ended = time.perf_counter()
    found = compare(_request().plan(), tables, result)
    if not (found.exact and found.count_equal):
        raise StudyFailed(f"{found.sums_equal} of {found.sums} sums are right")
    return ended - starting.result()


async def _ended(stage: Stage, researcher: Wallet, study_id: bytes) -> str:
    async with aclosing(watch_study(stage.alliance, researcher, study_id)) as steps:
        async for step in steps:
            if step.ended:
                return f"{step.stage} {step.failure}".strip()
    return "unknown"


async def _started(hospital: Hospital, study_id: bytes) -> float:
    """Return when the block that orders the study's start was verified here."""
    alliance = hospital.alliance
    client = LightClient(alliance.trust_root)
    channel = alliance.channel(alliance.endpoints.ledger_member, "ledger")
    async with aclosing(GrpcBlockFeed(channel, IDLE_SECONDS).blocks_from(1)) as blocks:
        async for block in blocks:
            for order in client.accept(block).orders:
                if (order.instance, order.instruction) == (study_id, "start_study"):
                    return time.perf_counter()
    raise StudyFailed("the stream of blocks ended")
