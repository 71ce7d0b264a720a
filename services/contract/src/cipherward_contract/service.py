"""The gRPC face: protobuf at the edge, one line per decision that is made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.chain.v1 import transaction_pb2 as chain_pb
from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceServicer
from cipherward_chain.canonical import encode
from cipherward_chain.reads import Reader, ReadGate
from cipherward_chain.wire import NANOS, timestamp_of
from cipherward_contract.chain import Chain
from cipherward_contract.disclosures import DisclosureRow
from cipherward_contract.entries import Instance
from cipherward_contract.errors import PageTokenMalformed, SnapshotRefused, TooManyKeys
from cipherward_contract.reading import PAGE_MAX, Page, Reading
from cipherward_contract.registry import Registered
from cipherward_contract.restoring import Restoring
from cipherward_contract.snapshots import Snapshot, Snapshots
from cipherward_contract.standing import Standing
from cipherward_kit.boundary import Context
from cipherward_member.reads import reader_of

METHOD = "/cipherward.contract.v1.ContractService/"
KEYS_MAX = 64  # a proof is about 2 kB: an answer stays far below the message limit


@dataclass(frozen=True, slots=True)
class StateSync:
    """Both ends of state sync: what others may fetch, and what is fetched from them."""

    snapshots: Snapshots
    restoring: Restoring


class ContractService(ContractServiceServicer):
    """What the ledger drives and what holders and members ask."""

    def __init__(
        self,
        chain: Chain,
        reading: Reading,
        gate: ReadGate,
        sync: StateSync,
        standing: Standing,
    ) -> None:
        self._chain = chain
        self._reading = reading
        self._gate = gate
        self._sync = sync
        self._standing = standing

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
        height, registry = await self._reading.registry()
        return pb.GetRegistryResponse(
            height=height, members=[_registered(one) for one in registry.values()]
        )

    async def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, context: Context
    ) -> pb.ListSnapshotsResponse:
        """Answer the snapshots that can be loaded."""
        found = await self._sync.snapshots.list()
        return pb.ListSnapshotsResponse(snapshots=[_snapshot(one) for one in found])

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
            _offered(request.snapshot), request.snapshot.hash, request.app_hash
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
        answer = await self._reading.decide(reader, request.transition, request.arguments)
        return pb.DecideResponse(allowed=answer.allowed, policies=answer.policies, rule=answer.rule)

    async def GetContract(
        self, request: pb.GetContractRequest, context: Context
    ) -> pb.GetContractResponse:
        """Answer one instance."""
        instance = await self._reading.instance(self._reader(request.read, "GetContract"))
        return pb.GetContractResponse(contract=_contract(instance))

    async def ListContracts(
        self, request: pb.ListContractsRequest, context: Context
    ) -> pb.ListContractsResponse:
        """Answer the instances about an object, a page at a time."""
        page = _page(request.page_size, request.page_token)
        reader = self._reader(request.read, "ListContracts")
        found = await self._reading.instances(reader, page)
        return pb.ListContractsResponse(
            contracts=[_contract(instance) for _, instance in found],
            next_page_token=_next_token([sequence for sequence, _ in found], page),
        )

    async def ListDisclosures(
        self, request: pb.ListDisclosuresRequest, context: Context
    ) -> pb.ListDisclosuresResponse:
        """Answer who asked for a record, a page at a time."""
        page = _page(request.page_size, request.page_token)
        reader = self._reader(request.read, "ListDisclosures")
        found = await self._reading.disclosures(reader, page)
        return pb.ListDisclosuresResponse(
            disclosures=[_disclosure(row) for row in found.rows],
            next_page_token=_next_token([row.sequence for row in found.rows], page),
            complete_from_height=found.complete_from,
        )

    async def ReadState(
        self, request: pb.ReadStateRequest, context: Context
    ) -> pb.ReadStateResponse:
        """Prove what the committed state holds."""
        if len(request.keys) > KEYS_MAX:
            raise TooManyKeys(f"at most {KEYS_MAX} keys at once", keys_max=KEYS_MAX)
        return await self._chain.prove(request.keys)

    def _reader(self, read: chain_pb.AuthorizedRead, method: str) -> Reader:
        return reader_of(self._gate, read, METHOD + method)


def _page(size: int, token: str) -> Page:
    """Return the page that a request asks for; a token is the sequence of the last item shown."""
    if token and not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise PageTokenMalformed("the page token is not one of this service's")
    return Page(int(token or "0"), min(size, PAGE_MAX) or PAGE_MAX)


def _next_token(sequences: Sequence[int], page: Page) -> str:
    return str(sequences[-1]) if len(sequences) == page.limit else ""


def _contract(instance: Instance) -> pb.Contract:
    return pb.Contract(
        instance_id=instance.id,
        template=instance.origin.template,
        version=instance.origin.version,
        state=instance.position.state,
        terms=instance.origin.document,
        variables=encode(instance.variables),
        created_height=instance.origin.height,
        changed_height=instance.changed,
    )


def _registered(one: Registered) -> pb.RegisteredMember:
    member = one.member
    return pb.RegisteredMember(
        member_id=member.id,
        name=member.name,
        index=member.index,
        public_key=member.public_key,
        custodian_public_key=member.custodian_public_key,
        ca_certificate=member.ca_certificate,
        consensus_public_key=member.consensus_public_key,
        node_id=member.node_id,
        voting_power=one.power,
    )


def _snapshot(found: Snapshot) -> pb.SnapshotInfo:
    return pb.SnapshotInfo(
        height=found.height,
        format=found.format,
        chunks=found.chunks,
        hash=found.hash,
        metadata=found.metadata,
    )


def _offered(info: pb.SnapshotInfo) -> Snapshot:
    offered = Snapshot(info.height, info.metadata, info.format)
    if offered.chunks != info.chunks:
        raise SnapshotRefused("the snapshot has not as many digests as chunks", part="snapshot")
    return offered


def _disclosure(row: DisclosureRow) -> pb.Disclosure:
    order = None
    if row.order is not None:
        order = chain_pb.OrderRef(height=row.order[0], index=row.order[1])
    return pb.Disclosure(
        stage=pb.DisclosureStage.ValueType(row.stage.value),
        transaction_id=row.transaction_id,
        height=row.height,
        time=timestamp_of(row.time_ns),
        member=row.member,
        role=row.role,
        purpose=row.purpose,
        instance_id=row.instance,
        order=order,
        report_transaction_id=row.report_transaction_id,
        reason=row.reason,
    )
