"""The replicated application as an engine drives it: contract, over gRPC.

Contract's store is the one truth about state. It is asked to start (InitChain), where it stands
(GetCommitted), and to execute and commit one block after another. While it is away the chain
waits: that is a condition of the ledger, never an answer to the engine.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc
import structlog
from grpc import aio

from cipherward.contract.v1 import contract_service_pb2 as pb
from cipherward.contract.v1.contract_service_pb2_grpc import ContractServiceStub
from cipherward_chain.wire import timestamp_of
from cipherward_kit.errors import reason_of
from cipherward_kit.readiness import Readiness
from cipherward_ledger.clock import Clock
from cipherward_ledger.errors import (
    GenesisDiffers,
    MachineVersionUnsupported,
    StoresDisagree,
)
from cipherward_ledger.metrics import APPLY, CONTRACT_WAIT
from cipherward_ledger.tip import next_timer

Q = TypeVar("Q", contravariant=True)
A = TypeVar("A", covariant=True)

CONDITION = "contract"  # of readiness
UNSUPPORTED = "MACHINE_VERSION_UNSUPPORTED"  # contract's reason for a block beyond its versions

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


class Block(Protocol):
    """What executes: a decided block, or what an engine is told of one."""

    @property
    def height(self) -> int:
        """The block's height."""
        ...

    @property
    def time_ns(self) -> int:
        """Its time, Unix nanoseconds."""
        ...

    @property
    def transactions(self) -> tuple[bytes, ...]:
        """Its transactions, serialised, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Committed:
    """Where contract stands; `machine_version` is that of the next block."""

    height: int
    app_hash: bytes
    next_timer_ns: int | None
    machine_version: int


class ContractApplication:
    """Contract, as one engine sees it. One task at a time may have a block executed."""

    def __init__(
        self,
        stub: ContractServiceStub,
        genesis: bytes,
        clock: Clock,
        readiness: Readiness,
        registered: Callable[[Mapping[str, str], int], None] | None = None,
    ) -> None:
        """Describe the application.

        Args:
            stub: of contract.
            genesis: the document, byte for byte.
            clock: what pauses between tries.
            readiness: with the condition CONDITION.
            registered: told the members' authorities (PEM by id) and the height that they are of:
                at the start, and after a block that changed the registry.
        """
        self.stub = stub
        self._genesis = genesis
        self._clock = clock
        self._readiness = readiness
        self._registered = registered
        self._registry_changed = False  # by the block that was executed last
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
        committed = await self.committed()
        if committed.height not in (engine_height, engine_height - 1):
            raise StoresDisagree(
                f"the block store ends at height {engine_height} and contract's state at "
                f"{committed.height}; restore both from one backup, or whichever is behind"
            )
        if self._registered is not None:
            await self.registry()
        return committed

    def agreed(self) -> None:
        """Say that contract's state is the stored chain's: from now on the ledger is ready."""
        self._started = True
        self._present()

    async def apply(self, block: Block) -> pb.ExecuteBlockResponse:
        """Have a block executed and committed; return what contract made of it, durably.

        Raises:
            StoresDisagree: contract's state is not that of the block's parent.
            MachineVersionUnsupported: this contract cannot execute it.
        """
        started = time.perf_counter()
        executed = await self.execute(block)
        await self.commit(block)
        APPLY.observe(time.perf_counter() - started)
        return executed

    async def execute(self, block: Block) -> pb.ExecuteBlockResponse:
        """Have a block executed, not yet committed; of a committed one, return what it answered.

        Raises:
            StoresDisagree, MachineVersionUnsupported: as `apply`.
        """
        when = timestamp_of(block.time_ns)
        request = pb.ExecuteBlockRequest(
            height=block.height, time=when, transactions=block.transactions
        )
        pause = PAUSE_SECONDS[0]
        while True:
            try:
                executed = await self.ask(self.stub.ExecuteBlock, request)
            except aio.AioRpcError as error:
                if await self._reached(block, error):
                    executed = await self.executed(block.height)
                else:  # it restarted meanwhile, or forgot the block: so once more
                    self._absent(error)
                    await self._clock.sleep(pause)
                    pause = min(2 * pause, PAUSE_SECONDS[1])
                    continue
            self._present()
            self._registry_changed = executed.registry_changed
            return executed

    async def commit(self, block: Block) -> None:
        """Have the executed block committed; on return it is durable.

        Raises:
            StoresDisagree, MachineVersionUnsupported: as `apply`.
        """
        pause = PAUSE_SECONDS[0]
        while True:
            try:
                await self.ask(self.stub.Commit, pb.CommitRequest(height=block.height))
            except aio.AioRpcError as error:
                if not await self._reached(block, error):
                    # It restarted between execution and commit, or could not write.
                    self._absent(error)
                    await self._clock.sleep(pause)
                    pause = min(2 * pause, PAUSE_SECONDS[1])
                    await self.execute(block)
                    continue
            self._present()
            break
        if self._registered is not None and self._registry_changed:
            await self.registry()

    async def _reached(self, block: Block, error: aio.AioRpcError) -> bool:
        """After a refusal: whether contract has committed the block, or else stands before it."""
        if reason_of(error) == UNSUPPORTED:
            raise MachineVersionUnsupported(
                f"block {block.height} is for a version of the state machine that this contract "
                "does not carry; update this member's services to the release that was voted for"
            ) from None
        committed = await self.committed()
        if committed.height not in (block.height, block.height - 1):
            raise StoresDisagree(
                f"block {block.height} cannot be executed: contract's state is at height "
                f"{committed.height}; restore both stores from one backup"
            ) from None
        return committed.height == block.height

    async def executed(self, height: int) -> pb.ExecuteBlockResponse:
        """Return what contract answered for a recently committed block.

        Raises:
            StoresDisagree: contract has not kept it.
        """
        try:
            request = pb.GetExecutedRequest(height=height)
            return (await self.ask(self.stub.GetExecuted, request)).executed
        except aio.AioRpcError:
            raise StoresDisagree(
                f"contract does not keep the outcome of block {height}; restore its newest backup"
            ) from None

    async def committed(self) -> Committed:
        """Wait for contract, see that it has this genesis, and return where it stands.

        Raises:
            GenesisDiffers: it was started with another genesis.
        """
        try:
            await self.ask(self.stub.InitChain, pb.InitChainRequest(genesis=self._genesis))
        except aio.AioRpcError as error:
            raise GenesisDiffers(
                f"contract refuses this genesis ({reason_of(error)}); start both services with "
                "the same genesis file, contract on its own data folder"
            ) from None
        answer = await self.ask(self.stub.GetCommitted, pb.GetCommittedRequest())
        if answer.genesis_digest != hashlib.sha256(self._genesis).digest():
            raise GenesisDiffers("contract was started with another genesis file")
        return Committed(answer.height, answer.app_hash, next_timer(answer), answer.machine_version)

    async def registry(self) -> pb.GetRegistryResponse:
        """Return who belongs to the alliance after the newest committed block."""
        try:
            registry = await self.ask(self.stub.GetRegistry, pb.GetRegistryRequest())
        except aio.AioRpcError as error:
            raise StoresDisagree(
                f"contract answers {reason_of(error) or error.code().name} about its registry; "
                "start it with this release on its own data folder"
            ) from None
        if self._started:
            self._present()
        if self._registered is not None:
            authorities = {one.member_id: one.ca_certificate for one in registry.members}
            self._registered(authorities, registry.height)
        return registry

    async def ask(self, call: Call[Q, A], request: Q) -> A:
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
