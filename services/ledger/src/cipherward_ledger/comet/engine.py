"""CometBFT as the ledger's consensus engine: this member's node, and what it is answered.

Life of a block: the members' nodes agree on it; FinalizeBlock has contract execute it, Commit has
contract commit it; then header and commit are fetched from the node and recorded, which proves the
block before. Submitted transactions go the other way, from the outbox to the node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import structlog
from grpc import aio

from cipherward_chain.genesis import Genesis
from cipherward_chain.root_file import RootFile
from cipherward_kit.readiness import Readiness
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.clock import Clock
from cipherward_ledger.comet.abci_server import serve_application
from cipherward_ledger.comet.broadcaster import Broadcaster
from cipherward_ledger.comet.collector import Collector
from cipherward_ledger.comet.elsewhere import Elsewhere
from cipherward_ledger.comet.errors import MemberRemoved, removed
from cipherward_ledger.comet.execution import Execution, Recorded
from cipherward_ledger.comet.face import Face
from cipherward_ledger.comet.light_proxy import consensus_params, serve_light_proxies
from cipherward_ledger.comet.membership import Membership
from cipherward_ledger.comet.metrics import NODE_UP
from cipherward_ledger.comet.node import Node
from cipherward_ledger.comet.node_config import ABCI_SOCKET, NodePlan, SyncPlan
from cipherward_ledger.comet.node_files import NodeHome, NodeKeys
from cipherward_ledger.comet.node_rpc import NodeRpc, NodeStatus, open_node_rpc
from cipherward_ledger.comet.other_ledgers import OtherLedgers
from cipherward_ledger.comet.proposals import Proposals
from cipherward_ledger.comet.relay import Relay
from cipherward_ledger.comet.round_log import keep_rounds_short
from cipherward_ledger.comet.signing_state import SigningState
from cipherward_ledger.comet.snapshots import Snapshots
from cipherward_ledger.comet.state_sync import StateSync
from cipherward_ledger.comet.verified_headers import VerifiedHeaders
from cipherward_ledger.mempool import Mempool
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.ticker import Validators
from cipherward_ledger.tip import Tip
from cipherward_ledger.verification import Verifier

NODE_CONDITION = "node"  # of readiness
EVIDENCE_FOLDER = "evidence"  # in the node's folder
# How long everybody waits to see a removal proven; decided it is in any case.
PROVEN_SECONDS = 60.0
FAREWELL_SECONDS = 3.0  # nodes pass votes on within tens of milliseconds, most of the time

Watching: TypeAlias = Callable[[SigningState, Callable[[], int]], Elsewhere]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the member's node is started from.

    folder: of the node's files, made if missing; key_file: where the consensus key comes from, and
    what is destroyed when the member is removed; addresses: reads host:port of each member's node.
    connect: opens a channel to each other member's ledger; trusted: where belief in what those say
    begins.
    transactions_max: how many this member puts in a block that it proposes.
    """

    member: str
    binary: Path
    folder: Path
    key_file: Path
    keys: NodeKeys = field(repr=False)
    plan: NodePlan
    addresses: Callable[[], Mapping[str, str]]
    connect: Callable[[], Mapping[str, aio.Channel]]
    trusted: RootFile
    transactions_max: int


@dataclass(frozen=True, slots=True)
class Views:
    """What the engine keeps up to date for others."""

    readiness: Readiness
    tip: Tip
    validators: Validators
    proven: ProvenBlocks


@dataclass(frozen=True, slots=True)
class Intake:
    """Where transactions come from, and how they are verified."""

    verifier: Verifier
    mempool: Mempool
    clock: Clock


class CometEngine:
    """Runs consensus through the member's node. `load` once, then `run`."""

    def __init__(
        self,
        genesis: tuple[Genesis, bytes],
        application: ContractApplication,
        recorded: Recorded,
        intake: Intake,
        settings: NodeSettings,
        views: Views,
    ) -> None:
        """Describe the engine; `genesis` comes with its document, byte for byte."""
        self._genesis, self._document = genesis
        self._application = application
        self._recorded = recorded
        self._intake = intake
        self._settings = settings
        self._views = views
        self._home = NodeHome(settings.folder)
        self._membership = Membership(
            settings.member,
            # One that joined later is among the members, and not in the document.
            founder=settings.member in Genesis.parse(self._document).members,
            registry=application,
            addresses=settings.addresses,
            validators=views.validators,
        )

    async def load(self) -> None:
        """Read where the recorded chain ends, so that its blocks can be served.

        Raises:
            StoreCorrupt: the newest block does not read back.
        """
        await self._recorded.recorder.load()
        # Until the node says where it stands; whoever would begin at block 1 waits for that.
        self._views.tip.catching_up = True

    async def run(self) -> None:
        """Take part in the chain, for ever.

        Raises, in a group:
            GenesisDiffers, StoresDisagree: the three stores are not of one chain.
            MachineVersionUnsupported: this release cannot execute the next block.
            NodeRefused, NodeFilesUnusable, ConsensusKeyShared: the node cannot run.
            MemberRemoved: the alliance has removed this member.
        """
        trusted, clock = self._settings.trusted, self._intake.clock
        try:
            async with OtherLedgers(self._genesis.chain_id, self._settings.connect) as others:
                self._views.proven.older = Relay(others, trusted, clock)
                state_sync = StateSync(
                    self._home,
                    others,
                    trusted,
                    self._recorded.recorder,
                    clock,
                    self._genesis.parameters.fresh_seconds,
                )
                headers = partial(VerifiedHeaders, others.all, trusted, clock.now_ns)
                await self._begin(state_sync, partial(Elsewhere, others, headers))
        except* MemberRemoved:
            left = await asyncio.to_thread(self._home.destroy_key, self._settings.key_file)
            log.warning("consensus_key_destroyed", left=[str(path) for path in left])
            raise removed(self._settings.member, self._membership.removed_at, left) from None

    async def _begin(self, state_sync: StateSync, watching: Watching) -> None:
        began_ns = self._intake.clock.now_ns()
        committed = await self._application.committed()
        await state_sync.resume(committed)
        start = await state_sync.decide(committed)
        signed = max(start.signed_height, self._recorded.recorder.height)
        keys = self._settings.keys
        fresh = await asyncio.to_thread(self._home.prepare, self._document, keys, signed)
        signing = SigningState(self._home, keys.address, fresh=fresh, began_ns=began_ns)
        elsewhere = watching(signing, lambda: self._recorded.recorder.height)
        await elsewhere.look()  # before the node votes
        async with open_node_rpc(self._home.path) as rpc:
            await self._take_part(rpc, state_sync, start.plan, elsewhere)

    async def _take_part(
        self, rpc: NodeRpc, state_sync: StateSync, plan: SyncPlan | None, elsewhere: Elsewhere
    ) -> None:
        signing = elsewhere.signing
        application, recorded = self._application, self._recorded
        trusted, evidence = self._genesis.validators, self._home.path / EVIDENCE_FOLDER
        collector = Collector(rpc, application, recorded.recorder, trusted, evidence, signing)
        broadcaster = Broadcaster(self._intake.mempool, rpc, collector.recorded)
        execution = Execution(
            self._genesis, self._document, application, recorded, collector, signing
        )

        def told(status: NodeStatus | None) -> None:
            self._told(status)
            collector.node_changed(node.answered)
            if status is not None or not node.answered:  # silence alone loses no transaction
                broadcaster.node_changed(status is not None and not status.catching_up)

        node = Node(self._settings.binary, self._home, rpc, told)
        collector.stands_at((await application.committed()).height)
        await self._membership.refresh()
        application.agreed()
        await self._configure(plan)
        proposals = Proposals(
            self._intake.verifier, self._intake.clock, self._settings.transactions_max
        )
        views = self._views
        snapshots = Snapshots(application, recorded.recorder, recorded.blocks, views.tip)
        face = Face(execution, proposals, snapshots, self._membership)
        # The application listens before the node starts: it would try again only after 3 s.
        socket = self._home.path / ABCI_SOCKET
        async with serve_application(socket, face), asyncio.TaskGroup() as group:
            group.create_task(collector.run())
            group.create_task(broadcaster.run())
            group.create_task(snapshots.run())
            group.create_task(elsewhere.run())
            group.create_task(keep_rounds_short(self._home.path))
            group.create_task(self._follow_registry(execution, node))
            if plan is not None:
                group.create_task(self._sync(state_sync, snapshots, node, execution))
            group.create_task(node.run())

    def _told(self, status: NodeStatus | None) -> None:
        NODE_UP.set(int(status is not None))
        why = "the consensus node does not answer"
        if status is not None:
            recorder = self._recorded.recorder
            restored = bool(recorder.height and not recorder.first_height)  # and no block yet
            self._views.tip.catching_up = status.catching_up or restored
            why = "the consensus node catches up" if status.catching_up else ""
        self._views.readiness.set(NODE_CONDITION, not why, why)

    async def _configure(self, sync: SyncPlan | None = None) -> None:
        peers = self._membership.peers()
        await asyncio.to_thread(self._home.configure, self._settings.plan, peers, sync)

    async def _sync(
        self, state_sync: StateSync, snapshots: Snapshots, node: Node, execution: Execution
    ) -> None:
        """Attend the node's state sync until the first block after the state is recorded."""
        parameters = consensus_params(self._document)
        proxies = state_sync.proxies(parameters)
        async with serve_light_proxies(self._home.path, proxies):
            while not await snapshots.synced(state_sync.state_headers()):
                log.warning("state_sync_stands_still")
                committed = await self._application.committed()
                start = await state_sync.decide(committed, again=True)
                await self._configure(start.plan)
                node.restart()
                if start.plan is None:
                    return
        await asyncio.to_thread(self._home.synced)
        await self._configure()
        log.info("state_synced", first_height=self._recorded.recorder.first_height)
        execution.registry_changed.set()  # it may have, since the genesis

    async def _follow_registry(self, execution: Execution, node: Node) -> None:
        """Let admitted members' nodes in and removed ones' out, one restart after another.

        The block after a removal is still voted on by the removed, and among three it takes all:
        so nobody cuts it off, and it does not go, before that block is there.
        """
        self._end_if_removed()
        while True:
            await execution.registry_changed.wait()
            execution.registry_changed.clear()
            others = await self._membership.refresh()
            if self._membership.shrunk_at:
                try:
                    async with asyncio.timeout(PROVEN_SECONDS):
                        await self._views.tip.proven(self._membership.shrunk_at)
                except TimeoutError:
                    log.warning("removal_not_proven_in_time")
            if self._membership.removed_at:
                await asyncio.sleep(FAREWELL_SECONDS)  # its own vote for that block goes round
            self._end_if_removed()
            if others:
                await self._configure()
                delay = self._membership.restart_delay()
                log.info("node_restarts_for_registry", in_seconds=delay)
                await asyncio.sleep(delay)
                node.restart()

    def _end_if_removed(self) -> None:
        if self._membership.removed_at:
            raise MemberRemoved("the member is removed")
