"""An alliance whose last hospital's compute service may lie, and studies that are asked of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cipherward_chain.genesis import Parameters
from cipherward_client.alliance.create import create_alliance
from cipherward_client.alliance.layout import AllianceFolder
from cipherward_client.alliance.running import new_plan, running_alliance
from cipherward_client.cli.commands import run
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import StudyProgress, propose_study, vote, watch_study
from cipherward_client.wallet.file import save_wallet
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft
from tests.integration.enforcement.town import MEMBERS, RunningTown, Town, connected

LIAR = MEMBERS[-1]
HONEST = MEMBERS[:-1]
REPOSITORY = Path(__file__).resolve().parents[3]
HOSTILE_MODULE = "tests.integration.studies.hostile_compute"
LIE_FILE = "STUDY_LIE"
# A data set gives two studies of one round: each takes a release of counts and one of values.
PARAMETERS = Parameters(template_delay_seconds=0, data_set_releases_max=4)
STUDY_SECONDS = 120.0  # it takes some seconds on a machine that is free
PATIENTS = 30
PASSPHRASE = "a passphrase"
NAMES = ("age", "bmi")
VARIABLES: tuple[Mapping[str, Any], ...] = (
    {"name": "age", "low": 0, "high": 120, "unit": "a"},
    {"name": "bmi", "low": 5, "high": 100, "unit": "kg/m2"},
)
Rows = NDArray[np.float64]


def found_alliance(root: Path) -> AllianceFolder:
    """Make an alliance of four hospitals whose data sets are soon spent."""
    folder = AllianceFolder(root)
    root.mkdir(mode=0o700)
    create_alliance(folder, replace(new_plan(), parameters=PARAMETERS))
    return folder


class StudyHome(RunningTown):
    """The alliance's processes, with the liar's compute service in the place of its own."""

    async def _run(self) -> None:
        try:
            folder = await asyncio.to_thread(found_alliance, self._root)
            async with running_alliance(folder.root) as running:
                endpoint = running.endpoints.of(LIAR, "compute")
                plan = running.deployment.process_plan((LIAR, "compute"), endpoint)
                environment = {
                    **plan.environment,
                    LIE_FILE: str(folder.root / LIE_FILE),
                    "PYTHONPATH": str(REPOSITORY),
                }
                await running.supervisor.end([plan.name])
                await running.supervisor.start(
                    [replace(plan, module=HOSTILE_MODULE, environment=environment)]
                )
                self._ready.set_result((running, asyncio.get_running_loop()))
                await asyncio.to_thread(self._stop.wait)
        except Exception as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)


@dataclass
class StudyTown:
    """The running alliance, and what its researchers ask."""

    town: Town
    _permits: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])

    @contextmanager
    def lying(self, lie: str) -> Generator[None]:
        """Let the liar tell a lie while the context is open."""
        file = self.town.folder.root / LIE_FILE
        file.write_text(lie)
        try:
            yield
        finally:
            file.unlink()

    async def researcher(self, member: str = MEMBERS[1]) -> Wallet:
        """Return the wallet of a member's researcher."""
        return await self.town.person(f"researcher of {member}", member, "staff", "researcher")

    async def give(
        self,
        data_set: str,
        tables: Mapping[str, Rows],
        names: Sequence[str] = ("age [a]", "bmi [kg/m2]"),
    ) -> None:
        """Let hospitals give rows of a data set."""
        for member, rows in tables.items():
            await contribute_rows(self.town.hospitals[member], data_set, names, rows)

    async def permitted(self, draft: Draft, member: str = MEMBERS[1]) -> bytes:
        """Return a permit for a data set that a researcher's institution has, granted once."""
        known = member, draft.data_set
        if known not in self._permits:
            wanted = replace(PermitRequest.for_study(draft), releases_max=100)
            applied = await apply_for_permit(
                self.town.alliance, await self.researcher(member), wanted
            )
            for holder in draft.members or MEMBERS[:3]:
                await vote_permit(self.town.hospitals[holder], applied.permit_id)
            self._permits[known] = applied.permit_id
        return self._permits[known]

    async def ask(self, draft: Draft, member: str = MEMBERS[1]) -> bytes:
        """Propose a study and let three hospitals approve it; return its id."""
        study = await self.proposed(draft, member)
        await self.approve(study, draft.members or MEMBERS[:3])
        return study

    async def approve(self, study: bytes, voters: Sequence[str] = MEMBERS[:3]) -> None:
        """Let hospitals approve a study."""
        for voter in voters:
            await vote(self.town.hospitals[voter], study)

    async def proposed(self, draft: Draft, member: str = MEMBERS[1]) -> bytes:
        """Propose a study that nobody has voted on; return its id."""
        permit, researcher = await self.permitted(draft, member), await self.researcher(member)
        return (await propose_study(self.town.alliance, researcher, draft, permit)).study_id

    async def until(self, study: bytes, stage: str, member: str = MEMBERS[0]) -> StudyProgress:
        """Return the study as a member sees it once it is in a stage, or has ended."""
        seen = watch_study(self.town.alliance, self.town.hospitals[member], study)
        async with asyncio.timeout(STUDY_SECONDS):
            async for progress in seen:
                if stage == progress.stage or progress.ended:
                    return progress
        raise AssertionError("a watch ends with the study")

    async def refused(
        self, study: bytes, members: Sequence[str] = MEMBERS
    ) -> dict[str, StudyProgress]:
        """Return how a study failed at the hospitals that refused a step of it, by their own words.

        The first refusal ends the study for all: the others are told who refused, and not why.
        """
        ends = {member: await self.until(study, "", member) for member in members}
        assert {end.stage for end in ends.values()} == {"failed"}, ends
        own = {name: end for name, end in ends.items() if not end.failure.startswith("while ")}
        for end in ends.values():
            assert set(end.failed) & set(own), ends
        return own


def patients(seed: int, number: int = PATIENTS) -> Rows:
    """Return ages and body masses of made-up patients."""
    numbers = np.random.default_rng(seed)
    columns = [numbers.integers(20, 90, number), numbers.integers(18, 45, number)]
    return np.column_stack(columns).astype(np.float64)


def everywhere(seed: int) -> dict[str, Rows]:
    """Return rows for every hospital."""
    return {member: patients(100 * seed + place) for place, member in enumerate(MEMBERS)}


def asked(data_set: str, **changed: Any) -> Draft:
    """Return a study of two means; `changed` are entries of its document."""
    document: dict[str, Any] = {
        "data_set": data_set,
        "variables": list(VARIABLES),
        "analyses": [{"kind": "moments", "variables": list(NAMES), "statistics": ["mean"]}],
    }
    return Draft.from_document(document | changed)


@asynccontextmanager
async def in_town(home: StudyHome) -> AsyncGenerator[StudyTown]:
    """Connect to the alliance as everybody in it."""
    async with connected(home) as town:
        yield StudyTown(town)


# No two tests use one data set: what one gives and releases is no other's.
_numbers = count(1)


def new_data_set() -> str:
    """Return the name of a data set that nobody has used."""
    return f"cohort-{next(_numbers)}"


async def shown(
    town: StudyTown, study: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> dict[str, Any]:
    """Return what `cipherward study show` tells the researcher."""
    wallet, passphrase = folder / "researcher.wallet", folder / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    await asyncio.to_thread(save_wallet, wallet, await town.researcher(), PASSPHRASE)
    options = ["--wallet", str(wallet), "--passphrase-file", str(passphrase), "--json"]
    place = ["--alliance", str(town.town.folder.root)]
    capsys.readouterr()
    status = await asyncio.to_thread(run, ["study", "show", study.hex(), *options, *place])
    told = capsys.readouterr()
    assert status == 0, told.out + told.err
    return json.loads(told.out)


def explained(document: Mapping[str, Any], reason: str, words: str = "") -> None:
    """The end has a word, a sentence of its own, and what it means and what may be done."""
    text = json.dumps(document)
    assert document["stage"] == "failed", text
    assert reason in text
    assert words in text
    assert len(document["meaning"]) == 3, text  # of the state, the cause, the remedy
    assert document["answer"] is None
