"""State sync: the node's questions about snapshots.

Contract makes, checks and restores snapshots; the node finds them at other members. A snapshot is
taken only for a height whose header this ledger has verified itself, and recording begins after it
before the node hears that it is restored.
"""

from __future__ import annotations

import asyncio
import time

import structlog
from grpc import aio

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward_kit.errors import error_info, reason_of
from cipherward_ledger.application import ContractApplication
from cipherward_ledger.blockstore import BlockStore
from cipherward_ledger.comet.metrics import SNAPSHOTS_REFUSED
from cipherward_ledger.comet.state_headers import Beginning, StateHeaders
from cipherward_ledger.comet.state_sync import begin_at
from cipherward_ledger.comet.verified_headers import NoHeaderBelieved
from cipherward_ledger.recording import Recorder
from cipherward_ledger.tip import Tip

REFUSED = "SNAPSHOT_REFUSED"  # contract's reason for a snapshot or chunk that is not what it says
A_CHUNK = "chunk"  # contract's word for: only this chunk is wrong
# A syncing node needs two certified headers after the state that it restores.
HEADERS_AFTER = 2
# Snapshots are made every thousand blocks or so: news of one may be this late.
LOOK_SECONDS = 5.0
LIST_SECONDS = 2.0
# A state sync that has not come on for so long begins anew: CometBFT itself waits two minutes for a
# chunk, and a chunk or the whole state's tree takes seconds.
STILL_SECONDS = 180.0
SYNC_LOOK_SECONDS = 0.2

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Snapshots:
    """Offers this member's snapshots to others' nodes, and restores theirs."""

    def __init__(
        self, application: ContractApplication, recorder: Recorder, store: BlockStore, tip: Tip
    ) -> None:
        self._application = application
        self._recorder = recorder
        self._store = store
        self._tip = tip
        self._headers: StateHeaders | None = None
        self._beginning: Beginning | None = None
        self._there = False  # contract has restored it, before this ledger was started
        self._senders: set[str] = set()
        self.moved = time.monotonic()  # when a sync last came on

    def sync(self, headers: StateHeaders | None) -> None:
        """Take the snapshots that the node offers from now on, or (None) take none."""
        self._headers = headers
        self.moved = time.monotonic()

    async def synced(self, headers: StateHeaders) -> bool:
        """Take snapshots, and return whether blocks come after a state; not if for long nothing
        happens at all.
        """
        self.sync(headers)
        try:
            while time.monotonic() - self.moved < STILL_SECONDS:
                if self._recorder.first_height:
                    return True
                await asyncio.sleep(SYNC_LOOK_SECONDS)
            return False
        finally:
            self.sync(None)

    async def run(self) -> None:
        """Keep what is said of this member's snapshots up to date, for ever."""
        stub = self._application.stub
        while True:
            try:
                listed = await stub.ListSnapshots(pb.ListSnapshotsRequest(), timeout=LIST_SECONDS)
            except aio.AioRpcError as error:
                log.debug("snapshots_unknown", why=error.code().name)
            else:
                heights = [one.height for one in listed.snapshots if self._certified(one.height)]
                self._tip.snapshot_height = max(heights, default=0)
                # Whoever restores the newest but one meanwhile fetches the blocks after it.
                self._store.keep_after = min(sorted(heights)[-2:], default=0)
            await asyncio.sleep(LOOK_SECONDS)

    def _certified(self, height: int) -> bool:
        return height + HEADERS_AFTER <= self._tip.position.height

    async def list(self) -> abci.ResponseListSnapshots:
        """Answer what other members may load from here."""
        stub = self._application.stub
        answer = await self._application.ask(stub.ListSnapshots, pb.ListSnapshotsRequest())
        return abci.ResponseListSnapshots(
            snapshots=[
                abci.Snapshot(
                    height=one.height,
                    format=one.format,
                    chunks=one.chunks,
                    hash=one.hash,
                    metadata=one.metadata,
                )
                for one in answer.snapshots
                if self._certified(one.height)
            ]
        )

    async def load(self, request: abci.RequestLoadSnapshotChunk) -> abci.ResponseLoadSnapshotChunk:
        """Answer one chunk; nothing if the snapshot has gone: the other asks elsewhere."""
        stub = self._application.stub
        asked = pb.LoadSnapshotChunkRequest(
            height=request.height, format=request.format, index=request.chunk
        )
        try:
            answer = await self._application.ask(stub.LoadSnapshotChunk, asked)
        except aio.AioRpcError as error:
            log.info("snapshot_chunk_unknown", height=request.height, reason=reason_of(error))
            return abci.ResponseLoadSnapshotChunk()
        return abci.ResponseLoadSnapshotChunk(chunk=answer.chunk)

    async def offer(self, request: abci.RequestOfferSnapshot) -> abci.ResponseOfferSnapshot:
        """Begin to restore, if the snapshot's height and root are the chain's."""
        offered = request.snapshot
        why = await self._refusal(request)
        if why:
            SNAPSHOTS_REFUSED.labels(why).inc()
            log.warning("snapshot_refused", height=offered.height, why=why)
            return abci.ResponseOfferSnapshot(result=abci.OFFER_RESULT_REJECT)
        self._senders = set()
        self.moved = time.monotonic()
        log.info("snapshot_accepted", height=offered.height, chunks=offered.chunks)
        return abci.ResponseOfferSnapshot(result=abci.OFFER_RESULT_ACCEPT)

    async def _refusal(self, request: abci.RequestOfferSnapshot) -> str:
        """Return why a snapshot is not taken; "" if its chunks are awaited."""
        offered = request.snapshot
        if self._headers is None:
            return "NOT_SYNCING"
        try:
            beginning = await self._headers.beginning(offered.height)
        except NoHeaderBelieved:
            return "HEIGHT_NOT_CERTIFIED"
        if beginning.app_hash != request.app_hash:
            return "ROOT_NOT_CERTIFIED"
        committed = await self._application.committed()
        self._there = committed.height == offered.height
        if committed.height and not (self._there and committed.app_hash == request.app_hash):
            return "ANOTHER_STATE_RESTORED"
        self._beginning = beginning
        if self._there:
            if not self._recorder.height:  # contract restarted before its last answer was heard
                await begin_at(self._recorder, beginning)
            return ""
        asked = pb.OfferSnapshotRequest(
            snapshot=pb.SnapshotInfo(
                height=offered.height,
                format=offered.format,
                chunks=offered.chunks,
                hash=offered.hash,
                metadata=offered.metadata,
            ),
            app_hash=request.app_hash,
        )
        try:
            await self._application.ask(self._application.stub.OfferSnapshot, asked)
        except aio.AioRpcError as error:
            return reason_of(error) or error.code().name
        return ""

    async def apply(
        self, request: abci.RequestApplySnapshotChunk
    ) -> abci.ResponseApplySnapshotChunk:
        """Take a chunk; whoever sent a wrong one, or a wrong snapshot, is asked no more."""
        self.moved = time.monotonic()
        if self._there:
            return abci.ResponseApplySnapshotChunk(result=abci.APPLY_RESULT_ACCEPT)
        self._senders.add(request.sender)
        asked = pb.ApplySnapshotChunkRequest(index=request.index, chunk=request.chunk)
        try:
            call = self._application.stub.ApplySnapshotChunk
            answer = await self._application.ask(call, asked)
        except aio.AioRpcError as error:
            return self._refused_chunk(request, error)
        if answer.complete:
            assert self._beginning is not None  # a chunk is taken only of what was accepted
            await begin_at(self._recorder, self._beginning)
            log.info("state_restored", height=self._beginning.height)
        self.moved = time.monotonic()
        return abci.ResponseApplySnapshotChunk(result=abci.APPLY_RESULT_ACCEPT)

    def _refused_chunk(
        self, request: abci.RequestApplySnapshotChunk, error: aio.AioRpcError
    ) -> abci.ResponseApplySnapshotChunk:
        reason = reason_of(error)
        if reason != REFUSED:  # contract has restarted, and forgotten what it was offered
            log.info("snapshot_begins_again", why=reason)
            return abci.ResponseApplySnapshotChunk(result=abci.APPLY_RESULT_RETRY_SNAPSHOT)
        info = error_info(error)
        one_chunk = info is not None and info.metadata.get("part") == A_CHUNK
        why = "CHUNK_NOT_AS_OFFERED" if one_chunk else "NOT_THE_CERTIFIED_STATE"
        SNAPSHOTS_REFUSED.labels(why).inc()
        log.warning("snapshot_refused", why=why, index=request.index, sender=request.sender)
        if one_chunk:
            return abci.ResponseApplySnapshotChunk(
                result=abci.APPLY_RESULT_RETRY,
                refetch_chunks=[request.index],
                reject_senders=[request.sender],
            )
        # Every chunk was as this snapshot claims, so all who sent one have made it up.
        return abci.ResponseApplySnapshotChunk(
            result=abci.APPLY_RESULT_REJECT_SNAPSHOT, reject_senders=sorted(self._senders)
        )
