"""The canaries at work: they keep asking for what must be refused, and say when it is not."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from cipherward_chain.group_keys import RECORD
from cipherward_client.canaries import metrics
from cipherward_client.canaries.asking import Question
from cipherward_client.canaries.building import build_scenes, erase_left_over, over
from cipherward_client.canaries.compute_questions import compute_questions
from cipherward_client.canaries.contract_questions import acts, contract_questions
from cipherward_client.canaries.memory import Memory
from cipherward_client.canaries.scenes import Scenes
from cipherward_client.canaries.schedule import Kind, Schedule
from cipherward_client.canaries.spots import Case, Outcome, Spot
from cipherward_client.canaries.stage import Stage
from cipherward_client.canaries.storage_questions import storage_questions
from cipherward_client.canaries.telling import tell
from cipherward_client.canaries.verdicts import Results, Verdicts
from cipherward_client.sdk.errors import ClientError, explaining
from cipherward_client.sdk.group_keys import group_key
from cipherward_kit.readiness import Readiness

# After scenes could not be made; doubled up to the maximum. Each try may put records on the chain,
# which are erased again.
RETRY_SECONDS, RETRY_SECONDS_MAX = 30.0, 3_600.0
# After a round without scenes. While the members have no record key, a look is one read, and they
# are asked about within a minute of the key, however long that took.
LOOK_SECONDS = 30.0

# Conditions of readiness: there is something to ask about; all of it was refused.
SCENES, CANARIES = "scenes", "canaries"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Waits:
    """settle_seconds: from the end of a right to the first question about it. expiry_seconds: how
    long the consent lasts whose end is asked about.
    """

    settle_seconds: int
    expiry_seconds: int


class Watch:
    """Asks in rounds; one at a time."""

    def __init__(
        self,
        memory: Memory,
        open_stage: Callable[[], AbstractAsyncContextManager[Stage]],
        readiness: Readiness,
        waits: Waits,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Describe the work.

        Args:
            memory: goes on from what it holds.
            open_stage: opens the connections of one round.
            readiness: made with the conditions `SCENES` and `CANARIES`.
            pause: waits so many seconds.
        """
        self._memory = memory
        self._open_stage = open_stage
        self._readiness = readiness
        self._waits = waits
        self._pause = pause
        self._build_from, self._rest = 0.0, RETRY_SECONDS  # Unix seconds; seconds
        self.verdicts = Verdicts(memory.leaking)
        self._show()  # what an earlier run found; what is not asked yet shows in SCENES
        self._readiness.set(SCENES, memory.scenes is not None)

    async def run(self, schedule: Schedule) -> None:
        """Hold the rounds that are due, for ever."""
        while True:
            kind = schedule.take()
            if kind is None:
                await self._pause(schedule.wait_seconds())
            elif not await self.round(kind, schedule.pauses):
                schedule.again(kind, LOOK_SECONDS)

    async def round(
        self, kind: Kind, pauses: Callable[[int], Sequence[float]] = lambda _: ()
    ) -> Results:
        """Hold one round and tell its outcome; return it. A round without scenes is empty.

        Args:
            pauses: answers the seconds before each of so many questions; all at once by default.
        """
        try:
            async with self._open_stage() as stage:
                scenes = await self._scenes(stage)
                if scenes is None:
                    return {}
                results = await self.ask(self._questions(stage, scenes, kind), pauses)
                await self._conclude(stage, kind, results)
                return results
        except ClientError as error:  # the alliance's files are gone or damaged
            log.warning("canary_round_failed", kind=str(kind), reason=error.reason)
            return {}

    async def _scenes(self, stage: Stage) -> Scenes | None:
        memory, now = self._memory, stage.holder.now()
        if over(memory.scenes, stage) and await self._keyed(stage) and now >= self._build_from:
            try:
                await build_scenes(stage, self._waits.expiry_seconds)
            except ClientError as error:
                log.warning("canary_scenes_failed", reason=error.reason)
                self._build_from = now + self._rest
                self._rest = min(2 * self._rest, RETRY_SECONDS_MAX)
            else:
                log.info("canary_scenes_made")
                self._rest = RETRY_SECONDS
                self._readiness.set(SCENES, True)
        await erase_left_over(stage)
        return memory.scenes

    async def _keyed(self, stage: Stage) -> bool:
        """Say whether the members have a record key; until then nothing was tried in vain."""
        try:
            with explaining():
                await group_key(stage.holder, RECORD)
        except ClientError as error:
            log.info("canary_waits_for_record_key", reason=error.reason)
            self._build_from, self._rest = 0.0, RETRY_SECONDS
            return False
        return True

    def _questions(self, stage: Stage, scenes: Scenes, kind: Kind) -> list[Question]:
        cases = self.over_now(scenes, stage.holder.now())
        if kind is Kind.ACTS:
            found = list(acts(stage, scenes, cases))
        else:
            found = [
                *storage_questions(stage, scenes, cases),
                *contract_questions(stage, scenes, cases),
                *compute_questions(stage),
            ]
        secrets.SystemRandom().shuffle(found)
        return found

    def over_now(self, scenes: Scenes, now: float) -> frozenset[Case]:
        """Return the cases whose right has been over for so long that every member knows it.

        A storage that is cut off from the chain ends a right by its own clock, or three heartbeats
        after the last block that it saw: until then its answer is no breach.
        """
        found: set[Case] = set()
        if now >= scenes.made + self._waits.settle_seconds:
            found |= {Case.REVOKED, Case.ERASED}
        if now >= scenes.expires + self._waits.settle_seconds:
            found.add(Case.EXPIRED)
        return frozenset(found)

    async def ask(
        self, questions: Sequence[Question], pauses: Callable[[int], Sequence[float]]
    ) -> Results:
        """Ask one after the other, each after its pause; count and return what comes of them."""
        results: defaultdict[Spot, list[Outcome]] = defaultdict(list)
        waits = list(pauses(len(questions)))
        for question in questions:
            if waits:
                await self._pause(waits.pop())
            outcome = await question.ask()
            self.verdicts.count(question.spot, outcome)
            results[question.spot].append(outcome)
        return results

    async def _conclude(self, stage: Stage, kind: Kind, results: Results) -> None:
        for spot in self.verdicts.take(results):
            log.error("canary_breach", path=str(spot.path), case=str(spot.case))
        for spot, outcomes in sorted(results.items()):
            if Outcome.OTHERWISE in outcomes:
                log.warning("canary_refused_otherwise", path=str(spot.path), case=str(spot.case))
        if tuple(self.verdicts.leaking) != self._memory.leaking:
            self._memory.leaking = tuple(self.verdicts.leaking)
            await self._memory.save()
        self._show()
        metrics.LAST_ROUND.labels(kind).set(time.time())
        await tell(stage.hospital, self.verdicts.leaking_paths)

    def _show(self) -> None:
        paths = ", ".join(self.verdicts.leaking_paths)
        self._readiness.set(CANARIES, not paths, f"not refused on: {paths}" if paths else "")
