"""A member's compute service is killed at every step of studies: each ends, and no share twice.

The studies take several rounds. Every share that a member gives to another is written down by who
gets it, and every part of a result by the researcher: of one c1 no machine ever gives two.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from cipherward_client.alliance.running import RunningAlliance, running_alliance
from cipherward_client.sdk.connection import Alliance
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.credentials import admit_holder, obtain_credential
from cipherward_client.sdk.hospital import Hospital, open_hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import propose_study, vote
from cipherward_client.sdk.study_results import ResultParts, fetch_parts
from cipherward_client.sdk.study_rounds import Researching
from cipherward_client.sdk.study_watch import StudyView
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.analyses.logistic_result import LogisticResult
from cipherward_studies.spec import Draft
from cipherward_threshold.messages import SwitchShare
from cipherward_threshold.parameters import profile
from tests.soak.recording_compute import RECORD_FILE

pytestmark = [pytest.mark.soak, pytest.mark.asyncio(loop_scope="module")]

MEMBERS = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = "tests.soak.recording_compute"
STUDY_SECONDS = 300.0  # a killed process is back within tens of seconds on a busy machine
DRAFT = Draft.from_document(
    {
        "data_set": "cohort-1",
        "variables": [
            {"name": "age", "low": 0, "high": 100},
            {"name": "ill", "kind": "flag"},
        ],
        "analyses": [{"kind": "logistic_regression", "outcome": "ill", "predictors": ["age"]}],
    }
)
# Each stage, with the round that it is first seen in, and who is killed then: the first is in most
# sets that decrypt, the last seldom in one.
STEPS = (
    ("keying_commit", 0, MEMBERS[0]),
    ("keying_reveal", 0, MEMBERS[3]),
    ("keying_confirm", 0, MEMBERS[0]),
    ("counting", 0, MEMBERS[3]),
    ("counts_ready", 0, MEMBERS[0]),
    ("checking", 0, MEMBERS[0]),
    ("checking", 0, MEMBERS[3]),
    ("valuing", 1, MEMBERS[3]),
    ("values_ready", 1, MEMBERS[0]),
    ("releasing", 1, MEMBERS[0]),
    ("releasing", 1, MEMBERS[3]),
    ("valuing", 2, MEMBERS[0]),
    ("values_ready", 2, MEMBERS[3]),
    ("releasing", 2, MEMBERS[0]),
)
Given = dict[tuple[str, str, str], set[str]]  # member, key, c1: digests of shares


@dataclass
class Scene:
    """The running alliance, its researcher, and what the researcher was given."""

    running: RunningAlliance
    alliance: Alliance
    hospitals: dict[str, Hospital]
    researcher: Wallet
    permit: bytes
    estimates: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])
    parts: list[ResultParts] = field(default_factory=list[ResultParts])

    def kill(self, member: str) -> None:
        """Kill a member's compute service; its supervisor starts it again."""
        os.kill(self.running.supervisor.pids[f"{member}/compute"], signal.SIGKILL)

    def record(self, member: str) -> Path:
        """Return where a member writes down what it is given."""
        return self.running.folder.root / f"{member}.shares"

    def given(self) -> Given:
        """Return the shares that ever left each machine, as their receivers have them."""
        found: Given = defaultdict(set)
        for receiver in MEMBERS:
            file = self.record(receiver)
            for line in file.read_text().splitlines() if file.exists() else ():
                giver, key, c1, digest = line.split()
                found[giver, key, c1].add(digest)
        for parts in self.parts:
            for giver, shares in parts.shares.items():
                for share in shares:
                    header = SwitchShare.parse(profile("additive-1"), share)
                    name = giver, header.key_id.hex(), header.c1_digest.hex()
                    found[name].add(hashlib.sha256(share).hexdigest())
        return found


async def recording(running: RunningAlliance) -> None:
    """Put the recording services in the place of all compute services."""
    plans = [
        running.deployment.process_plan(
            (member, "compute"), running.endpoints.of(member, "compute")
        )
        for member in MEMBERS
    ]
    await running.supervisor.end([plan.name for plan in plans])
    started: list[Any] = []
    for member, plan in zip(MEMBERS, plans, strict=True):
        environment = {
            **plan.environment,
            RECORD_FILE: str(running.folder.root / f"{member}.shares"),
            "PYTHONPATH": str(REPOSITORY),
        }
        started.append(replace(plan, module=MODULE, environment=environment))
    await running.supervisor.start(started)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Scene]:
    """Four hospitals with sixty patients each, and a researcher of the second."""
    async with AsyncExitStack() as stack:
        root = tmp_path_factory.mktemp("killed-studies") / "alliance"
        running = await stack.enter_async_context(running_alliance(root))
        await recording(running)
        opened = Alliance.open(running.folder.endpoints_file, running.folder.genesis_file)
        alliance = await stack.enter_async_context(opened)
        hospitals: dict[str, Hospital] = {}
        for seed, member in enumerate(MEMBERS):
            entered = await stack.enter_async_context(open_hospital(running.folder, member))
            numbers = np.random.default_rng(seed)
            age = numbers.integers(20, 90, 60).astype(np.float64)
            ill = numbers.uniform(size=60) < 1 / (1 + np.exp(-(age - 55) / 15))
            rows = np.column_stack([age, ill.astype(np.float64)])
            await contribute_rows(entered, DRAFT.data_set, ("age", "ill"), rows)
            hospitals[member] = entered
        wallet = Wallet.create(alliance.chain_id)
        code = await admit_holder(hospitals["hospital-b"], "staff", role="researcher")
        await obtain_credential(alliance, wallet, "hospital-b", code)
        wanted = replace(PermitRequest.for_study(DRAFT), releases_max=10_000)
        permit = (await apply_for_permit(alliance, wallet, wanted)).permit_id
        for member in MEMBERS[:3]:
            await vote_permit(hospitals[member], permit)
        yield Scene(running, alliance, hospitals, wallet, permit)


@dataclass
class Killing:
    """Kills a member once when a study is first seen in a step, and keeps what is released."""

    scene: Scene
    study: bytes
    member: str
    step: tuple[str, int]
    done: bool = False

    def tell(self, view: StudyView) -> None:
        """See how the study stands at its members."""
        for one in view.by_member.values():
            if one is not None and (one.stage, one.round) == self.step and not self.done:
                self.done = True
                self.scene.kill(self.member)

    async def keep(self) -> None:
        """The researcher has read a round, or asks for the next: collect its parts again."""
        wallet = self.scene.researcher
        if wallet.study(self.study).rounds:
            parts = await fetch_parts(self.scene.alliance, wallet, self.study)
            self.scene.parts.append(parts)


@pytest.mark.parametrize(("stage", "number", "victim"), STEPS)
async def test_a_member_killed_at_a_step_resumes_and_the_answer_is_the_same(
    scene: Scene, stage: str, number: int, victim: str
) -> None:
    study = (await propose_study(scene.alliance, scene.researcher, DRAFT, scene.permit)).study_id
    killing = Killing(scene, study, victim, (stage, number))
    for member in MEMBERS[:3]:
        await vote(scene.hospitals[member], study)
    researching = Researching(scene.alliance, scene.researcher, killing.keep, killing.tell)
    async with asyncio.timeout(STUDY_SECONDS):
        result = await researching.finish(study)
    assert killing.done
    (regression,) = result.answer.results
    assert isinstance(regression, LogisticResult)
    scene.estimates.append(tuple(one.estimate for one in regression.coefficients))
    assert len(set(scene.estimates)) == 1
    assert result.answer.rounds >= 2
    once(scene.given())


def once(given: Mapping[tuple[str, str, str], set[str]]) -> None:
    """Of one key and c1 every machine has given one share, whoever asked and however often."""
    assert given
    twice = {name: shares for name, shares in given.items() if len(shares) > 1}
    assert not twice


async def test_no_machine_has_given_two_shares_of_anything(scene: Scene) -> None:
    """Over all studies above, as those have them who were given them."""
    given = scene.given()
    once(given)
    assert {member for member, _, _ in given} >= {MEMBERS[0], MEMBERS[3]}
