"""The replicated application as an engine drives it: contract, over gRPC.

Contract's store is the one truth about state. It is asked to start (InitChain), where it stands
(GetCommitted), and to execute and commit one block after another. While it is away the chain
waits: that is a condition of the ledger, never an answer to the engine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_kit.errors import reason_of
from cipherward_kit.readiness import Readiness
from cipherward_ledger.blockstore import DecidedBlock
from cipherward_ledger.clock import Clock
from cipherward_ledger.errors import GenesisDiffers, StoresDisagree
from cipherward_ledger.metrics import APPLY, CONTRACT_WAIT

Q = TypeVar("Q", contravariant=True)
A = TypeVar("A", covariant=True)

CONDITION = "contract"  # of readiness


# A block of 2 MiB executes in about two seconds; a call that takes longer is tried again.
CALL_SECONDS = 30.0
# From the first to the later tries: quick after a restart, easy on the log after a minute.
PAUSE_SECONDS = (0.05, 0.5)
# What cannot be right whatever contract does: everything else is contract being away.
REFUSALS = frozenset(
    (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
    )
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Call(Protocol[Q, A]):
    """One RPC of contract."""

    def __call__(self, request: Q, /, *, timeout: float) -> Awaitable[A]: ...


@dataclass(frozen=True, slots=True)
class Committed:
    """Where contract stands."""

    height: int
    app_hash: bytes
    next_timer_ns: int | None


class ContractApplication:
    """Contract, as one engine sees it. One task at a time may use it."""

    def __init__(
        self, stub: ContractServiceStub, genesis: bytes, clock: Clock, readiness: Readiness
    ) -> None:
        self._stub = stub
        self._genesis = genesis
        self._genesis_digest = hashlib.sha256(genesis).digest()
        self._clock = clock
        self._readiness = readiness
        self._started = False
        self._away_since: float | None = None

    @property
    def away(self) -> bool:
        """Whether the chain stands still because contract does not answer."""
        return not self._started or self._away_since is not None

    async def start(self, engine_height: int) -> Committed:
        """Wait for contract, give it the genesis, and return where it stands.

        The ledger is ready only when the caller has compared the states, too: see `agreed`.

        Raises:
            GenesisDiffers: it was started with another genesis.
            StoresDisagree: its height is neither the engine's nor one less.
        """
        committed = await self._initialise()
        if committed.height not in (engine_height, engine_height - 1):
            raise StoresDisagree(
                f"the block store ends at height {engine_height} and contract's state at "
                f"{committed.height}; restore both from one backup, or whichever is behind"
            )
        return committed

    def agreed(self) -> None:
        """Say that contract's state is the stored chain's: from now on the ledger is ready."""
        self._started = True
        self._present()

    async def apply(self, block: DecidedBlock) -> pb.ExecuteBlockResponse:
        """Have a block executed and committed; return what contract made of it, durably.

        Raises:
            StoresDisagree: contract's state is not that of the block's parent.
        """
        started = time.perf_counter()
        executed = await self._applied(block)
        self._present()
        APPLY.observe(time.perf_counter() - started)
        return executed

    async def _applied(self, block: DecidedBlock) -> pb.ExecuteBlockResponse:
        pause = PAUSE_SECONDS[0]
        while True:
            try:
                return await self._execute(block)
            except aio.AioRpcError as error:
                committed = await self._initialise()
                if committed.height == block.height:
                    return await self.executed(block.height)
                if committed.height != block.height - 1:
                    raise StoresDisagree(
                        f"block {block.height} cannot be executed: contract's state is at height "
                        f"{committed.height}; restore both stores from one backup"
                    ) from None
                # It restarted between execution and commit, or could not write: so once more.
                self._absent(error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS[1])

    async def executed(self, height: int) -> pb.ExecuteBlockResponse:
        """Return what contract answered for its newest committed block.

        Raises:
            StoresDisagree: contract has not kept it.
        """
        try:
            request = pb.GetExecutedRequest(height=height)
            return (await self._ask(self._stub.GetExecuted, request)).executed
        except aio.AioRpcError:
            raise StoresDisagree(
                f"contract does not keep the outcome of block {height}; restore its newest backup"
            ) from None

    async def _execute(self, block: DecidedBlock) -> pb.ExecuteBlockResponse:
        when = Timestamp()
        when.FromNanoseconds(block.time_ns)
        request = pb.ExecuteBlockRequest(
            height=block.height, time=when, transactions=block.transactions
        )
        executed = await self._ask(self._stub.ExecuteBlock, request)
        await self._ask(self._stub.Commit, pb.CommitRequest(height=block.height))
        return executed

    async def _initialise(self) -> Committed:
        try:
            await self._ask(self._stub.InitChain, pb.InitChainRequest(genesis=self._genesis))
        except aio.AioRpcError as error:
            raise GenesisDiffers(
                f"contract refuses this genesis ({reason_of(error)}); start both services with "
                "the same genesis file, contract on its own data folder"
            ) from None
        answer = await self._ask(self._stub.GetCommitted, pb.GetCommittedRequest())
        if answer.genesis_digest != self._genesis_digest:
            raise GenesisDiffers("contract was started with another genesis file")
        return Committed(answer.height, answer.app_hash, next_timer(answer))

    async def _ask(self, call: Call[Q, A], request: Q) -> A:
        """Ask until contract answers or refuses.

        Raises:
            aio.AioRpcError: it refused.
        """
        pause = PAUSE_SECONDS[0]
        while True:
            try:
                return await call(request, timeout=CALL_SECONDS)
            except aio.AioRpcError as error:
                if error.code() in REFUSALS:
                    raise
                self._absent(error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, PAUSE_SECONDS[1])

    def _absent(self, error: aio.AioRpcError) -> None:
        now, why = time.monotonic(), reason_of(error) or error.code().name
        if self._away_since is None:
            self._away_since = now
            log.warning("contract_away", why=why)
        CONTRACT_WAIT.set(now - self._away_since)
        self._readiness.set(CONDITION, False, f"contract answers {why}")

    def _present(self) -> None:
        if self._away_since is not None:
            log.info("contract_back", seconds=round(time.monotonic() - self._away_since, 3))
        self._away_since = None
        CONTRACT_WAIT.set(0)
        self._readiness.set(CONDITION, True)


def next_timer(answer: pb.ExecuteBlockResponse | pb.GetCommittedResponse) -> int | None:
    """Return the block time, in Unix nanoseconds, at which the next timer falls due, if any."""
    return answer.next_timer.ToNanoseconds() if answer.HasField("next_timer") else None
