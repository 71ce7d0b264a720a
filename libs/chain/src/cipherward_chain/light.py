"""The light client: from a trust root to verified blocks, one signature set a block.

A proven block h carries the header of h+1 and its commit. The commit certifies header h+1, which
names header h (`last_block_id`), the results of h (`last_results_hash`) and the state after h
(`app_hash`).
Header h was certified one step before as the next header of h-1, so only the commit of h+1 is
checked.
Sets of validators are followed: header h names the set of h+1 (`next_validators_hash`).
"""

from __future__ import annotations

from dataclasses import dataclass

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.checkpoint import Checkpoint, TrustRoot
from cipherward_chain.comet import (
    BLOCK_PROTOCOL,
    GO_ZERO_TIME,
    CommitMalformed,
    HeaderMalformed,
    Validator,
    ValidatorSet,
    ValidatorsMalformed,
    data_hash,
    header_hash,
    header_time_ns,
    parse_commit,
    parse_header,
    results_hash,
    vote_sign_bytes,
)
from cipherward_chain.orders import ORDERS_KEY, Order, OrderMalformed, OrdersEntry
from cipherward_chain.rejections import (
    BlockMalformed,
    ChainDiffers,
    CommitRejected,
    DataDiffers,
    HeightUnexpected,
    LinkBroken,
    OrdersRejected,
    ResultsDiffer,
    TimeNotIncreasing,
    ValidatorsDiffer,
)
from cipherward_chain.signatures import KeyRefused, SignatureRejected, verify_signature
from cipherward_chain.state_proof import StateProofRejected, verify_state_proof
from cipherward_chain.wire import NANOS


def _vote_counts(
    header: comet.Header, commit: comet.Commit, validator: Validator, signature: comet.CommitSig
) -> bool:
    """Check one validator's part of a commit; say whether it voted for the block."""
    flag = signature.block_id_flag
    if flag == comet.BLOCK_ID_FLAG_ABSENT:
        absent = comet.CommitSig(block_id_flag=flag, timestamp=GO_ZERO_TIME)
        if signature != absent:
            raise CommitRejected("an absent validator has a signature")
        return False
    if flag not in (comet.BLOCK_ID_FLAG_COMMIT, comet.BLOCK_ID_FLAG_NIL):
        raise CommitRejected("a vote of an unknown kind")
    if signature.validator_address != validator.address:
        raise CommitRejected("a vote of another validator")
    voted = flag == comet.BLOCK_ID_FLAG_COMMIT
    block = commit.block_id if voted else None
    octets = vote_sign_bytes(
        header.chain_id, header.height, commit.round, block, signature.timestamp
    )
    try:
        verify_signature(validator.public_key, octets, signature.signature)
    except (KeyRefused, SignatureRejected) as error:
        raise CommitRejected(f"a vote: {error}") from error
    return voted


def verify_commit(header: comet.Header, commit: comet.Commit, validators: ValidatorSet) -> None:
    """Raise unless more than 2/3 of the power of `validators` signed `header`.

    Every signature is checked, also a vote for no block, so that a commit has no bytes to play
    with.

    Raises:
        ValidatorsDiffer: the header names another set.
        CommitRejected: the commit is of another header, or has too few or wrong signatures.
    """
    if validators.hash() != header.validators_hash:
        raise ValidatorsDiffer("the header names another set of validators")
    if all(v.address != header.proposer_address for v in validators.validators):
        raise ValidatorsDiffer("the header's proposer is not in the set")
    if commit.height != header.height or commit.block_id.hash != header_hash(header):
        raise CommitRejected("the commit is of another block")
    if len(commit.block_id.part_set_header.hash) != 32 or commit.round < 0:
        raise CommitRejected("the commit's parts or round are out of form")
    if len(commit.signatures) != len(validators.validators):
        raise CommitRejected("the commit has not one entry for each validator")
    signed = sum(
        validator.power
        for validator, signature in zip(validators.validators, commit.signatures, strict=True)
        if _vote_counts(header, commit, validator, signature)
    )
    if signed * 3 <= validators.power * 2:
        raise CommitRejected(f"{signed} of {validators.power} is not more than two thirds")


def check_next(header: comet.Header, next_header: comet.Header, chain_id: str) -> None:
    """Raise unless `next_header` follows `header` on that chain; signatures are not checked."""
    for one in (header, next_header):
        if one.chain_id != chain_id or one.version.block != BLOCK_PROTOCOL:
            raise ChainDiffers("a header is of another chain or protocol")
    if next_header.height != header.height + 1:
        raise HeightUnexpected(f"{next_header.height} does not follow {header.height}")
    if next_header.last_block_id.hash != header_hash(header):
        raise LinkBroken("the next header names another block")
    if next_header.validators_hash != header.next_validators_hash:
        raise ValidatorsDiffer("the next header has another set than was announced")
    if header_time_ns(next_header) <= header_time_ns(header):
        raise TimeNotIncreasing("the next header is not later")


def verify_orders(block: pb.ProvenBlock, height: int, app_hash: bytes) -> tuple[Order, ...]:
    """Return the orders of a block as the state with root `app_hash` proves them.

    Raises:
        OrdersRejected: they are not proven, not canonical or out of order.
    """
    if not block.transactions:
        if block.orders or block.HasField("orders_proof"):
            raise OrdersRejected("an empty block orders nothing")
        return ()
    if not block.HasField("orders_proof"):
        raise OrdersRejected("the orders are not proven")
    try:
        value = verify_state_proof(block.orders_proof, app_hash, ORDERS_KEY)
        orders = tuple(Order.from_bytes(raw) for raw in block.orders)
    except (StateProofRejected, OrderMalformed) as error:
        raise OrdersRejected(str(error)) from error
    if value != OrdersEntry.of(height, block.orders).to_bytes():
        raise OrdersRejected("the state proves other orders")
    if [(o.height, o.index) for o in orders] != [(height, i) for i in range(len(orders))]:
        raise OrdersRejected("the orders are not numbered as they stand")
    return orders


@dataclass(frozen=True, slots=True)
class VerifiedBlock:
    """A proven block, all of it checked.

    `time_ns` is the block's time and `next_time_ns` that of the certified next header, in Unix
    nanoseconds; `app_hash` is the state after the block; `results` are serialised ExecTxResults.
    Who carries out `orders` stores `checkpoint` in the same transaction.
    """

    height: int
    header_hash: bytes
    time_ns: int
    next_time_ns: int
    app_hash: bytes
    transactions: tuple[bytes, ...]
    results: tuple[bytes, ...]
    orders: tuple[Order, ...]
    checkpoint: Checkpoint

    @property
    def time_seconds(self) -> int:
        """The block's time in whole Unix seconds: what contracts count with."""
        return self.time_ns // NANOS


class LightClient:
    """Follows a chain block by block, from its genesis or from a stored checkpoint.

    Raises:
        CheckpointForeign: the checkpoint is of another chain than the trust root.
    """

    def __init__(self, trust_root: TrustRoot, checkpoint: Checkpoint | None = None) -> None:
        if checkpoint is not None:
            checkpoint.check_root(trust_root)
        self._root = trust_root
        self._checkpoint = checkpoint

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where the client stands; None before the first block."""
        return self._checkpoint

    @property
    def height(self) -> int:
        """The last accepted height; 0 before the first block."""
        return 0 if self._checkpoint is None else self._checkpoint.height

    def accept(self, block: pb.ProvenBlock) -> VerifiedBlock:
        """Verify the block that follows and stand on it; a rejected block changes nothing.

        Raises:
            BlockRejected: one of its subclasses says what is wrong.
        """
        verified = self.verify(block)
        self.stand_on(verified.checkpoint)
        return verified

    def stand_on(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint` of a verified block; for who has something to do first."""
        self._checkpoint = checkpoint

    def verify(self, block: pb.ProvenBlock) -> VerifiedBlock:
        """Verify the block that follows, without standing on it.

        Cost: one verification a validator, about 0.1 ms each, and three hashes a transaction.

        Raises:
            BlockRejected: one of its subclasses says what is wrong.
        """
        try:
            header, next_header = parse_header(block.header), parse_header(block.next_header)
            commit = parse_commit(block.next_commit)
        except (HeaderMalformed, CommitMalformed) as error:
            raise BlockMalformed(str(error)) from error
        validators = self._validators_before(header)
        check_next(header, next_header, self._root.chain_id)
        announced = self._announced(block.next_validators, validators)
        verify_commit(next_header, commit, announced)
        if data_hash(block.transactions) != header.data_hash:
            raise DataDiffers("the transactions are not those of the header")
        results = len(block.results) == len(block.transactions)
        if not results or results_hash(block.results) != next_header.last_results_hash:
            raise ResultsDiffer("the results are not those that the next header certifies")
        checkpoint = Checkpoint(
            chain_id=self._root.chain_id,
            genesis_digest=self._root.genesis_digest,
            height=header.height,
            header_hash=next_header.last_block_id.hash,
            next_header_hash=commit.block_id.hash,
            next_time_ns=header_time_ns(next_header),
            validators=announced,
            app_hash=next_header.app_hash,
        )
        return VerifiedBlock(
            height=header.height,
            header_hash=checkpoint.header_hash,
            time_ns=header_time_ns(header),
            next_time_ns=checkpoint.next_time_ns,
            app_hash=checkpoint.app_hash,
            transactions=tuple(block.transactions),
            results=tuple(block.results),
            orders=verify_orders(block, header.height, next_header.app_hash),
            checkpoint=checkpoint,
        )

    def _validators_before(self, header: comet.Header) -> ValidatorSet:
        """Return the set of `header`, which must be the certified one, or the first of the chain.

        Nothing certifies the first header before its successor is signed, so the successor must
        have the set of the genesis too; CometBFT's changes take effect two blocks later at the
        earliest.
        """
        expected = self.height + 1
        if header.height != expected:
            raise HeightUnexpected(f"{header.height} comes where {expected} should")
        if self._checkpoint is not None:
            if header_hash(header) != self._checkpoint.next_header_hash:
                raise LinkBroken("the header is not the one that was certified")
            return self._checkpoint.validators
        first = self._root.validators.hash()
        if header.validators_hash != first or header.next_validators_hash != first:
            raise ValidatorsDiffer("the first blocks do not have the set of the genesis")
        if header.last_block_id.hash:
            raise LinkBroken("the first header names a block before it")
        return self._root.validators

    @staticmethod
    def _announced(raw: bytes, before: ValidatorSet) -> ValidatorSet:
        """Return the set given for the next header, or the same; `verify_commit` holds it to it."""
        if not raw:
            announced = before
        else:
            try:
                announced = ValidatorSet.from_bytes(raw)
            except ValidatorsMalformed as error:
                raise BlockMalformed(str(error)) from error
            if announced == before:
                raise BlockMalformed("a set that has not changed is not sent")
        return announced
