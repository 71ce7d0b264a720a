"""What goes on beside the orders of risk scores: asking the chain, and reading released scores.

Both go on from the store after a restart. The hospital need not be in the set that switches the
scores: it fetches every part, as a researcher does of a study.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from grpc import aio

from cipherward.ledger.v1 import ledger_service_pb2 as ledger_pb
from cipherward_chain.batches import packed
from cipherward_compute import metrics
from cipherward_compute.arithmetic.inference import Answered, opened_scores
from cipherward_compute.arithmetic.peer import PeerWrong
from cipherward_compute.column_keys import PROFILE
from cipherward_compute.errors import NotReleased, NotYetMade, StepFailed
from cipherward_compute.failures import INTERNAL, ScoresUnreadable, SumDiffers
from cipherward_compute.inference.steps import ScoreSources
from cipherward_compute.inference.use import Due, Score
from cipherward_compute.member import Member
from cipherward_compute.peers import Peers, from_all
from cipherward_compute.shares import ShareLog
from cipherward_kit.jobs import WorkerLost, WorkersBusy
from cipherward_member.background import news_or_time
from cipherward_member.reports import TAKEN, SubmitBatch
from cipherward_threshold.errors import ThresholdError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

SUBMIT_SECONDS = 10.0
# While something is awaited: of the ledger, of this member's own steps, or of a peer.
RETRY_SECONDS = 0.2
LOOK_SECONDS = 30.0  # with nothing under way
FETCH_SECONDS = 30.0  # of all parts together, before other uses are looked at
UNEXPECTED = "an internal error at this member"


@dataclass(frozen=True, slots=True)
class Others:
    """Whom uses are asked of: the ledger takes them, peers switch their scores.

    block_seconds: time of the newest proven block.
    """

    submit: SubmitBatch
    peers: Peers
    shares: ShareLog
    block_seconds: Callable[[], int]


class UseRunner:
    """Sends what is asked and reads what is released; `run` it beside the server."""

    def __init__(self, member: Member, sources: ScoreSources, others: Others) -> None:
        self._member = member
        self._from = sources
        self._others = others
        self._asked, self._released = asyncio.Event(), asyncio.Event()
        self._taken: set[bytes] = set()  # transactions that the ledger has taken, of those unsent

    def wake(self) -> None:
        """Say that a use was asked for, or that a block may have released one."""
        self._asked.set()
        self._released.set()

    async def run(self) -> None:
        """Send and read, for ever; a part that does not come keeps nobody from asking."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sending(), name="uses-sending")
            group.create_task(self._reading(), name="uses-reading")

    async def _sending(self) -> None:
        wait = 0.0
        while True:
            await news_or_time(self._asked, wait)
            unsent = await self._from.uses.unsent()
            metrics.USES_UNORDERED.set(len(unsent))
            self._taken &= set(unsent)
            if missing := [one for one in unsent if one not in self._taken]:
                await self._send(missing)
            wait = RETRY_SECONDS if unsent else LOOK_SECONDS

    async def _reading(self) -> None:
        wait = 0.0
        while True:
            await news_or_time(self._released, wait)
            due = await self._from.uses.due()
            async with asyncio.TaskGroup() as group:  # each has a deadline
                for one in due:
                    group.create_task(self._read(one))
            wait = RETRY_SECONDS if due else LOOK_SECONDS

    async def _send(self, transactions: list[bytes]) -> None:
        """Send transactions that the ledger has not taken; it brings each into a block once."""
        request = ledger_pb.SubmitBatchRequest(transactions=transactions)
        try:
            answer = await self._others.submit(request, timeout=SUBMIT_SECONDS)
        except aio.AioRpcError as error:
            log.warning("inferences_not_sent", code=error.code().name)
            return
        for transaction, verdict in zip(transactions, answer.verdicts, strict=True):
            if verdict.reason in TAKEN:
                self._taken.add(transaction)
            else:
                log.warning("inference_refused", reason=verdict.reason)

    async def _read(self, due: Due) -> None:
        """Read the scores of one use, if all parts are there; fail it if they are none."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                scores = await self._scores(due)
        except (NotReleased, NotYetMade, SumDiffers, WorkersBusy, WorkerLost, TimeoutError):
            return  # later: the contract's time for the step bounds how often
        except (StepFailed, PeerWrong) as error:
            log.warning("scores_unreadable", reason=error.reason)
            why = error.reason, str(error)
        except Exception:  # this use's boundary: it must not stop the service, and others with it
            log.exception("scores_crashed")
            why = INTERNAL, UNEXPECTED
        else:
            await self._from.uses.answered(due, scores, self._others.block_seconds())
            return
        await self._from.uses.fail(due, why, self._others.block_seconds())

    async def _scores(self, due: Due) -> list[Score]:
        study, contract = due.contract.id, due.contract
        release = await self._from.studies.release(study, due.order)
        _, batch = await self._from.inputs.ciphertexts.total(study, "values", release.digest)
        layout, plan = await self._from.planned(contract.source, contract.model)
        secret = await self._from.uses.secret(due.id)
        if secret is None:
            raise NotReleased("the use has ended meanwhile")
        shares = await from_all(
            self._member.others(release.online),
            lambda name: self._others.peers.decryption_shares(name, study, due.order),
        )
        if self._member.id in release.online:
            own = await self._others.shares.of_order(study, due.order)
            if not own:
                raise NotYetMade("this member has not made its part yet")
            shares[self._member.id] = packed(own)
        answered = Answered(
            PROFILE, secret.seed, batch, shares, layout.slots.widths, (plan.bound, len(plan.terms))
        )
        try:
            sums, known = await self._member.pool.run(opened_scores, answered)
        except ThresholdError as error:
            raise ScoresUnreadable(f"the released scores do not open: {error}") from None
        if min(known) < 0:
            raise ScoresUnreadable("the released scores count no values")
        return [
            Score(reference, known[slot], plan.linear(sums[slot]), plan.probability(sums[slot]))
            for reference, slot in zip(secret.references, secret.slots, strict=True)
        ]
