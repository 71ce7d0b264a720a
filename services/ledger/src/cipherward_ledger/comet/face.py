"""The application as the node sees it: each question goes to whom it concerns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.comet.v1 import abci_pb2 as abci
from cipherward_ledger.comet.abci_server import RequestUnknown
from cipherward_ledger.comet.execution import Execution
from cipherward_ledger.comet.membership import Membership
from cipherward_ledger.comet.proposals import Proposals
from cipherward_ledger.comet.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Face:
    """Answers every question of the node but Echo and Flush."""

    execution: Execution
    proposals: Proposals
    snapshots: Snapshots
    membership: Membership

    async def check(self, contents: Sequence[bytes]) -> list[abci.ResponseCheckTx]:
        """Answer CheckTx for several transactions, in order."""
        return await self.proposals.check(contents)

    async def answer(self, request: abci.Request) -> abci.Response:
        """Answer one question, or raise RequestUnknown."""
        match request.WhichOneof("value"):
            case "finalize_block":
                finalized = await self.execution.finalize(request.finalize_block)
                return abci.Response(finalize_block=finalized)
            case "commit":
                return abci.Response(commit=await self.execution.commit())
            case "prepare_proposal":
                prepared = await self.proposals.prepare(request.prepare_proposal)
                return abci.Response(prepare_proposal=prepared)
            case "process_proposal":
                processed = await self.proposals.process(request.process_proposal)
                return abci.Response(process_proposal=processed)
            case "query":
                return abci.Response(query=self.membership.query(request.query.path))
            case "info":
                return abci.Response(info=await self.execution.info())
            case "init_chain":
                begun = await self.execution.init_chain(request.init_chain)
                return abci.Response(init_chain=begun)
            case _:
                return await self._answer_about_snapshots(request)

    async def _answer_about_snapshots(self, request: abci.Request) -> abci.Response:
        match request.WhichOneof("value"):
            case "list_snapshots":
                return abci.Response(list_snapshots=await self.snapshots.list())
            case "load_snapshot_chunk":
                loaded = await self.snapshots.load(request.load_snapshot_chunk)
                return abci.Response(load_snapshot_chunk=loaded)
            case "offer_snapshot":
                offered = await self.snapshots.offer(request.offer_snapshot)
                return abci.Response(offer_snapshot=offered)
            case "apply_snapshot_chunk":
                applied = await self.snapshots.apply(request.apply_snapshot_chunk)
                return abci.Response(apply_snapshot_chunk=applied)
            case other:
                raise RequestUnknown(f"the node asks {other}, which is not known here")
