"""Studies in a benchmark's alliance: proposed, voted for by as many as decide, read to the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.stage import Stage
from cipherward_client.demo.clear_run import run_in_the_clear
from cipherward_client.demo.tables import rows_of
from cipherward_client.sdk.contributions import contribute_rows
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import propose_study, vote
from cipherward_client.sdk.study_requests import threshold_of
from cipherward_client.sdk.study_results import StudyResult, fetch_parts
from cipherward_client.sdk.study_rounds import Researching
from cipherward_client.sdk.study_watch import StudyView
from cipherward_client.wallet.scopes import STAFF
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft
from cipherward_studies.variables import CHUNK_ROWS, Columns

STUDY_SECONDS = 300.0
COUNTING = "counting"  # the first stage after the key ceremony


class StudyFailed(Exception):
    """A study's result is not what the members' integers add up to."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A study that was released and is exact.

    Attributes:
        seconds: from the last vote to the answer; `computing`: from the end of the key ceremony, as
            the researcher sees it, to the answer.
    """

    result: StudyResult
    seconds: float
    computing: float


@dataclass(frozen=True, slots=True)
class Research:
    """A researcher of the last hospital, and what the hospitals have given to their services."""

    stage: Stage
    wallet: Wallet
    tables: Mapping[str, Mapping[str, Columns]]  # by data set, then by member

    @classmethod
    async def begin(
        cls, stage: Stage, tables: Mapping[str, Mapping[str, Columns]], names: Mapping[str, str]
    ) -> Research:
        """Give every member its rows of every data set.

        Args:
            tables: by name, then by member.
            names: of the data sets, by table.
        """
        for table, parts in tables.items():
            for member, columns in parts.items():
                hospital = stage.hospitals[member]
                await contribute_rows(hospital, names[table], list(columns), rows_of(columns))
        wallet = await stage.person(list(stage.hospitals)[-1], STAFF, "researcher")
        return cls(stage, wallet, {names[table]: parts for table, parts in tables.items()})

    async def permit(self, draft: Draft, runs: int = 1) -> bytes:
        """Return the id of a granted permit for so many runs of a study."""
        once = PermitRequest.for_study(draft)
        wanted = replace(once, releases_max=runs * once.releases_max)
        applied = await apply_for_permit(self.stage.alliance, self.wallet, wanted)
        for hospital in self._voters():
            await vote_permit(hospital, applied.permit_id)
        return applied.permit_id

    async def run(self, draft: Draft, permit: bytes) -> Ran:
        """Run a study to its end.

        Raises:
            ClientError: it ended without a result.
            StudyFailed: a decrypted integer is wrong.
        """
        seen: dict[str, float] = {}

        def note(view: StudyView) -> None:
            if view.newest is not None:
                seen.setdefault(view.newest.stage, time.perf_counter())

        async with asyncio.timeout(STUDY_SECONDS):
            proposed = await propose_study(self.stage.alliance, self.wallet, draft, permit)
            for hospital in self._voters():
                await vote(hospital, proposed.study_id)
            voted = time.perf_counter()
            working = Researching(self.stage.alliance, self.wallet, _kept_in_memory, note)
            result = await working.finish(proposed.study_id)
            ended = time.perf_counter()
            parts = await fetch_parts(self.stage.alliance, self.wallet, proposed.study_id)
        mine = self.tables[draft.data_set]
        expected = await asyncio.to_thread(run_in_the_clear, draft, mine, tuple(parts.verdicts))
        largest = max(abs(a - b) for a, b in zip(result.totals, expected.totals, strict=True))
        if largest > _roundings(mine):
            raise StudyFailed(f"{draft.outputs} of {draft.data_set} are not the members' sums")
        return Ran(result, ended - voted, ended - seen.get(COUNTING, voted))

    def _voters(self) -> list[Hospital]:
        hospitals = list(self.stage.hospitals.values())
        return hospitals[: threshold_of(len(hospitals))]


def _roundings(tables: Mapping[str, Columns]) -> int:
    """Return how far sums may be apart that were cut into chunks in other places: 0 if in none.

    Each chunk's sums are rounded once, here and there.
    """
    rows = [len(next(iter(table.values()))) for table in tables.values()]
    if max(rows) < CHUNK_ROWS:
        return 0
    return sum(number // CHUNK_ROWS + 1 for number in rows)


async def _kept_in_memory() -> None:
    """Write no wallet: a benchmark that is killed begins anew."""
