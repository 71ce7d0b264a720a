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
from cipherward_compute.additions import AdditionSteps
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.ceremony.resharing import ResharingSteps
from cipherward_compute.ceremony.steps import CeremonySteps
from cipherward_compute.column_keys import DATA_KEY
from cipherward_compute.columns_steps import ColumnSteps, retire_data_key
from cipherward_compute.contributions import ContributionSteps
from cipherward_compute.errors import StepFailed
from cipherward_compute.evaluation import COLUMN_STUDY, EvaluationSteps
from cipherward_compute.failures import INTERNAL, OrderBeforeRestore
from cipherward_compute.figures import StepFigures
from cipherward_compute.inference.steps import InferenceSteps, retire_scores
from cipherward_compute.instructions import (
    KEY_RESHARING,
    RISK_SCORE,
    FixColumns,
    HandOverKey,
    Instruction,
    KeyCeremony,
    ReleaseCounts,
    ReleaseResult,
    ReshareKey,
    RetireKey,
    StartStudy,
)
from cipherward_compute.order_meaning import stage_of
from cipherward_compute.order_reading import instruction_of
from cipherward_compute.release import ReleaseSteps
from cipherward_compute.steps import Done, nothing
from cipherward_compute.store import ChainStore, Failure, WaitingOrder
from cipherward_compute.studies import News
from cipherward_kit.jobs import WorkerLost, WorkersBusy
from cipherward_member.errors import ChainStale
from cipherward_member.reports import OrderKey, Outcome, Report, Reports
from cipherward_member.traced_orders import carrying_out

log: structlog.stdlib.BoundLogger = structlog.get_logger()

FRESH_LOOK_SECONDS = 0.2  # between two looks at a silent chain
WORKER_RETRY_SECONDS = 0.2  # after a lost or a busy worker
UNEXPECTED = "an internal error at this member"


@dataclass(frozen=True, slots=True)
class Running:
    """The order of a study that is being carried out."""

    order: OrderKey
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class Steps:
    """Who takes which step."""

    ceremony: CeremonySteps
    contributions: ContributionSteps
    additions: AdditionSteps
    release: ReleaseSteps
    columns: ColumnSteps
    evaluation: EvaluationSteps
    inference: InferenceSteps
    resharing: ResharingSteps

    async def take(self, instruction: Instruction) -> Done:
        """Take the step that an order asks for."""
        if instruction.shared.template == RISK_SCORE:
            return await self._use(instruction)
        match instruction:
            case KeyCeremony():
                return await self.ceremony.carry_out(instruction)
            case StartStudy(step="commit"):
                return await self.contributions.commit(instruction)
            case StartStudy(step="verify") if instruction.shared.template == COLUMN_STUDY:
                return await self.evaluation.evaluate(instruction)
            case StartStudy(step="verify"):
                return await self.additions.verify(instruction)
            case StartStudy(step="refresh"):
                return await self.additions.refresh(instruction)
            case StartStudy():
                return await self.additions.add(instruction)
            case FixColumns(step="commit"):
                return await self.columns.commit(instruction)
            case FixColumns():
                return await self.columns.verify(instruction)
            case ReleaseCounts() if instruction.shared.template == DATA_KEY:
                return await self.columns.open_flags(instruction)
            case ReleaseCounts() if instruction.shared.template == COLUMN_STUDY:
                return await self.evaluation.open_counts(instruction)
            case ReleaseCounts():
                return await self.release.open_counts(instruction)
            case ReleaseResult() if instruction.shared.template == COLUMN_STUDY:
                return await self.evaluation.switch_result(instruction)
            case ReleaseResult():
                return await self.release.switch_result(instruction)
            case ReshareKey():
                return await self.resharing.carry_out(instruction)
            case HandOverKey():
                return await self.resharing.handed_over(instruction)
            case RetireKey() if instruction.shared.template == KEY_RESHARING:
                return await self.resharing.retire(instruction)
            case RetireKey() if instruction.shared.template == DATA_KEY:
                return await retire_data_key(self.release, instruction)
            case RetireKey():
                return await self.release.retire(instruction)

    async def _use(self, instruction: Instruction) -> Done:
        """Take a step of a risk score."""
        match instruction:
            case StartStudy(step="commit"):
                return await self.inference.mask(instruction)
            case StartStudy(stage="counts"):
                return await self.inference.check(instruction)
            case StartStudy():
                return await self.inference.score(instruction)
            case ReleaseCounts():
                return await self.inference.open_mask(instruction)
            case ReleaseResult():
                return await self.inference.switch(instruction)
            case RetireKey():
                return await retire_scores(self.release, instruction)
            case KeyCeremony() | FixColumns() | ReshareKey() | HandOverKey():
                raise StepFailed("a risk score makes no key and fixes no columns")


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
        restored: int = 0,
    ) -> None:
        """Describe the work.

        Args:
            store: the orders.
            steps: takes them.
            outbound: tells of them.
            require_fresh: raises ChainStale while the chain is silent.
            at_once_max: studies that are worked on at once.
            restored: the chain's height when the store was put back from a backup; 0: never.
        """
        self._store = store
        self._steps = steps
        self._out = outbound
        self._require_fresh = require_fresh
        self._room = asyncio.Semaphore(at_once_max)
        self._restored = restored
        self._changed = asyncio.Event()
        self._running: dict[bytes, Running] = {}
        self._figures = StepFigures()

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
        """Begin the oldest order of a study, unless it is being carried out.

        What runs although it waits no more was superseded by a later order: it is cancelled.
        """
        running = self._running.get(study)
        if running is not None and not running.task.done():
            if any(order.key == running.order for order in orders):
                return
            running.task.cancel()
            await asyncio.wait((running.task,))
        task = group.create_task(self._work(orders[0]), name="study-step")
        self._running[study] = Running(orders[0].key, task)
        task.add_done_callback(lambda done: self._over(study, done))

    def _over(self, study: bytes, task: asyncio.Task[None]) -> None:
        running = self._running.get(study)
        if running is not None and running.task is task:
            del self._running[study]
        self.wake()  # the study's next order, if there is one

    async def _work(self, order: WaitingOrder) -> None:
        instruction = _instruction(order)
        async with self._room:
            began = time.perf_counter()
            failed: Failure | None = None
            done = Done(b"")
            try:
                with carrying_out(order.key):
                    done = await self._take(instruction)
            except (StepFailed, PeerWrong) as error:
                failed = Failure(error.reason, str(error))
                log.warning(
                    "step_failed",
                    height=order.key.height,
                    index=order.key.index,
                    reason=failed.reason,
                    why=failed.text,
                )
            except Exception:  # this task's boundary: one study must not stop the others for ever
                failed = Failure(INTERNAL, UNEXPECTED)
                log.exception("step_crashed", height=order.key.height, index=order.key.index)
            await self._finish(order, done, failed)
            step = stage_of(instruction)
            outcome = "failed" if failed else "done"
            metrics.STEP_SECONDS.labels(step, outcome).observe(time.perf_counter() - began)

    async def _take(self, instruction: Instruction) -> Done:
        self._require_unanswered(instruction)
        with self._figures.running(stage_of(instruction)):
            while True:
                # Giving up a right needs no living chain.
                if not isinstance(instruction, RetireKey):
                    await self._fresh()
                try:
                    return await self._steps.take(instruction)
                except (WorkersBusy, WorkerLost):
                    await asyncio.sleep(WORKER_RETRY_SECONDS)

    def _require_unanswered(self, instruction: Instruction) -> None:
        """Refuse what may have been answered before the store was restored.

        The log of shares decides about releases itself; what gives up a right is always done.
        """
        key = instruction.shared.key
        decided = isinstance(instruction, ReleaseCounts | ReleaseResult | HandOverKey | RetireKey)
        if key.height <= self._restored and not decided:
            raise OrderBeforeRestore("the order is older than the restored store")

    async def _finish(self, order: WaitingOrder, done: Done, failed: Failure | None) -> None:
        outcome = Outcome.FAILED if failed else Outcome.DONE
        report = None
        if failed or done.reported:
            report = Report(order.key, outcome, done.digest)
        try:
            write = nothing if failed else done.write
            await self._store.finish(order.key, write, report, failed)
        finally:  # also when a later order has cancelled this one in the middle of it
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
