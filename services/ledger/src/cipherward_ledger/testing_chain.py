"""For tests: blocks as several validators decide them, with real keys and a set that changes, and
what records and serves them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cipherward.chain.v1 import transaction_pb2 as tx_pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward.contract.v1 import contract_service_pb2 as contract_pb
from cipherward_chain.authorization import MemberSigner
from cipherward_chain.comet import (
    BLOCK_PROTOCOL,
    Validator,
    ValidatorSet,
    commit_hash,
    data_hash,
    empty_commit,
    evidence_hash,
    results_hash,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.merkle import EMPTY_ROOT
from cipherward_chain.orders import ORDERS_KEY, OrdersEntry
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import TestKeys, seed_of
from cipherward_chain.testing_forgery import forged_commit
from cipherward_chain.testing_state import MemoryState
from cipherward_chain.transactions import build_transaction
from cipherward_chain.wire import exact_bytes, timestamp_of
from cipherward_kit.database import Database
from cipherward_ledger.blockstore import BlockStore, DecidedBlock
from cipherward_ledger.clock import NANOSECONDS
from cipherward_ledger.mempool import Bounds, Mempool
from cipherward_ledger.outbox import Outbox
from cipherward_ledger.proven import ProvenBlocks
from cipherward_ledger.pruning import KEEP_ALL, Retention
from cipherward_ledger.receipts import Receipts
from cipherward_ledger.recording import Recorder
from cipherward_ledger.schema import bind_genesis, open_database
from cipherward_ledger.tip import Position, Tip


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided block with what an engine and contract say of it."""

    block: DecidedBlock
    executed: contract_pb.ExecuteBlockResponse
    validators: ValidatorSet


class DecidedChain:
    """A chain of several validators: each `decide` makes the next block and executes it.

    A change of the set takes effect two blocks after the one that makes it, as CometBFT's do.
    """

    def __init__(self, genesis: Genesis, keys: TestKeys) -> None:
        self.genesis = genesis
        self._seeds = {_public(seed): seed for seed in keys.validator_seeds.values()}
        self._sets = [genesis.validators] * 2  # of the next block and of the one after it
        self._state = MemoryState()
        self._state.write({b"parameters": genesis.digest})
        self._header: comet.Header | None = None
        self._commit = empty_commit()
        self._app_hash, self._results_hash = self._state.root(), EMPTY_ROOT
        self._time_ns = genesis.time_ns
        self._signer = MemberSigner("hospital-a", keys.member_seeds["hospital-a"])
        self._nonce = 0
        self.blocks: list[Decided] = []

    def transaction(self, *, seconds: int = 300) -> bytes:
        """Return a fresh transaction that expires so long after the newest block."""
        self._nonce += 1
        return build_transaction(
            [tx_pb.Act(tick=tx_pb.Tick())],
            chain_id=self.genesis.chain_id,
            expires_at=self._time_ns // NANOSECONDS + seconds,
            signer=self._signer,
            nonce=self._nonce.to_bytes(16, "big"),
        )

    def decide(
        self,
        transactions: Sequence[bytes] = (),
        *,
        powers: Mapping[str, int] | None = None,
        absent: int = 0,
        seconds: float = 1.0,
    ) -> Decided:
        """Make the next block.

        Args:
            powers: changes of the set that executing the block makes, by the name of a seed; a new
                name is a new validator, power 0 removes one.
            absent: how many of the validators do not sign.
            seconds: from the block before to this one.
        """
        signers, following = self._sets
        self._sets = [following, self._changed(following, powers or {})]
        header = self._next_header(transactions, signers, following, seconds)
        present = [v.public_key for v in signers.validators][absent:]
        commit = forged_commit(header, signers, {key: self._seeds[key] for key in present})
        block = DecidedBlock(
            header.height,
            self._time_ns,
            exact_bytes(header),
            exact_bytes(commit),
            tuple(transactions),
        )
        executed = self._execute(header.height, transactions)
        self._header, self._commit = header, commit
        self._app_hash, self._results_hash = executed.app_hash, results_hash(executed.results)
        self.blocks.append(Decided(block, executed, signers))
        return self.blocks[-1]

    def _next_header(
        self,
        transactions: Sequence[bytes],
        signers: ValidatorSet,
        following: ValidatorSet,
        seconds: float,
    ) -> comet.Header:
        self._time_ns += round(seconds * NANOSECONDS)
        return comet.Header(
            version=comet.Consensus(block=BLOCK_PROTOCOL, app=1),
            chain_id=self.genesis.chain_id,
            height=len(self.blocks) + 1,
            time=timestamp_of(self._time_ns),
            last_block_id=self._commit.block_id,
            last_commit_hash=commit_hash(self._commit),
            data_hash=data_hash(transactions),
            validators_hash=signers.hash(),
            next_validators_hash=following.hash(),
            consensus_hash=bytes(32),
            app_hash=self._app_hash,
            last_results_hash=self._results_hash,
            evidence_hash=evidence_hash(),
            proposer_address=signers.validators[0].address,
        )

    def _execute(
        self, height: int, transactions: Sequence[bytes]
    ) -> contract_pb.ExecuteBlockResponse:
        if transactions:
            hashes = [hashlib.sha256(raw).digest() for raw in transactions]
            self._state.write({b"tx/" + one: b"" for one in hashes})
            self._state.write({ORDERS_KEY: OrdersEntry.of(height, []).to_bytes()})
        return contract_pb.ExecuteBlockResponse(
            results=[TransactionResult().to_bytes() for _ in transactions],
            app_hash=self._state.root(),
            orders_proof=self._state.prove(ORDERS_KEY) if transactions else None,
            machine_version=1,
        )

    def _changed(self, before: ValidatorSet, powers: Mapping[str, int]) -> ValidatorSet:
        by_key = {v.public_key: v.power for v in before.validators}
        for name, power in powers.items():
            seed = seed_of(name)
            self._seeds[_public(seed)] = seed
            by_key[_public(seed)] = power
        return ValidatorSet.of([Validator(key, power) for key, power in by_key.items() if power])


def _public(seed: bytes) -> bytes:
    return SigningKey(seed).public_key


@dataclass(frozen=True, slots=True)
class Desk:
    """A recorder over a folder, and what serves what it records."""

    recorder: Recorder
    store: BlockStore
    proven: ProvenBlocks
    receipts: Receipts
    outbox: Outbox
    database: Database

    async def record(self, *decided: Decided) -> None:
        """Record blocks in the order given."""
        for one in decided:
            await self.recorder.record(one.block, one.executed, one.validators)


@asynccontextmanager
async def open_desk(
    folder: Path, genesis: Genesis, retention: Retention = KEEP_ALL
) -> AsyncGenerator[Desk]:
    """Open a desk over `folder`; its outbox runs."""
    async with open_database(folder) as database:
        await bind_genesis(database, genesis.digest)
        store = BlockStore(database, retention)
        proven = ProvenBlocks(store, Tip(Position(0, genesis.time_ns, b"", None)))
        outbox = Outbox(database, Mempool(Bounds(100, 1 << 20)))
        recorder = Recorder(store, proven, outbox.mempool, genesis.validators)
        await recorder.load()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(outbox.run())
            yield Desk(recorder, store, proven, Receipts(outbox, proven), outbox, database)
            running.cancel()
