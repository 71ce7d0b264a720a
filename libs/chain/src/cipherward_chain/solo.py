"""Blocks of a chain with one validator, in exactly CometBFT's form: the solo engine's arithmetic.

Pure: who calls it keeps the blocks, executes them and says what time it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    BLOCK_PROTOCOL,
    Validator,
    ValidatorSet,
    address,
    block_id,
    commit_hash,
    consensus_hash,
    data_hash,
    empty_commit,
    evidence_hash,
    vote_sign_bytes,
)
from cipherward_chain.errors import ChainError
from cipherward_chain.genesis import Genesis
from cipherward_chain.merkle import EMPTY_ROOT
from cipherward_chain.signatures import SigningKey
from cipherward_chain.wire import exact_bytes, timestamp_of


class NotTheValidator(ChainError):
    """A key is not the only validator of the genesis."""

    reason = "NOT_THE_VALIDATOR"


@dataclass(frozen=True, slots=True)
class Executed:
    """What the state machine answered: the next header certifies it.

    `machine_version` is the version that executes the next block; 0 says that of the genesis.
    """

    app_hash: bytes
    results_hash: bytes = EMPTY_ROOT
    machine_version: int = 0


class Parent(Protocol):
    """The block before: a `SoloBlock`, or what a store has kept of it."""

    @property
    def height(self) -> int:
        """The block's height."""
        ...

    @property
    def time_ns(self) -> int:
        """The block's time, Unix nanoseconds."""
        ...

    @property
    def commit(self) -> bytes:
        """The serialised commit of the block."""
        ...


@dataclass(frozen=True, slots=True)
class SoloBlock:
    """A decided block: serialised Block (with the commit before it), its header and its commit."""

    height: int
    time_ns: int
    header: bytes
    block: bytes
    commit: bytes


class SoloProposer:
    """Makes and signs the blocks of a solo chain.

    Args:
        genesis: of a chain with one validator.
        seed: the validator's Ed25519 seed, 32 bytes.

    Raises:
        NotTheValidator: the genesis has another validator, or several.
    """

    def __init__(self, genesis: Genesis, seed: bytes) -> None:
        self._genesis = genesis
        self._key = SigningKey(seed)
        alone = genesis.validators.validators
        if len(alone) != 1 or alone[0] != Validator(self._key.public_key, alone[0].power):
            raise NotTheValidator("the key is not that of the chain's one validator")
        self._set_hash = genesis.validators.hash()
        self._consensus_hash = consensus_hash(genesis.parameters.block_bytes_max, -1)

    @property
    def validators(self) -> ValidatorSet:
        """The chain's one validator."""
        return self._genesis.validators

    def next_block(
        self,
        before: Parent | None,
        executed: Executed,
        transactions: Sequence[bytes],
        time_ns: int,
    ) -> SoloBlock:
        """Return the block after `before` (None for the first), signed.

        Args:
            executed: what executing `before` answered; for the first block, what InitChain
            answered.
            transactions: serialised, in order; their stateless checks have passed.
            time_ns: the clock, Unix nanoseconds; a block is at least 1 ns later than the one
            before,
                so a clock that was set back stops no block.
        """
        height = 1 if before is None else before.height + 1
        earliest = self._genesis.time_ns if before is None else before.time_ns + 1
        time_ns = max(time_ns, earliest)
        last_commit = empty_commit() if before is None else comet.Commit.FromString(before.commit)
        header = comet.Header(
            version=comet.Consensus(
                block=BLOCK_PROTOCOL,
                app=executed.machine_version or self._genesis.machine_version,
            ),
            chain_id=self._genesis.chain_id,
            height=height,
            time=timestamp_of(time_ns),
            last_block_id=last_commit.block_id,
            last_commit_hash=commit_hash(last_commit),
            data_hash=data_hash(transactions),
            validators_hash=self._set_hash,
            next_validators_hash=self._set_hash,
            consensus_hash=self._consensus_hash,
            app_hash=executed.app_hash,
            last_results_hash=executed.results_hash,
            evidence_hash=evidence_hash(),
            proposer_address=address(self._key.public_key),
        )
        block = comet.Block(header=header, last_commit=last_commit)
        block.data.SetInParent()  # CometBFT writes both also when they are empty
        block.data.txs.extend(transactions)
        block.evidence.SetInParent()
        octets = exact_bytes(block)
        commit = self._sign(header, block_id(header, octets))
        return SoloBlock(height, time_ns, exact_bytes(header), octets, exact_bytes(commit))

    def _sign(self, header: comet.Header, block: comet.BlockId) -> comet.Commit:
        octets = vote_sign_bytes(header.chain_id, header.height, 0, block, header.time)
        signature = comet.CommitSig(
            block_id_flag=comet.BLOCK_ID_FLAG_COMMIT,
            validator_address=header.proposer_address,
            timestamp=header.time,
            signature=self._key.sign(octets),
        )
        return comet.Commit(height=header.height, block_id=block, signatures=[signature])
