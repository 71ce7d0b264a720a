"""A chain that several validators sign, in memory: for tests of sets that change and of forks."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    BLOCK_PROTOCOL,
    ValidatorSet,
    commit_hash,
    consensus_hash,
    data_hash,
    empty_commit,
    evidence_hash,
    header_hash,
    results_hash,
)
from cipherward_chain.genesis import Genesis
from cipherward_chain.light import LightClient
from cipherward_chain.light_block import LightBlock
from cipherward_chain.light_source import LightBlockUnavailable
from cipherward_chain.merkle import EMPTY_ROOT
from cipherward_chain.orders import ORDERS_KEY, OrdersEntry
from cipherward_chain.receipts import build_receipt
from cipherward_chain.results import TransactionResult
from cipherward_chain.signatures import SigningKey
from cipherward_chain.testing import BLOCK_NS
from cipherward_chain.testing_forgery import forged_commit
from cipherward_chain.testing_state import MemoryState
from cipherward_chain.wire import exact_bytes, timestamp_of


def seeds_by_key(seeds: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """Return consensus seeds by public key, given them by member."""
    return {SigningKey(seed).public_key: seed for seed in seeds.values()}


class QuorumChain:
    """A chain in CometBFT's form, every block signed by its whole set unless a test says else.

    A change that block h brings is announced by header h+1 and is the set of h+2.

    Args:
        genesis: the beginning; its validators sign the first two blocks.
        seeds: Ed25519 seeds by public key, of every validator there will be.
    """

    def __init__(self, genesis: Genesis, seeds: Mapping[bytes, bytes]) -> None:
        self.genesis = genesis
        self.blocks: list[pb.ProvenBlock] = []  # proven, from height 1
        self.light_blocks: list[pb.LightBlock] = []  # from height 1
        self.changes: list[pb.ValidatorChange] = []
        self.asked: list[int] = []  # heights of light blocks that were fetched
        self.seeds = dict(seeds)
        self._sets = [genesis.validators] * 2  # of the next height and the one after
        self._state = MemoryState()
        self._state.write({b"parameters": genesis.digest})
        self._before = (comet.BlockId(part_set_header=comet.PartSetHeader()), empty_commit())
        self._executed = (self._state.root(), EMPTY_ROOT)
        self._time_ns = genesis.time_ns - BLOCK_NS

    @property
    def height(self) -> int:
        """The newest block; 0 before the first."""
        return len(self.light_blocks)

    def fork(self) -> QuorumChain:
        """Return a twin with the same past, which the same validators sign."""
        return copy.deepcopy(self)

    def grow(self, blocks: int) -> None:
        """Make empty blocks."""
        for _ in range(blocks):
            self.decide()

    def decide(
        self,
        transactions: Sequence[bytes] = (),
        *,
        change: ValidatorSet | None = None,
        absent: frozenset[bytes] = frozenset(),
        round_: int = 0,
        after_ns: int = BLOCK_NS,
    ) -> None:
        """Make the next block.

        Args:
            transactions: of the block; all of them are applied.
            change: the set of the block after the next.
            absent: public keys of validators that do not sign it.
            round_: in which it is decided.
            after_ns: its time after the block before it.
        """
        self._time_ns += after_ns
        block_id, last_commit = self._before
        validators, following = self._sets
        header = comet.Header(
            version=comet.Consensus(block=BLOCK_PROTOCOL, app=self.genesis.machine_version),
            chain_id=self.genesis.chain_id,
            height=self.height + 1,
            time=timestamp_of(self._time_ns),
            last_block_id=block_id,
            last_commit_hash=commit_hash(last_commit),
            data_hash=data_hash(transactions),
            validators_hash=validators.hash(),
            next_validators_hash=following.hash(),
            consensus_hash=consensus_hash(self.genesis.parameters.block_bytes_max, -1),
            app_hash=self._executed[0],
            last_results_hash=self._executed[1],
            evidence_hash=evidence_hash(),
            proposer_address=validators.validators[0].address,
        )
        signing = {key: seed for key, seed in self.seeds.items() if key not in absent}
        commit = forged_commit(header, validators, signing, round_=round_)
        light = LightBlock.of(header, commit, validators)
        if self.blocks:
            _prove(self.blocks[-1], light, self.light_blocks[-1].validators)
        self.light_blocks.append(light.raw)
        if following != validators:
            self.changes.append(
                pb.ValidatorChange(
                    header=light.raw.header,
                    commit=light.raw.commit,
                    validators=following.to_bytes(),
                )
            )
        self._sets = [following, change or following]
        self._before = (commit.block_id, commit)
        self._execute(header, transactions)

    def _execute(self, header: comet.Header, transactions: Sequence[bytes]) -> None:
        results = [TransactionResult().to_bytes() for _ in transactions]
        proof = None
        if transactions:
            entry = OrdersEntry.of(header.height, ())
            ids = {b"tx/" + hashlib.sha256(one).digest(): b"" for one in transactions}
            self._state.write({**ids, ORDERS_KEY: entry.to_bytes()})
            proof = self._state.prove(ORDERS_KEY)
        self._executed = (self._state.root(), results_hash(results))
        self.blocks.append(
            pb.ProvenBlock(
                header=exact_bytes(header),
                transactions=transactions,
                results=results,
                orders_proof=proof,
            )
        )

    @property
    def proven(self) -> list[pb.ProvenBlock]:
        """The blocks that a later one proves."""
        return self.blocks[:-1]

    def receipt(self, height: int, index: int) -> bytes:
        """Return the receipt of a transaction of a proven block, with the changes that it needs."""
        validators = ValidatorSet.from_bytes(self.light_blocks[height].validators)
        changes = [c for c in self.changes if _height(c) <= height]
        return build_receipt(self.blocks[height - 1], index, validators, changes)

    def light_client(self) -> LightClient:
        """Return a sequential light client at the genesis."""
        return LightClient(self.genesis.trust_root())

    async def light_block(self, height: int) -> LightBlock:
        """Answer a light block, as a ledger does: the chain is its own `LightSource`."""
        self.asked.append(height)
        if height > self.height or not self.height:
            raise LightBlockUnavailable(f"light block {height}: NOT_FOUND")
        return LightBlock.parse(
            self.light_blocks[(height or self.height) - 1], self.genesis.chain_id
        )

    async def blocks_from(self, height: int) -> AsyncGenerator[pb.ProvenBlock, None]:
        """Yield the proven blocks from `height` on, and end: a follower asks again."""
        for block in self.proven[height - 1 :]:
            yield block

    def block_hash(self, height: int) -> bytes:
        """Return the hash of a header."""
        return header_hash(comet.Header.FromString(self.light_blocks[height - 1].header))


def _height(change: pb.ValidatorChange) -> int:
    return comet.Header.FromString(change.header).height


def _prove(block: pb.ProvenBlock, after: LightBlock, validators: bytes) -> None:
    """Complete a block with the header that certifies it; `validators` is the block's own set."""
    block.next_header, block.next_commit = after.raw.header, after.raw.commit
    if after.raw.validators != validators:
        block.next_validators = after.raw.validators
