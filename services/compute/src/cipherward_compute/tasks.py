"""Carrying out taken orders: one after another in a study, several studies side by side.

Nothing sensitive happens while the chain is silent: an order waits until the newest proven header
is recent, which also means that a member which was away first learns how its studies have ended.
The order that ends a study cancels whatever still runs for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from cipherward_chain.orders import Order
from cipherward_compute import metrics
from cipherward_compute.arithmetic import PeerWrong
from cipherward_compute.ceremony import CeremonySteps
from cipherward_compute.contributions import ContributionSteps
from cipherward_compute.errors import StepFailed
from cipherward_compute.instructions import (
    Instruction,
    KeyCeremony,
    ReleaseCounts,
    ReleaseResult,
    RetireKey,
    StartStudy,
    instruction_of,
    stage_of,
)
from cipherward_compute.release import ReleaseSteps
from cipherward_compute.steps import Done, nothing
from cipherward_compute.store import ChainStore, WaitingOrder
from cipherward_compute.studies import News
from cipherward_kit.jobs import WorkerLost, WorkersBusy
from cipherward_member.errors import ChainStale
from cipherward_member.reports import Outcome, Report, Reports

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FRESH_LOOK_SECONDS = 0.2  # between two looks at a silent chain
WORKER_RETRY_SECONDS = 0.2  # after a lost or a busy worker
UNEXPECTED = "an internal error at this member"


@dataclass(frozen=True, slots=True)
class Steps:
    """Who takes which step."""

    ceremony: CeremonySteps
    contributions: ContributionSteps
    release: ReleaseSteps

    async def take(self, instruction: Instruction) -> Done:
        """Take the step that an order asks for."""
        match instruction:
            case KeyCeremony():
                return await self.ceremony.carry_out(instruction)
            case StartStudy():
                return await self.contributions.carry_out(instruction)
            case ReleaseCounts():
                return await self.release.open_counts(instruction)
            case ReleaseResult():
                return await self.release.switch_result(instruction)
            case RetireKey():
                return await self.release.retire(instruction)


@dataclass(frozen=True, slots=True)
class Outbound:
    """Who hears of a step: the chain by a report, readers and peers by the news."""

    reports: Reports
    news: News


class Tasks:
    """Works through the taken orders; `run` it beside the server."""

    def __init__(
        self,
        store: ChainStore,
        steps: Steps,
        outbound: Outbound,
        require_fresh: Callable[[], None],
        at_once_max: int,
    ) -> None:
        """Describe the work.

        Args:
            store: the orders.
            steps: takes them.
            outbound: tells of them.
            require_fresh: raises ChainStale while the chain is silent.
            at_once_max: studies that are worked on at once.
        """
        self._store = store
        self._steps = steps
        self._out = outbound
        self._require_fresh = require_fresh
        self._room = asyncio.Semaphore(at_once_max)
        self._changed = asyncio.Event()
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self._retiring: set[bytes] = set()

    def wake(self) -> None:
        """Say that a block may have brought orders."""
        self._changed.set()

    async def run(self) -> None:
        """Carry out orders for ever, beginning with those that an earlier run has left."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                by_study: dict[bytes, list[WaitingOrder]] = {}
                waiting = await self._store.waiting()
                for order in waiting:
                    by_study.setdefault(order.study, []).append(order)
                metrics.ORDERS_WAITING.set(len(waiting))
                for study, orders in by_study.items():
                    await self._begin(group, study, orders)
                await self._changed.wait()

    async def _begin(
        self, group: asyncio.TaskGroup, study: bytes, orders: list[WaitingOrder]
    ) -> None:
        running = self._running.get(study)
        ends = isinstance(_instruction(orders[0]), RetireKey)  # it has taken the others away
        if running is not None and not running.done():
            if not ends or study in self._retiring:
                return
            running.cancel()
            await asyncio.wait((running,))
        if ends:
            self._retiring.add(study)
        task = group.create_task(self._work(orders[0]), name="study-step")
        self._running[study] = task
        task.add_done_callback(lambda done: self._over(study, done))

    def _over(self, study: bytes, task: asyncio.Task[None]) -> None:
        if self._running.get(study) is task:
            del self._running[study]
            self._retiring.discard(study)
        self.wake()  # the study's next order, if there is one

    async def _work(self, order: WaitingOrder) -> None:
        instruction = _instruction(order)
        async with self._room:
            began = time.perf_counter()
            failed = ""
            done = Done(b"")
            try:
                done = await self._take(instruction)
            except (StepFailed, PeerWrong) as error:
                failed = str(error)
                log.warning(
                    "step_failed", height=order.key.height, index=order.key.index, why=failed
                )
            except Exception:  # this task's boundary: one study must not stop the others for ever
                failed = UNEXPECTED
                log.exception("step_crashed", height=order.key.height, index=order.key.index)
            await self._finish(order, done, failed)
            step = stage_of(instruction)
            outcome = "failed" if failed else "done"
            metrics.STEP_SECONDS.labels(step, outcome).observe(time.perf_counter() - began)

    async def _take(self, instruction: Instruction) -> Done:
        while True:
            if not isinstance(instruction, RetireKey):  # giving up a right needs no living chain
                await self._fresh()
            try:
                return await self._steps.take(instruction)
            except (WorkersBusy, WorkerLost):
                await asyncio.sleep(WORKER_RETRY_SECONDS)

    async def _finish(self, order: WaitingOrder, done: Done, failed: str) -> None:
        outcome = Outcome.FAILED if failed else Outcome.DONE
        report = None
        if failed or done.reported:
            report = Report(order.key, outcome, done.digest)
        write = nothing if failed else done.write
        await self._store.finish(order.key, write, report, failed)
        self._out.reports.wake()
        self._out.news.tell(order.study)

    async def _fresh(self) -> None:
        while True:
            try:
                self._require_fresh()
            except ChainStale:
                await asyncio.sleep(FRESH_LOOK_SECONDS)
            else:
                return


def _instruction(order: WaitingOrder) -> Instruction:
    found = instruction_of(Order.from_bytes(order.octets))
    assert found is not None  # only such are taken
    return found
