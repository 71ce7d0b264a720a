"""Whether a member without a chain of its own begins with a snapshot of the state, and from where.

A node without blocks asks the other members' ledgers. Where their chain is well ahead and one of
them offers a snapshot, the node restores that and fetches the blocks after it; else it fetches all
of them. A marker in the node's folder lasts until the first block after the snapshot is recorded,
so that a ledger that was killed in between goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward_chain.light_block import LightBlock
from cipherward_chain.root_file import RootFile
from cipherward_ledger.application import Committed
from cipherward_ledger.clock import NANOSECONDS, Clock
from cipherward_ledger.comet.errors import StateSyncStuck
from cipherward_ledger.comet.light_proxy import LightProxy
from cipherward_ledger.comet.node_config import SyncPlan
from cipherward_ledger.comet.node_files import NodeHome
from cipherward_ledger.comet.other_ledgers import OtherLedger, OtherLedgers
from cipherward_ledger.comet.state_headers import Beginning, StateHeaders
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved, VerifiedHeaders
from cipherward_ledger.recording import Recorder

# Fewer blocks than this are fetched and executed sooner than a snapshot is found (5 s).
AHEAD_BLOCKS = 100
# The other ledgers of a new alliance come up together; one whose peers are silent has no chain to
# sync with either, and its node finds them by itself when they come.
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 0.5
SOCKETS = ("light-1.sock", "light-2.sock")  # CometBFT wants two servers

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Answer = tuple[OtherLedger, pb.GetStatusResponse]


@dataclass(frozen=True, slots=True)
class Start:
    """How a node begins.

    signed_height: up to there it signs nothing, for an earlier folder of it may have.
    plan: of its state sync; None if it fetches blocks.
    """

    signed_height: int
    plan: SyncPlan | None


class StateSync:
    """Decides how the node begins, and answers what its light client asks meanwhile."""

    def __init__(
        self,
        home: NodeHome,
        others: OtherLedgers,
        trusted: RootFile,
        recorder: Recorder,
        clock: Clock,
        fresh_seconds: float,
    ) -> None:
        """Describe it.

        Args:
            home: the node's folder.
            others: open while this is used.
            trusted: where belief in headers begins.
            recorder: loaded.
            clock: what headers' times are held to.
            fresh_seconds: a chain whose newest header is younger goes on without this member.
        """
        self._home = home
        self._others = others
        self._trusted = trusted
        self._recorder = recorder
        self._clock = clock
        self._fresh_seconds = fresh_seconds

    async def decide(self, committed: Committed, *, again: bool = False) -> Start:
        """Return how the node begins, and leave its folder as that needs it.

        Args:
            committed: where contract stands.
            again: a state sync led nowhere: blocks are fetched if somebody keeps all of them.
        """
        recorder, marked = self._recorder, self._home.syncing.exists()
        if recorder.first_height or (committed.height and not marked):
            await asyncio.to_thread(self._home.synced)
            return Start(recorder.height, None)
        answers, newest = await self._ask(committed.height)
        signed_height = self._signed_height(newest)
        whole = any(0 < status.first_height <= 1 for _, status in answers)
        if not committed.height and again and whole:
            plan = None
        elif committed.height or (newest is not None and newest.height >= AHEAD_BLOCKS):
            plan = await self._plan(answers)
        else:
            plan = None
        if plan is not None:
            if not again:  # else the node is running
                await asyncio.to_thread(self._home.begin_sync, keep_blocks=bool(committed.height))
            log.info("state_sync_begins", trusted_height=plan.trust_height)
        elif not committed.height:
            await asyncio.to_thread(self._home.synced)
        return Start(signed_height, plan)

    async def _ask(self, height: int) -> tuple[list[Answer], LightBlock | None]:
        """Return what the others say, and the newest header that can be believed."""
        count = len(self._others.all)
        # More than may lie (f of 3f + 1) must say that there is nothing to sync with.
        enough = count // 3 + 1
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while count:
            answers = await self._others.statuses()
            ahead = [one for one in answers if one[1].height >= height + AHEAD_BLOCKS]
            newest = await self._newest(ahead)
            if newest is not None or (len(answers) >= enough and not ahead):
                return answers, newest or await self._newest(answers)
            if asyncio.get_running_loop().time() > until:
                log.warning("other_ledgers_silent", answers=len(answers), of=count)
                return answers, await self._newest(answers)
            await asyncio.sleep(PAUSE_SECONDS)
        return [], None

    async def _newest(self, answers: Sequence[Answer]) -> LightBlock | None:
        headers = self._headers(0)
        ledgers = [ledger for ledger, status in answers if status.height]
        found = [block for one in ledgers if (block := await headers.newest(one)) is not None]
        return max(found, key=lambda block: block.height, default=None)

    def _signed_height(self, newest: LightBlock | None) -> int:
        """Return up to where the node must not sign, whatever it knows.

        What is certified is past. At the next height an earlier folder of this node may have
        signed, too; that is left alone only where the chain goes on, since a chain that stands
        still may be waiting for this very vote.
        """
        if newest is None:
            return 0
        age_ns = self._clock.now_ns() - newest.time_ns
        moving = age_ns < self._fresh_seconds * NANOSECONDS
        return newest.height + int(moving)

    async def _plan(self, answers: Sequence[Answer]) -> SyncPlan | None:
        """Return where the node's light client begins: before the oldest snapshot, if it can."""
        headers = self._headers(0)
        offering = [status for _, status in answers if status.snapshot_height]
        oldest = max(1, self._trusted.point.height)
        for first in sorted({max(oldest, status.first_height) for status in offering}):
            try:
                block = await headers.light_block(first)
            except NoHeaderBelieved:
                continue
            servers = tuple(f"unix://{name}" for name in SOCKETS)
            return SyncPlan(block.height, block.hash, servers)
        if answers:
            log.warning("no_snapshot_to_sync_with", ledgers=len(answers))
        return None

    async def resume(self, committed: Committed) -> None:
        """Let recording begin after a state that was restored before the ledger was killed.

        Raises:
            StateSyncStuck: no other ledger answers what that needs.
        """
        if committed.height and self._home.syncing.exists() and not self._recorder.height:
            try:
                beginning = await self.state_headers().beginning(committed.height)
            except NoHeaderBelieved:
                raise StateSyncStuck(
                    f"the state of height {committed.height} was restored and no other ledger "
                    "answers its headers; start again when they do, or empty the data folders of "
                    "ledger and contract"
                ) from None
            await begin_at(self._recorder, beginning)

    def proxies(self, consensus_params: Mapping[str, object]) -> dict[str, LightProxy]:
        """Return the servers for the node's light client, by socket; each asks another ledger
        first.
        """
        return {
            name: LightProxy(StateHeaders(self._headers(place)), consensus_params)
            for place, name in enumerate(SOCKETS)
        }

    def state_headers(self) -> StateHeaders:
        """Return what a restored state is held to."""
        return StateHeaders(self._headers(0))

    def _headers(self, place: int) -> VerifiedHeaders:
        ledgers = self._others.all
        at = place % len(ledgers) if ledgers else 0
        return VerifiedHeaders(ledgers[at:] + ledgers[:at], self._trusted, self._clock.now_ns)


async def begin_at(recorder: Recorder, beginning: Beginning) -> None:
    """Let recording begin after a restored state."""
    changes = [term.change for term in beginning.terms if term.change is not None]
    await recorder.begin_at(beginning.height, changes, beginning.terms[-1].validators)
