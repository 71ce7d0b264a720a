"""CometBFT's hashes and signed bytes, over the messages of cipherward.comet.v1.

Two spellings are refused everywhere: what CometBFT's own encoder always writes must be there
(gogoproto's non-nullable messages), and what no hash covers must not (`proposer` and priorities of
a validator set). So a header, a commit and a validator set have one byte string each.

Source: CometBFT v0.38 to v0.40, types/{block,vote,validator_set,part_set,canonical,params}.go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.timestamp_pb2 import Timestamp

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.errors import ChainError
from cipherward_chain.merkle import EMPTY_ROOT, root
from cipherward_chain.wire import (
    NotExact,
    exact_bytes,
    parse_exact,
    timestamp_ns,
    varint,
)

BLOCK_PROTOCOL = 11  # version.block of every line from 0.34 to 0.40
PART_BYTES = 65_536  # types.BlockPartSizeBytes
PRECOMMIT = 2  # SignedMsgType of the votes that make a commit
ADDRESS_BYTES = 20
VALIDATORS_MAX = 100  # above any alliance; bounds the signatures that one header can make us check
GO_ZERO_TIME = Timestamp(seconds=-62_135_596_800)  # what an absent signature carries as its time


class HeaderMalformed(ChainError):
    """A header has a field missing or out of form."""

    reason = "HEADER_MALFORMED"


class CommitMalformed(ChainError):
    """A commit has a field missing or out of form."""

    reason = "COMMIT_MALFORMED"


class ValidatorsMalformed(ChainError):
    """A validator set is empty, unsorted, too large, or carries what its hash does not cover."""

    reason = "VALIDATORS_MALFORMED"


def address(public_key: bytes) -> bytes:
    """Return a validator's address: the first 20 bytes of its key's SHA-256."""
    return hashlib.sha256(public_key).digest()[:ADDRESS_BYTES]


@dataclass(frozen=True, slots=True)
class Validator:
    """One validator: an Ed25519 key (32 bytes) and its voting power, at least 1."""

    public_key: bytes
    power: int

    @property
    def address(self) -> bytes:
        """The validator's address, 20 bytes."""
        return address(self.public_key)


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    """Validators in CometBFT's order: by descending power, then by ascending address.

    Raises:
        ValidatorsMalformed: none or too many, out of order, twice, or with no power.
    """

    validators: tuple[Validator, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.validators) <= VALIDATORS_MAX:
            raise ValidatorsMalformed(f"a set has 1 to {VALIDATORS_MAX} validators")
        if any(v.power < 1 or len(v.public_key) != 32 for v in self.validators):
            raise ValidatorsMalformed("a validator has no power or no Ed25519 key")
        order = [(-v.power, v.address) for v in self.validators]
        if order != sorted(order):
            raise ValidatorsMalformed("the validators are out of order")
        if len({v.public_key for v in self.validators}) != len(self.validators):
            raise ValidatorsMalformed("a validator is there twice")

    @classmethod
    def of(cls, validators: Sequence[Validator]) -> ValidatorSet:
        """Return the set of `validators`, sorted."""
        return cls(tuple(sorted(validators, key=lambda v: (-v.power, v.address))))

    @property
    def power(self) -> int:
        """The voting power of all together."""
        return sum(v.power for v in self.validators)

    def hash(self) -> bytes:
        """Return what `validators_hash` in a header names."""
        return valset_hash(self)

    def to_bytes(self) -> bytes:
        """Return the one serialised cipherward.comet.v1.ValidatorSet."""
        return exact_bytes(
            comet.ValidatorSet(
                validators=[
                    comet.Validator(
                        address=v.address,
                        pub_key=comet.PublicKey(ed25519=v.public_key),
                        voting_power=v.power,
                    )
                    for v in self.validators
                ]
            )
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> ValidatorSet:
        """Return the set whose one serialised form is `raw`, or raise `ValidatorsMalformed`."""
        try:
            message = parse_exact(comet.ValidatorSet, raw)
        except NotExact as error:
            raise ValidatorsMalformed(str(error)) from error
        found = cls(tuple(Validator(v.pub_key.ed25519, v.voting_power) for v in message.validators))
        if found.to_bytes() != raw:  # an address that is not the key's, a proposer, a priority
            raise ValidatorsMalformed("the set carries what its hash does not cover")
        return found


def parse_header(raw: bytes) -> comet.Header:
    """Return the header whose one serialised form is `raw`, or raise `HeaderMalformed`."""
    try:
        header = parse_exact(comet.Header, raw)
        timestamp_ns(header.time)
    except NotExact as error:
        raise HeaderMalformed(str(error)) from error
    block_id = header.last_block_id
    written = (
        header.HasField("version")
        and header.HasField("time")
        and header.HasField("last_block_id")
        and block_id.HasField("part_set_header")
    )
    if not written:
        raise HeaderMalformed("a header lacks what is always written")
    hashes = (header.validators_hash, header.next_validators_hash, header.data_hash)
    if any(len(digest) != 32 for digest in hashes) or header.height < 1:
        raise HeaderMalformed("a hash of a header has not 32 bytes, or its height is below 1")
    if len(block_id.hash) not in (0, 32) or len(header.proposer_address) != ADDRESS_BYTES:
        raise HeaderMalformed("a header's last block or proposer is out of form")
    return header


def parse_commit(raw: bytes) -> comet.Commit:
    """Return the commit whose one serialised form is `raw`, or raise `CommitMalformed`."""
    try:
        commit = parse_exact(comet.Commit, raw)
        for signature in commit.signatures:
            timestamp_ns(signature.timestamp)
    except NotExact as error:
        raise CommitMalformed(str(error)) from error
    if not commit.HasField("block_id") or not commit.block_id.HasField("part_set_header"):
        raise CommitMalformed("a commit lacks what is always written")
    if any(not signature.HasField("timestamp") for signature in commit.signatures):
        raise CommitMalformed("a signature of a commit has no time")
    return commit


def _field(number: int, octets: bytes) -> bytes:
    """A length-delimited protobuf field, left out when empty, as CometBFT's cdcEncode does."""
    return varint(number << 3 | 2) + varint(len(octets)) + octets if octets else b""


def header_hash(header: comet.Header) -> bytes:
    """Return the block hash: the Merkle root over the header's 14 fields."""
    hashes = (
        header.last_commit_hash,
        header.data_hash,
        header.validators_hash,
        header.next_validators_hash,
        header.consensus_hash,
        header.app_hash,
        header.last_results_hash,
        header.evidence_hash,
        header.proposer_address,
    )
    return root(
        [
            exact_bytes(header.version),
            _field(1, header.chain_id.encode()),
            b"\x08" + varint(header.height),
            exact_bytes(header.time),
            exact_bytes(header.last_block_id),
            *(_field(1, digest) for digest in hashes),
        ]
    )


def block_id(header: comet.Header, block: bytes) -> comet.BlockId:
    """Return the id of a block: its header's hash and the part set over its serialised bytes."""
    return comet.BlockId(hash=header_hash(header), part_set_header=part_set(block))


def part_set(block: bytes) -> comet.PartSetHeader:
    """Return the Merkle root over the 64 KiB parts of a serialised block, and their number."""
    parts = [block[at : at + PART_BYTES] for at in range(0, len(block), PART_BYTES)]
    return comet.PartSetHeader(total=len(parts), hash=root(parts))


def valset_hash(validators: ValidatorSet) -> bytes:
    """Return the Merkle root over the set's SimpleValidators (key and power)."""
    return root(
        [
            exact_bytes(
                comet.SimpleValidator(
                    pub_key=comet.PublicKey(ed25519=v.public_key), voting_power=v.power
                )
            )
            for v in validators.validators
        ]
    )


def data_hash(transactions: Sequence[bytes]) -> bytes:
    """Return the Merkle root over the SHA-256 of each transaction."""
    return root([hashlib.sha256(transaction).digest() for transaction in transactions])


def results_hash(results: Sequence[bytes]) -> bytes:
    """Return the Merkle root over serialised ExecTxResults (code, data and gas, nothing else)."""
    return root(results)


def commit_hash(commit: comet.Commit) -> bytes:
    """Return the Merkle root over the commit's signatures."""
    return root([exact_bytes(signature) for signature in commit.signatures])


def evidence_hash() -> bytes:
    """Return the hash of no evidence, the only kind that our blocks carry."""
    return EMPTY_ROOT


def consensus_hash(block_bytes_max: int, gas_max: int) -> bytes:
    """Return the SHA-256 of the hashed consensus parameters (types.HashedParams)."""
    fields = ((1, block_bytes_max), (2, gas_max))
    octets = b"".join(varint(n << 3) + varint(value) for n, value in fields if value)
    return hashlib.sha256(octets).digest()


def vote_sign_bytes(
    chain_id: str, height: int, round_: int, block: comet.BlockId | None, time: Timestamp
) -> bytes:
    """Return what a validator signs as its precommit: a length-prefixed CanonicalVote.

    Args:
        block: the block voted for, or None for a vote for no block.
    """
    vote = comet.CanonicalVote(
        type=PRECOMMIT, height=height, round=round_, timestamp=time, chain_id=chain_id
    )
    if block is not None:
        vote.block_id.hash = block.hash
        vote.block_id.part_set_header.SetInParent()
        vote.block_id.part_set_header.total = block.part_set_header.total
        vote.block_id.part_set_header.hash = block.part_set_header.hash
    octets = exact_bytes(vote)
    return varint(len(octets)) + octets


def empty_commit() -> comet.Commit:
    """Return what the first block carries as the commit before it."""
    commit = comet.Commit()
    commit.block_id.part_set_header.SetInParent()
    return commit


def header_time_ns(header: comet.Header) -> int:
    """Return a header's time in Unix nanoseconds."""
    return timestamp_ns(header.time)
