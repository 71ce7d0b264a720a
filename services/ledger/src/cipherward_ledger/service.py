"""The gRPC face of the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer
from cipherward_kit.access import current_caller
from cipherward_kit.boundary import Context
from cipherward_kit.drain import Drain
from cipherward_ledger.admission import Admission, Verdict
from cipherward_ledger.beginning import Beginning
from cipherward_ledger.mempool import Mempool
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.receipts import Receipts
from cipherward_ledger.streams import blocks_from

DOMAIN = "ledger.cipherward"
# What makes its state grow; all else goes on when the disk is full down to its reserve.
GROWING = ("Submit", "SubmitBatch", "SubmitStream")


class LedgerService(LedgerServiceServicer):
    """Admits transactions and answers about the chain. Errors: see the proto."""

    def __init__(
        self,
        beginning: Beginning,
        admission: Admission,
        mempool: Mempool,
        receipts: Receipts,
        proven: ProvenBlocks,
        drain: Drain,
    ) -> None:
        self._beginning = beginning
        self._admission = admission
        self._mempool = mempool
        self._receipts = receipts
        self._proven = proven
        self._drain = drain

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitResponse:
        """Admit one transaction."""
        (verdict,) = await self._admission.admit([request.transaction])
        if verdict.refusal is not None:
            raise verdict.refusal
        return pb.SubmitResponse(transaction_id=verdict.transaction_id)

    async def SubmitBatch(
        self, request: pb.SubmitBatchRequest, context: Context
    ) -> pb.SubmitBatchResponse:
        """Admit several transactions, each with its own verdict."""
        verdicts = await self._admission.admit(request.transactions)
        return pb.SubmitBatchResponse(verdicts=_verdicts(verdicts))

    async def SubmitStream(
        self, request_iterator: AsyncIterator[pb.SubmitStreamRequest], context: Context
    ) -> AsyncIterator[pb.SubmitStreamResponse]:
        """Admit batch after batch; gRPC's flow control bounds how far the client is ahead."""
        async for request in self._drain.until(request_iterator):
            verdicts = await self._admission.admit(request.transactions)
            yield pb.SubmitStreamResponse(verdicts=_verdicts(verdicts))

    async def GetReceipt(
        self, request: pb.GetReceiptRequest, context: Context
    ) -> pb.GetReceiptResponse:
        """Answer the receipt of a transaction."""
        if request.wait:
            waiting = self._receipts.get(request.transaction_id, context.time_remaining())
            return pb.GetReceiptResponse(receipt=await self._drain.cut(waiting))
        return pb.GetReceiptResponse(receipt=await self._receipts.get(request.transaction_id, None))

    async def GetBlock(self, request: pb.GetBlockRequest, context: Context) -> pb.GetBlockResponse:
        """Answer one proven block."""
        return pb.GetBlockResponse(block=await self._proven.get(request.height))

    async def StreamBlocks(
        self, request: pb.StreamBlocksRequest, context: Context
    ) -> AsyncIterator[pb.StreamBlocksResponse]:
        """Send proven blocks for ever, from a height on."""
        blocks = blocks_from(self._proven, request.from_height)
        caller, height = current_caller(), request.from_height
        async for block in self._drain.until(blocks):
            traces = self._proven.traces.for_caller(caller, height, block)
            yield pb.StreamBlocksResponse(block=block, traces=traces if traces.traces else None)
            height += 1

    async def GetLightBlock(
        self, request: pb.GetLightBlockRequest, context: Context
    ) -> pb.GetLightBlockResponse:
        """Answer a signed header with its validators."""
        return pb.GetLightBlockResponse(light_block=await self._proven.light(request.height))

    async def GetValidatorChanges(
        self, request: pb.GetValidatorChangesRequest, context: Context
    ) -> pb.GetValidatorChangesResponse:
        """Answer what leads from the genesis to the newest validators."""
        height = self._proven.tip.position.height
        changes = self._proven.validators.changes_to(height + 1)
        return pb.GetValidatorChangesResponse(changes=changes)

    async def GetGenesis(
        self, request: pb.GetGenesisRequest, context: Context
    ) -> pb.GetGenesisResponse:
        """Answer the genesis and where the members' services are."""
        return await self._beginning.told(request.member)

    async def GetAdmission(
        self, request: pb.GetAdmissionRequest, context: Context
    ) -> pb.GetAdmissionResponse:
        """Answer the proof that a member joined later."""
        return pb.GetAdmissionResponse(admission=await self._beginning.admission(request.member))

    async def GetStatus(
        self, request: pb.GetStatusRequest, context: Context
    ) -> pb.GetStatusResponse:
        """Answer where the chain stands."""
        position = self._proven.tip.position
        return pb.GetStatusResponse(
            chain_id=self._beginning.genesis.chain_id,
            height=position.height,
            app_hash=position.app_hash,
            pending=len(self._mempool),
            engine=self._beginning.genesis.engine,
            first_height=self._proven.first_height,
            catching_up=self._proven.tip.catching_up,
            snapshot_height=self._proven.tip.snapshot_height,
            served_from_height=await self._proven.served_from_height(),
            genesis_digest=self._beginning.genesis.digest,
        )


def _verdicts(verdicts: Sequence[Verdict]) -> list[pb.SubmitVerdict]:
    return [
        pb.SubmitVerdict(transaction_id=verdict.transaction_id)
        if verdict.refusal is None
        else pb.SubmitVerdict(
            transaction_id=verdict.transaction_id,
            reason=verdict.refusal.reason,
            message=str(verdict.refusal),
        )
        for verdict in verdicts
    ]
