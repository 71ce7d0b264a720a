"""The gRPC face: protobuf at the edge, one line per decision that is made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceServicer
from cipherward_chain.reads import Reader, ReadGate
from cipherward_chain.wire import NANOS
from cipherward_contract.chain import Chain
from cipherward_contract.deciding import Question
from cipherward_contract.drafting import Drafts
from cipherward_contract.errors import PageTokenMalformed, TooManyKeys
from cipherward_contract.proven_reading import ProvenReading
from cipherward_contract.reading import PAGE_MAX, Page, Reading
from cipherward_contract.restoring import Restoring
from cipherward_contract.showing import (
    contract_of,
    disclosure_of,
    notice_of,
    offered_snapshot,
    registered_of,
    snapshot_info,
)
from cipherward_contract.snapshots import Snapshots
from cipherward_contract.standing import Standing
from cipherward_kit.boundary import Context
from cipherward_member.canaries import CanaryReports
from cipherward_member.reads import reader_of

METHOD = "/cipherward.contract.v1.ContractService/"
KEYS_MAX = 64  # a proof is about 2 kB: an answer stays far below the message limit


@dataclass(frozen=True, slots=True)
class StateSync:
    """Both ends of state sync: what others may fetch, and what is fetched from them."""

    snapshots: Snapshots
    restoring: Restoring


@dataclass(frozen=True, slots=True)
class Questions:
    """Who answers: beside the executing thread, or in it, with proofs; and about drafts."""

    reading: Reading
    proven: ProvenReading
    drafts: Drafts


class ContractService(ContractServiceServicer):
    """What the ledger drives and what holders and members ask."""

    def __init__(
        self,
        chain: Chain,
        questions: Questions,
        gate: ReadGate,
        sync: StateSync,
        standing: Standing,
        canaries: CanaryReports,
    ) -> None:
        self._chain = chain
        self._questions = questions
        self._gate = gate
        self._sync = sync
        self._standing = standing
        self._canaries = canaries

    async def InitChain(
        self, request: pb.InitChainRequest, context: Context
    ) -> pb.InitChainResponse:
        """Make the state of height 0."""
        app_hash = await self._chain.init_chain(request.genesis)
        await self._standing.look()
        return pb.InitChainResponse(app_hash=app_hash)

    async def GetCommitted(
        self, request: pb.GetCommittedRequest, context: Context
    ) -> pb.GetCommittedResponse:
        """Answer height and app hash of the committed state."""
        found = await self._chain.committed()
        if found is None:
            return pb.GetCommittedResponse()
        head, due = found.head, found.next_timer
        return pb.GetCommittedResponse(
            height=head.height,
            app_hash=head.app_hash,
            machine_version=found.rules.version_at(head.height + 1),
            genesis_digest=head.genesis_digest,
            next_timer=None if due is None else Timestamp(seconds=due),
            next_deadline=found.next_deadline,
        )

    async def ExecuteBlock(
        self, request: pb.ExecuteBlockRequest, context: Context
    ) -> pb.ExecuteBlockResponse:
        """Execute the next block and keep its writes in memory."""
        time_ns = request.time.seconds * NANOS + request.time.nanos
        return pb.ExecuteBlockResponse.FromString(
            await self._chain.execute(request.height, time_ns, request.transactions)
        )

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.CommitResponse:
        """Make the executed block durable."""
        await self._chain.commit(request.height)
        await self._standing.look()
        return pb.CommitResponse()

    async def GetExecuted(
        self, request: pb.GetExecutedRequest, context: Context
    ) -> pb.GetExecutedResponse:
        """Answer what ExecuteBlock answered for a recent block."""
        answer = await self._chain.executed(request.height)
        return pb.GetExecutedResponse(executed=pb.ExecuteBlockResponse.FromString(answer))

    async def GetRegistry(
        self, request: pb.GetRegistryRequest, context: Context
    ) -> pb.GetRegistryResponse:
        """Answer who belongs to the alliance now."""
        height, registry = await self._questions.reading.registry()
        return pb.GetRegistryResponse(
            height=height, members=[registered_of(one) for one in registry.values()]
        )

    async def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, context: Context
    ) -> pb.ListSnapshotsResponse:
        """Answer the snapshots that can be loaded."""
        found = await self._sync.snapshots.list()
        return pb.ListSnapshotsResponse(snapshots=[snapshot_info(one) for one in found])

    async def LoadSnapshotChunk(
        self, request: pb.LoadSnapshotChunkRequest, context: Context
    ) -> pb.LoadSnapshotChunkResponse:
        """Answer one chunk of a snapshot."""
        load = self._sync.snapshots.load
        chunk = await load(request.height, request.format, request.index)
        return pb.LoadSnapshotChunkResponse(chunk=chunk)

    async def OfferSnapshot(
        self, request: pb.OfferSnapshotRequest, context: Context
    ) -> pb.OfferSnapshotResponse:
        """Begin the restoration of an empty state."""
        await self._sync.restoring.offer(
            offered_snapshot(request.snapshot), request.snapshot.hash, request.app_hash
        )
        return pb.OfferSnapshotResponse()

    async def ApplySnapshotChunk(
        self, request: pb.ApplySnapshotChunkRequest, context: Context
    ) -> pb.ApplySnapshotChunkResponse:
        """Take the next chunk."""
        complete = await self._sync.restoring.apply(request.index, request.chunk)
        if complete:
            await self._standing.look()
        return pb.ApplySnapshotChunkResponse(complete=complete)

    async def Decide(self, request: pb.DecideRequest, context: Context) -> pb.DecideResponse:
        """Answer what would be decided about a transition now."""
        reader = self._reader(request.read, "Decide")
        question, proven = Question(request.transition, request.arguments), None
        if request.with_proof:
            answer, proven = await self._questions.proven.decide(reader, question)
        else:
            answer = await self._questions.reading.decide(reader, question)
        return pb.DecideResponse(
            allowed=answer.allowed, policies=answer.policies, rule=answer.rule, proven=proven
        )

    async def GetContract(
        self, request: pb.GetContractRequest, context: Context
    ) -> pb.GetContractResponse:
        """Answer one instance."""
        reader, proven = self._reader(request.read, "GetContract"), None
        if request.with_proof:
            instance, proven = await self._questions.proven.instance(reader)
        else:
            instance = await self._questions.reading.instance(reader)
        return pb.GetContractResponse(contract=contract_of(instance), proven=proven)

    async def ListContracts(
        self, request: pb.ListContractsRequest, context: Context
    ) -> pb.ListContractsResponse:
        """Answer the instances about an object, a page at a time."""
        page = _page(request.page_size, request.page_token)
        reader = self._reader(request.read, "ListContracts")
        found = await self._questions.reading.instances(reader, page)
        return pb.ListContractsResponse(
            contracts=[contract_of(instance) for _, instance in found],
            next_page_token=_next_token([sequence for sequence, _ in found], page),
        )

    async def ListDisclosures(
        self, request: pb.ListDisclosuresRequest, context: Context
    ) -> pb.ListDisclosuresResponse:
        """Answer who asked for a record, a page at a time."""
        page = _page(request.page_size, request.page_token)
        reader = self._reader(request.read, "ListDisclosures")
        found = await self._questions.reading.disclosures(reader, page)
        return pb.ListDisclosuresResponse(
            disclosures=[disclosure_of(row) for row in found.rows],
            next_page_token=_next_token([row.sequence for row in found.rows], page),
            complete_from_height=found.complete_from,
        )

    async def ListNotices(
        self, request: pb.ListNoticesRequest, context: Context
    ) -> pb.ListNoticesResponse:
        """Answer what a member or an owner was told, a page at a time."""
        page = _page(request.page_size, request.page_token)
        reader = self._reader(request.read, "ListNotices")
        found = await self._questions.reading.notices(reader, page)
        return pb.ListNoticesResponse(
            notices=[notice_of(row) for row in found],
            next_page_token=_next_token([row.sequence for row in found], page),
        )

    async def GetGroupKey(
        self, request: pb.GetGroupKeyRequest, context: Context
    ) -> pb.GetGroupKeyResponse:
        """Answer a key that the members share, proven."""
        found = await self._questions.proven.group_key(request.purpose, request.key_epoch)
        return pb.GetGroupKeyResponse(key_epoch=found.number, proven=found.state)

    async def GetTemplate(
        self, request: pb.GetTemplateRequest, context: Context
    ) -> pb.GetTemplateResponse:
        """Answer a template's document, proven."""
        found = await self._questions.proven.template(request.name, request.version)
        return pb.GetTemplateResponse(version=found.number, proven=found.state)

    async def ValidateContract(
        self, request: pb.ValidateContractRequest, context: Context
    ) -> pb.ValidateContractResponse:
        """Say whether a template may be deployed, and why."""
        return await self._questions.drafts.validate(request.source)

    async def SimulateContract(
        self, request: pb.SimulateContractRequest, context: Context
    ) -> pb.SimulateContractResponse:
        """Play a scenario against a template."""
        return await self._questions.drafts.simulate(request.source, request.scenario)

    async def ReadState(
        self, request: pb.ReadStateRequest, context: Context
    ) -> pb.ReadStateResponse:
        """Prove what the committed state holds."""
        if len(request.keys) > KEYS_MAX:
            raise TooManyKeys(f"at most {KEYS_MAX} keys at once", keys_max=KEYS_MAX)
        found = await self._chain.prove(request.keys)
        return pb.ReadStateResponse(
            height=found.height, app_hash=found.app_hash, proofs=found.proofs
        )

    async def ReportCanaries(
        self, request: pb.ReportCanariesRequest, context: Context
    ) -> pb.ReportCanariesResponse:
        """Take what the member's deny canaries found."""
        self._canaries.take(request.leaking)
        return pb.ReportCanariesResponse()

    def _reader(self, read: chain_pb.AuthorizedRead, method: str) -> Reader:
        return reader_of(self._gate, read, METHOD + method)


def _page(size: int, token: str) -> Page:
    """Return the page that a request asks for; a token is the sequence of the last item shown."""
    if token and not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise PageTokenMalformed("the page token is not one of this service's")
    return Page(int(token or "0"), min(size, PAGE_MAX) or PAGE_MAX)


def _next_token(sequences: Sequence[int], page: Page) -> str:
    return str(sequences[-1]) if len(sequences) == page.limit else ""
