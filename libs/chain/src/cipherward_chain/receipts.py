"""Receipts: one transaction, its result and everything that proves both, without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.checkpoint import TrustRoot
from cipherward_chain.comet import (
    CommitMalformed,
    HeaderMalformed,
    ValidatorSet,
    ValidatorsMalformed,
    header_hash,
    header_time_ns,
    parse_commit,
    parse_header,
)
from cipherward_chain.errors import ChainError
from cipherward_chain.light import check_next, verify_commit
from cipherward_chain.light_block import signers
from cipherward_chain.merkle import (
    ProofRejected,
    Tree,
    leaf_hash,
    root_from_proof,
    smallest_total,
)
from cipherward_chain.rejections import BlockRejected, ValidatorsDiffer
from cipherward_chain.results import ResultMalformed, TransactionResult
from cipherward_chain.transactions import (
    ParsedTransaction,
    TransactionMalformed,
    TransactionTooLarge,
    parse_transaction,
)
from cipherward_chain.trust import TrustPoint
from cipherward_chain.wire import NANOS, NotExact, exact_bytes, parse_exact

CHANGES_MAX = 1_000  # changes of membership in a receipt; bounds the work on a hostile one


class ReceiptRejected(ChainError):
    """A receipt does not prove what it says; `step` names the check that failed."""

    reason = "RECEIPT_REJECTED"

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a receipt has proven against a trust root.

    `time_ns` is the block's time in Unix nanoseconds; `engine` says who vouches for order and time
    (`solo`: one operator), `signed` of `validators` validators signed the header that certifies it.
    `anchored` says that the way there led through a trusted checkpoint; without one, or before it,
    the validators of the genesis and those that they announced are all that it rests on. A path
    does not prove how many transactions a block has, so neither that number nor the place is here.
    """

    transaction: ParsedTransaction
    result: TransactionResult
    chain_id: str
    height: int
    time_ns: int
    engine: str
    signed: int
    validators: int
    anchored: bool

    @property
    def time_seconds(self) -> int:
        """The block's time in whole Unix seconds."""
        return self.time_ns // NANOS


class BlockReceipts:
    """Makes the receipts of one proven block; its two trees are hashed once.

    Args:
        validators: the set of the block's height + 1.
        changes: every change of the set since the genesis, up to that height, by ascending height.
    """

    def __init__(
        self,
        block: pb.ProvenBlock,
        validators: ValidatorSet,
        changes: Sequence[pb.ValidatorChange] = (),
    ) -> None:
        self._block = block
        self._validators = validators.to_bytes()
        self._changes = tuple(changes)
        hashes = [hashlib.sha256(transaction).digest() for transaction in block.transactions]
        self._transactions = Tree([leaf_hash(digest) for digest in hashes])
        self._results = Tree([leaf_hash(result) for result in block.results])

    def receipt(self, index: int) -> bytes:
        """Return the serialised receipt of transaction `index`.

        Raises:
            IndexError: the block has no such transaction.
        """
        block = self._block
        aunts = self._transactions.path(index)
        return exact_bytes(
            pb.Receipt(
                transaction=block.transactions[index],
                result=block.results[index],
                index=index,
                total=smallest_total(index, len(block.transactions)),
                transaction_aunts=aunts,
                result_aunts=self._results.path(index),
                header=block.header,
                next_header=block.next_header,
                next_commit=block.next_commit,
                validators=self._validators,
                validator_changes=self._changes,
            )
        )


def build_receipt(
    block: pb.ProvenBlock,
    index: int,
    validators: ValidatorSet,
    changes: Sequence[pb.ValidatorChange] = (),
) -> bytes:
    """Return the serialised receipt of one transaction; for several use `BlockReceipts`.

    Raises:
        IndexError: the block has no such transaction.
    """
    return BlockReceipts(block, validators, changes).receipt(index)


def verify_receipt(
    raw: bytes, trust_root: TrustRoot, checkpoint: TrustPoint | None = None
) -> VerifiedReceipt:
    """Return what the serialised receipt `raw` proves to someone who trusts `trust_root`.

    A receipt has one byte string only, and every byte of it is checked. A receipt stays valid for
    ever, also when the validators who signed it have left. Whoever fears that keys of members who
    left were stolen since gives a later `checkpoint` too: what comes after it must then come
    through it. Cost: one signature a validator and change of the set, below 1 ms for a solo chain.

    Raises:
        ReceiptRejected: `step` is form, transaction, result, validators, link, commit or inclusion.
    """
    receipt, header, next_header, commit = _parse(raw)
    try:
        transaction = parse_transaction(receipt.transaction)
    except (TransactionMalformed, TransactionTooLarge) as error:
        raise ReceiptRejected("transaction", str(error)) from error
    try:
        result = TransactionResult.from_bytes(receipt.result)
    except ResultMalformed as error:
        raise ReceiptRejected("result", str(error)) from error
    validators = _follow_changes(receipt, next_header, trust_root)
    anchored = checkpoint is not None and checkpoint.height <= next_header.height
    if checkpoint is not None and anchored:
        _check_way(receipt, (header, next_header), trust_root, checkpoint)
    try:
        check_next(header, next_header, trust_root.chain_id)
    except BlockRejected as error:
        raise ReceiptRejected("link", str(error)) from error
    try:
        verify_commit(next_header, commit, validators)
    except BlockRejected as error:
        raise ReceiptRejected("commit", str(error)) from error
    _check_inclusion(receipt, header, next_header)
    if transaction.body.chain_id != trust_root.chain_id:
        raise ReceiptRejected("transaction", "it is for another chain")
    return VerifiedReceipt(
        transaction=transaction,
        result=result,
        chain_id=trust_root.chain_id,
        height=header.height,
        time_ns=header_time_ns(header),
        engine=trust_root.engine,
        signed=len(signers(commit, validators)),
        validators=len(validators.validators),
        anchored=anchored,
    )


def _parse(raw: bytes) -> tuple[pb.Receipt, comet.Header, comet.Header, comet.Commit]:
    try:
        receipt = parse_exact(pb.Receipt, raw)
        header, next_header = parse_header(receipt.header), parse_header(receipt.next_header)
        commit = parse_commit(receipt.next_commit)
    except (NotExact, HeaderMalformed, CommitMalformed) as error:
        raise ReceiptRejected("form", str(error)) from error
    if len(receipt.validator_changes) > CHANGES_MAX:
        raise ReceiptRejected("form", f"more than {CHANGES_MAX} changes of the set")
    return receipt, header, next_header, commit


def _follow_changes(
    receipt: pb.Receipt, next_header: comet.Header, trust_root: TrustRoot
) -> ValidatorSet:
    """Return the set that signed `next_header`, reached from the trust root's by signed changes."""
    trusted, height = trust_root.validators, 0
    try:
        for change in receipt.validator_changes:
            header = parse_header(change.header)
            announced = ValidatorSet.from_bytes(change.validators)
            if header.chain_id != trust_root.chain_id or not (
                height < header.height < next_header.height
            ):
                raise ValidatorsDiffer("a change is of another chain or out of order")
            verify_commit(header, parse_commit(change.commit), trusted)
            if announced == trusted or announced.hash() != header.next_validators_hash:
                raise ValidatorsDiffer("a change announces another set")
            trusted, height = announced, header.height
    except (HeaderMalformed, CommitMalformed, ValidatorsMalformed, BlockRejected) as error:
        raise ReceiptRejected("validators", str(error)) from error
    if receipt.validators != trusted.to_bytes():
        raise ReceiptRejected("validators", "the set is not the one that the changes lead to")
    return trusted


def _check_way(
    receipt: pb.Receipt,
    certified: tuple[comet.Header, comet.Header],
    trust_root: TrustRoot,
    checkpoint: TrustPoint,
) -> None:
    """Raise unless the verified way to the receipt's headers leads through `checkpoint`."""
    current = trust_root.validators
    headers = list(certified)
    for change in receipt.validator_changes:
        header = parse_header(change.header)
        headers.append(header)
        if header.height < checkpoint.height:
            current = ValidatorSet.from_bytes(change.validators)
    if current != checkpoint.validators:
        raise ReceiptRejected("validators", "the changes lead past the trusted checkpoint")
    for header in headers:
        if header.height == checkpoint.height and header_hash(header) != checkpoint.header_hash:
            raise ReceiptRejected("link", "the header is not that of the trusted checkpoint")


def _check_inclusion(receipt: pb.Receipt, header: comet.Header, next_header: comet.Header) -> None:
    index, total = receipt.index, receipt.total
    transaction = leaf_hash(hashlib.sha256(receipt.transaction).digest())
    result = leaf_hash(receipt.result)
    try:
        data = root_from_proof(transaction, index, total, receipt.transaction_aunts)
        results = root_from_proof(result, index, total, receipt.result_aunts)
    except ProofRejected as error:
        raise ReceiptRejected("inclusion", str(error)) from error
    if total != smallest_total(index, total):
        raise ReceiptRejected("inclusion", "the size is not the one that is written for this path")
    if data != header.data_hash:
        raise ReceiptRejected("inclusion", "the transaction is not in the block")
    if results != next_header.last_results_hash:
        raise ReceiptRejected("inclusion", "the result is not certified")
