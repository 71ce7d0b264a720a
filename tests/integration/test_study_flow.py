"""A study over real processes: real ledger, real contract, four compute services.

What a researcher sees through the SDK is held in tests/integration/sdk; here compute services are
killed in the middle of a study, and studies end before their time.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import (
    StudyProgress,
    contribute_rows,
    fetch_result,
    propose_study,
    vote,
    watch_study,
    withdraw_study,
)
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.plan import Plan
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
NAMES = ("a", "b", "c", "d", "e", "f", "outcome")
DRAFT = Draft.from_document(
    {
        "data_set": "cohort-1",
        "variables": [{"name": name, "low": -1000, "high": 2000} for name in NAMES],
        "analyses": [
            {"kind": "moments", "variables": list(NAMES), "statistics": ["sum", "covariance"]},
            {
                "kind": "linear_regression",
                "outcome": "outcome",
                "predictors": list(NAMES[:-1]),
            },
        ],
    }
)
Rows = NDArray[np.float64]
LEFT_OUT = (0,)  # no row is incomplete, and how few is not told
STUDY_SECONDS = 90.0  # a killed process is back within seconds, on a busy machine within tens


@dataclass
class Town:
    """A running alliance with patients and a researcher."""

    running: RunningAlliance
    alliance: Alliance
    hospitals: dict[str, Hospital]
    rows: dict[str, Rows]
    researcher: Wallet
    permit: bytes

    async def approved(self) -> bytes:
        """Propose a study and have it approved; return its id."""
        study = await propose_study(self.alliance, self.researcher, DRAFT, self.permit)
        for member in MEMBERS[:3]:
            await vote(self.hospitals[member], study.study_id)
        return study.study_id

    def watch(self, study: bytes) -> AsyncGenerator[StudyProgress]:
        return watch_study(self.alliance, self.researcher, study)

    def kill(self, member: str) -> None:
        os.kill(self.running.supervisor.pids[f"{member}/compute"], signal.SIGKILL)

    def totals(self) -> tuple[int, ...]:
        """Return the sum of what every hospital computes in the clear, in fixed point."""
        plan = Plan.of(DRAFT.spec(b"any key"))
        tables: list[Columns] = [
            dict(zip(NAMES, rows.T, strict=True)) for rows in self.rows.values()
        ]
        parts = [plan.local([table], LEFT_OUT, b"") for table in tables]
        return tuple(sum(column) for column in zip(*parts, strict=True))


def patients(seed: int) -> Rows:
    numbers = np.random.default_rng(seed)
    x = numbers.normal(50, 20, (60, 6)).round(2)
    return np.column_stack([x, (x @ np.arange(6) + numbers.normal(0, 9, 60)).round(1)])


async def hospitals_of(
    running: RunningAlliance, stack: AsyncExitStack, members: Sequence[str]
) -> dict[str, Hospital]:
    return {
        member: await stack.enter_async_context(open_hospital(running.folder, member))
        for member in members
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Town]:
    """Four hospitals with sixty patients each, and a researcher of the second."""
    root: Path = tmp_path_factory.mktemp("study-flow")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(running_alliance(root))
        opened = Alliance.open(running.folder.endpoints_file, running.folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals = await hospitals_of(running, stack, MEMBERS)
        rows = {member: patients(seed) for seed, member in enumerate(MEMBERS)}
        for member, hospital in hospitals.items():
            await contribute_rows(hospital, "cohort-1", NAMES, rows[member].tolist())
        wallet = Wallet.create(alliance.chain_id)
        code = await admit_holder(hospitals["hospital-b"], "staff", role="researcher")
        await obtain_credential(alliance, wallet, "hospital-b", code)
        wanted = replace(PermitRequest.for_study(DRAFT), releases_max=100)  # for every test
        permit = (await apply_for_permit(alliance, wallet, wanted)).permit_id
        for member in MEMBERS[:3]:
            await vote_permit(hospitals[member], permit)
        yield Town(running, alliance, hospitals, rows, wallet, permit)


async def test_the_sums_of_four_hospitals_are_exact(town: Town) -> None:
    study = await town.approved()
    async with asyncio.timeout(STUDY_SECONDS):
        last = [progress async for progress in town.watch(study)][-1]
    assert (last.stage, last.failure) == ("released", "")
    result = await fetch_result(town.alliance, town.researcher, study)
    assert result.totals == town.totals()
    assert result.answer.patients == 240


async def test_a_member_withdraws_and_every_member_ends(town: Town) -> None:
    study = await propose_study(town.alliance, town.researcher, DRAFT, town.permit)
    for member in MEMBERS[:3]:
        await vote(town.hospitals[member], study.study_id)
    await withdraw_study(town.alliance, town.hospitals["hospital-d"], study.study_id)
    for member in MEMBERS:
        seen = watch_study(town.alliance, town.researcher, study.study_id, member=member)
        async with asyncio.timeout(STUDY_SECONDS):
            last = [progress async for progress in seen][-1]
        assert (last.stage, last.ended) == ("withdrawn", True)


@pytest.mark.soak
@pytest.mark.parametrize(
    "stage",
    [
        "keying_commit",
        "keying_reveal",
        "keying_confirm",
        "counting",
        "counts_ready",
        "checking",
        "valuing",
        "values_ready",
        "releasing",
    ],
)
async def test_every_compute_service_killed_in_the_middle_changes_nothing(
    town: Town, stage: str
) -> None:
    study = await town.approved()
    killed = False
    last: StudyProgress | None = None
    async with asyncio.timeout(STUDY_SECONDS):
        async for last in town.watch(study):
            if last.stage == stage and not killed:
                killed = True
                for member in MEMBERS:
                    town.kill(member)
    assert last is not None
    assert killed
    assert (last.stage, last.failure) == ("released", "")
    result = await fetch_result(town.alliance, town.researcher, study)
    assert result.totals == town.totals()
