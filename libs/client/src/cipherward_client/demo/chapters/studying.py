"""How a study of the story comes about: a permit, the votes, the steps, the result's parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from cipherward_client.demo.cast import Cast
from cipherward_client.demo.oracle import Exactness, exactness
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.ledger import ProvenAct
from cipherward_client.sdk.permits import PermitRequest, apply_for_permit, vote_permit
from cipherward_client.sdk.studies import propose_study, vote, watch_study
from cipherward_client.sdk.study_results import ResultParts, StudyResult, fetch_parts, open_result
from cipherward_client.wallet.wallet import Wallet
from cipherward_studies.spec import Draft
from cipherward_studies.variables import Columns

Told = Callable[[str], None]  # of each stage that begins


@dataclass(frozen=True, slots=True)
class Played:
    """A study that has been released, and what its researcher got.

    seconds: from the votes to the decrypted result.
    """

    study_id: bytes
    parts: ResultParts
    result: StudyResult
    seconds: float


async def permitted(cast: Cast, wallet: Wallet, draft: Draft) -> tuple[bytes, PermitRequest, int]:
    """Let the hospitals grant the researcher's institution a permit for one run of a study.

    Returns:
        Its id, what was applied for, and how many votes it took.
    """
    request = PermitRequest.for_study(draft)
    applied = await apply_for_permit(cast.alliance, wallet, request)
    cast.acts.append(applied.act)
    votes = await _votes(cast, partial(vote_permit, permit_id=applied.permit_id))
    return applied.permit_id, request, votes


async def play(cast: Cast, wallet: Wallet, draft: Draft, permit_id: bytes, told: Told) -> Played:
    """Propose a study, let it be voted, follow it to its end and read its result.

    A check of the report says whether all hospitals took part, and as many as needed released.
    """
    proposed = await propose_study(cast.alliance, wallet, draft, permit_id)
    cast.acts.append(proposed.act)
    votes = await _votes(cast, partial(vote, study_id=proposed.study_id))
    began = time.perf_counter()
    cast.teller.say(f"{votes} of {len(cast.hospitals)} hospitals vote yes, which is enough.")
    seen = await _watch(cast, wallet, proposed.study_id, told)
    parts = await fetch_parts(cast.alliance, wallet, proposed.study_id)
    result = await open_result(wallet, proposed.study_id, parts)
    seconds = time.perf_counter() - began
    cast.report.check(
        f"the study of {draft.data_set} is approved, computed and released",
        seen == "released"
        and len(parts.shares) == cast.threshold
        and len(parts.contributors) == len(cast.hospitals),
        f"{len(parts.contributors)} contributors, {len(parts.shares)} of {len(cast.hospitals)} "
        f"shares, {seconds:.1f} s",
    )
    return Played(proposed.study_id, parts, result, seconds)


async def exact(draft: Draft, tables: Mapping[str, Columns], played: Played) -> Exactness:
    """Compare a study's integers with what the hospitals' tables give in the clear."""
    guardians = tuple(played.parts.verdicts)
    return await asyncio.to_thread(exactness, draft, tables, guardians, played.result)


async def _votes(cast: Cast, say_yes: Callable[[Hospital], Awaitable[ProvenAct]]) -> int:
    """Let as many hospitals vote yes as decide it; return how many."""
    voters = list(cast.hospitals.values())[: cast.threshold]
    acts = [await say_yes(hospital) for hospital in voters]
    cast.acts.extend(acts)
    return len(acts)


async def _watch(cast: Cast, wallet: Wallet, study_id: bytes, told: Told) -> str:
    stage = ""
    async with aclosing(watch_study(cast.alliance, wallet, study_id)) as steps:
        async for step in steps:
            if step.stage != stage:
                told(step.stage)
            stage = step.stage
            if step.failure:
                cast.teller.say(f"  the study failed: {step.failure}")
    return stage
