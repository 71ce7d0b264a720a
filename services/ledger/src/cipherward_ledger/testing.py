"""What tests of the ledger share: a contract that applies everything, a clock that stands still,
and a running ledger to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from prometheus_client import REGISTRY

from cipherward.chain.v1 import block_pb2 as chain_pb
from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceServicer
from cipherward.ledger.v1 import ledger_service_pb2 as pb
from cipherward.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub
from cipherward_chain.genesis import Genesis
from cipherward_chain.orders import ORDERS_KEY, OrdersEntry
from cipherward_chain.results import TransactionResult
from cipherward_chain.testing_state import MemoryState
from cipherward_chain.transactions import transaction_id
from cipherward_chain.wire import exact_bytes
from cipherward_kit.errors import ServiceError
from cipherward_kit.testing import Served, eventually
from cipherward_ledger.admission import Admission, Verdict
from cipherward_ledger.assembly import Surroundings
from cipherward_ledger.clock import NANOSECONDS, Clock

DEADLINE = 20.0  # of a wait in a test, seconds


class BlockRefused(ServiceError):
    """The small contract refuses a block."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "HEIGHT_GAP"


class GenesisRefused(ServiceError):
    """The small contract was started with another genesis."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "GENESIS_DIFFERS"


class SmallContract(ContractServiceServicer):
    """A contract that applies every transaction, and remembers the ids in order.

    Its state has the chain's own tree, so headers, proofs and receipts are genuine.
    """

    def __init__(self) -> None:
        self.pairs: dict[bytes, bytes] = {}
        self.genesis: Genesis | None = None
        self.committed = 0
        self.outcomes: dict[int, contract_pb.ExecuteBlockResponse] = {}
        self.pending: tuple[int, dict[bytes, bytes]] | None = None
        self.applied: list[bytes] = []  # ids, in order
        self.next_timer_ns: int | None = None
        self.next_deadline = 0  # closed by the first block with transactions after that height
        self.timers_left = 0  # due as well, and fired by later blocks
        self.votes_age_ns = 0  # how much older block time is than the engine says, as votes are
        self.machine_version = 1  # of the block after the one that is executed
        self.executions: list[int] = []  # heights, every time one was executed
        self.forgets = 0  # times to lose the executed block, as a kill before the commit does
        self.stands = False  # in a block, behind the gate
        self.gate = asyncio.Event()  # closed: blocks with transactions wait
        self.gate.set()

    def state_with(self, writes: Mapping[bytes, bytes]) -> MemoryState:
        """Return the state as it is after `writes`."""
        state = MemoryState()
        state.write({**self.pairs, **writes})
        return state

    async def InitChain(self, request: Any, context: Any) -> Any:
        genesis = Genesis.parse(request.genesis)
        if self.genesis is None:
            self.genesis = genesis
            self.pairs[b"parameters"] = genesis.digest
        if genesis.digest != self.genesis.digest:
            raise GenesisRefused("another genesis")
        return contract_pb.InitChainResponse(app_hash=self.state_with({}).root())

    async def GetCommitted(self, request: Any, context: Any) -> Any:
        assert self.genesis is not None
        answer = contract_pb.GetCommittedResponse(
            height=self.committed,
            app_hash=self.state_with({}).root(),
            machine_version=self.machine_version,
            genesis_digest=self.genesis.digest,
        )
        self._set_timer(answer)
        return answer

    async def ReadState(self, request: Any, context: Any) -> Any:
        state = self.state_with({})
        return contract_pb.ReadStateResponse(
            height=self.committed,
            app_hash=state.root(),
            proofs=[state.prove(key) for key in request.keys],
        )

    async def ExecuteBlock(self, request: Any, context: Any) -> Any:
        if request.transactions:
            self.stands = not self.gate.is_set()
            await self.gate.wait()
        if request.height != self.committed + 1:
            raise BlockRefused("a gap")
        self.executions.append(request.height)
        time_ns = request.time.ToNanoseconds() - self.votes_age_ns
        due = self.next_timer_ns is not None and time_ns >= self.next_timer_ns
        if request.transactions and due:  # it fires
            self.timers_left -= 1
            self.next_timer_ns = self.next_timer_ns if self.timers_left >= 0 else None
        if request.transactions and request.height > self.next_deadline:
            self.next_deadline = 0
        writes: dict[bytes, bytes] = {}
        if request.transactions:
            writes = {b"tx/" + id_of(raw): b"" for raw in request.transactions}
            writes[ORDERS_KEY] = OrdersEntry.of(request.height, []).to_bytes()
        after = self.state_with(writes)
        answer = contract_pb.ExecuteBlockResponse(
            results=[TransactionResult().to_bytes() for _ in request.transactions],
            app_hash=after.root(),
            orders_proof=after.prove(ORDERS_KEY) if request.transactions else None,
            machine_version=self.machine_version,
        )
        self._set_timer(answer)
        self.outcomes[request.height] = answer
        self.pending = (request.height, writes)
        return answer

    async def Commit(self, request: Any, context: Any) -> Any:
        if request.height == self.committed:
            return contract_pb.CommitResponse()
        if self.forgets:
            self.forgets, self.pending = self.forgets - 1, None
        if self.pending is None or self.pending[0] != request.height:
            raise BlockRefused("not executed")
        self.pairs.update(self.pending[1])
        self.applied += [key[3:] for key in self.pending[1] if key.startswith(b"tx/")]
        self.committed, self.pending = request.height, None
        return contract_pb.CommitResponse()

    async def GetExecuted(self, request: Any, context: Any) -> Any:
        return contract_pb.GetExecutedResponse(executed=self.outcomes[request.height])

    def _set_timer(self, answer: Any) -> None:
        answer.next_deadline = self.next_deadline
        if self.next_timer_ns is not None:
            answer.next_timer.FromNanoseconds(self.next_timer_ns)


def id_of(raw: bytes) -> bytes:
    return transaction_id(tx_pb.Transaction.FromString(raw).body)


class ManualClock:
    """A clock that stands still until the test lets time pass.

    Who begins to sleep after an advance sleeps from there on, and that advance never wakes it: a
    test whose ledger sleeps for a while (not until a time) waits for the sleeper first.
    """

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns
        self._moved = asyncio.Event()
        self._sleepers: list[int] = []  # until when each sleeps

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * NANOSECONDS)
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        until_ns = self._now_ns + round(seconds * NANOSECONDS)
        self._sleepers.append(until_ns)
        try:
            while self._now_ns < until_ns:
                await self._moved.wait()
        finally:
            self._sleepers.remove(until_ns)

    async def sleeps(self, seconds: float, *, sleepers: int = 1) -> None:
        """Return when so many sleep until exactly that many seconds from now."""
        until_ns = self._now_ns + round(seconds * NANOSECONDS)
        await eventually(lambda: self._sleepers.count(until_ns) >= sleepers)

    async def passes(self, condition: Callable[[], bool], *, step_seconds: float = 1.0) -> None:
        """Let time pass, a step at each look, until the condition holds.

        For a test to which it does not matter how much time that takes.
        """

        def looked() -> bool:
            if condition():
                return True
            self.advance(step_seconds)
            return False

        await eventually(looked)

    def clock(self) -> Clock:
        return Clock(self.now_ns, self.sleep)


class Submissions(Admission):
    """Refuses nothing, admits nothing, and keeps what was submitted."""

    def __init__(self) -> None:
        self.submitted: list[bytes] = []

    async def admit(self, contents: Sequence[bytes]) -> list[Verdict]:
        self.submitted += contents
        return [Verdict(b"", None) for _ in contents]


PORTS = range(61_000, 65_536)  # Linux gives outgoing connections 32768 to 60999


def free_port() -> int:
    """Return a free port that nobody else is given: above those of outgoing connections.

    Alliances that other tests start beside this one take theirs from below.
    """
    for port in random.SystemRandom().sample(PORTS, 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@dataclass
class RunningLedger:
    """A ledger that serves, and what a test asks of it."""

    served: Served
    around: Surroundings
    contract: SmallContract

    @property
    def stub(self) -> LedgerServiceStub:
        """As any holder sees it."""
        return LedgerServiceStub(self.served.holder_channel())

    @property
    def service_stub(self) -> LedgerServiceStub:
        """As another member's storage sees it."""
        return LedgerServiceStub(self.served.channel_as("hospital-b", "storage"))

    async def ready(self) -> None:
        """Return when the ledger serves and the first blocks of a new chain are made."""
        async with asyncio.timeout(DEADLINE):
            await self.around.readiness.wait()
        await eventually(lambda: self.contract.committed >= 2)

    async def submit(self, content: bytes) -> bytes:
        answer = await self.stub.Submit(pb.SubmitRequest(transaction=content), timeout=DEADLINE)
        return answer.transaction_id

    async def submit_batch(self, contents: Sequence[bytes]) -> list[pb.SubmitVerdict]:
        request = pb.SubmitBatchRequest(transactions=contents)
        return list((await self.stub.SubmitBatch(request, timeout=DEADLINE)).verdicts)

    async def receipt(self, transaction_id: bytes, *, wait: bool = True) -> bytes:
        request = pb.GetReceiptRequest(transaction_id=transaction_id, wait=wait)
        answer = await self.stub.GetReceipt(request, timeout=DEADLINE)
        return exact_bytes(answer.receipt)

    async def status(self) -> pb.GetStatusResponse:
        return await self.stub.GetStatus(pb.GetStatusRequest(), timeout=DEADLINE)

    def open_streams(self) -> int:
        value = REGISTRY.get_sample_value("cipherward_ledger_block_streams")
        return round(value or 0)

    async def blocks(self, height: int, count: int) -> list[chain_pb.ProvenBlock]:
        """Return `count` blocks of the stream that starts at `height`."""
        found: list[chain_pb.ProvenBlock] = []
        call = self.service_stub.StreamBlocks(pb.StreamBlocksRequest(from_height=height))
        async with asyncio.timeout(DEADLINE):
            async for answer in call:
                found.append(answer.block)
                if len(found) == count:
                    call.cancel()
                    return found
        raise AssertionError("the stream has ended")
