"""The node's JSON answers, and the messages made from them whose bytes the chain's hashes cover.

The node is our own child, so its answers are read as they come; what matters is checked by hash.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, BeforeValidator, ConfigDict

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import Validator, ValidatorSet
from cipherward_chain.rfc3339 import TimeMalformed, parse_time
from cipherward_chain.wire import timestamp_of


def _hexadecimal(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("not hexadecimal")
    return bytes.fromhex(value)


def _base64(value: object) -> bytes:
    """Go writes no bytes as null."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise ValueError("not base64")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def _time(value: object) -> Timestamp:
    """Go's zero time, which an absent signature has, is in the first second of the year 1."""
    try:
        return timestamp_of(parse_time(value if isinstance(value, str) else ""))
    except TimeMalformed:
        raise ValueError("not a time") from None


Hexadecimal = Annotated[bytes, BeforeValidator(_hexadecimal)]
Base64 = Annotated[bytes, BeforeValidator(_base64)]
Time = Annotated[Timestamp, BeforeValidator(_time)]


class Answer(BaseModel):
    """Part of an answer; what nobody here needs is skipped. Numbers of 64 bits come as texts."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)


class PartsJson(Answer):
    """A part-set header."""

    total: int
    hash: Hexadecimal


class BlockIdJson(Answer):
    """A block's id."""

    hash: Hexadecimal
    parts: PartsJson

    def message(self) -> comet.BlockId:
        """Return the message; its part-set header is written also when it is empty."""
        found = comet.BlockId(hash=self.hash)
        found.part_set_header.SetInParent()
        found.part_set_header.total = self.parts.total
        found.part_set_header.hash = self.parts.hash
        return found


class VersionJson(Answer):
    """A header's protocol and machine version; Go leaves out a zero."""

    block: int = 0
    app: int = 0


class HeaderJson(Answer):
    """A header."""

    version: VersionJson
    chain_id: str
    height: int
    time: Time
    last_block_id: BlockIdJson
    last_commit_hash: Hexadecimal
    data_hash: Hexadecimal
    validators_hash: Hexadecimal
    next_validators_hash: Hexadecimal
    consensus_hash: Hexadecimal
    app_hash: Hexadecimal
    last_results_hash: Hexadecimal
    evidence_hash: Hexadecimal
    proposer_address: Hexadecimal

    def message(self) -> comet.Header:
        """Return the message."""
        return comet.Header(
            version=comet.Consensus(block=self.version.block, app=self.version.app),
            chain_id=self.chain_id,
            height=self.height,
            time=self.time,
            last_block_id=self.last_block_id.message(),
            last_commit_hash=self.last_commit_hash,
            data_hash=self.data_hash,
            validators_hash=self.validators_hash,
            next_validators_hash=self.next_validators_hash,
            consensus_hash=self.consensus_hash,
            app_hash=self.app_hash,
            last_results_hash=self.last_results_hash,
            evidence_hash=self.evidence_hash,
            proposer_address=self.proposer_address,
        )


class SignatureJson(Answer):
    """One validator's part of a commit."""

    block_id_flag: int
    validator_address: Hexadecimal
    timestamp: Time
    signature: Base64

    def message(self) -> comet.CommitSig:
        """Return the message."""
        return comet.CommitSig(
            block_id_flag=comet.BlockIdFlag.ValueType(self.block_id_flag),
            validator_address=self.validator_address,
            timestamp=self.timestamp,
            signature=self.signature,
        )


class CommitJson(Answer):
    """A commit."""

    height: int
    round: int
    block_id: BlockIdJson
    signatures: tuple[SignatureJson, ...]

    def message(self) -> comet.Commit:
        """Return the message."""
        return comet.Commit(
            height=self.height,
            round=self.round,
            block_id=self.block_id.message(),
            signatures=[one.message() for one in self.signatures],
        )


class SignedHeaderJson(Answer):
    """A header with its commit."""

    header: HeaderJson
    commit: CommitJson


class CommitAnswer(Answer):
    """What `commit` answers."""

    signed_header: SignedHeaderJson


class DataJson(Answer):
    """A block's transactions."""

    txs: tuple[Base64, ...]


class BlockJson(Answer):
    """A block, of which its header and commits are not taken from here."""

    data: DataJson
    evidence: dict[str, object]


class BlockAnswer(Answer):
    """What `block` answers."""

    block: BlockJson


class PublicKeyJson(Answer):
    """An Ed25519 key."""

    value: Base64


class ValidatorJson(Answer):
    """A validator."""

    pub_key: PublicKeyJson
    voting_power: int


class ValidatorsAnswer(Answer):
    """What `validators` answers."""

    validators: tuple[ValidatorJson, ...]
    total: int

    def validator_set(self) -> ValidatorSet:
        """Return the set, sorted as its hash wants it."""
        return ValidatorSet.of(
            [Validator(one.pub_key.value, one.voting_power) for one in self.validators]
        )


class SyncJson(Answer):
    """How far a node has come."""

    latest_block_height: int
    catching_up: bool


class StatusAnswer(Answer):
    """What `status` answers."""

    sync_info: SyncJson


class ErrorJson(Answer):
    """Why a question was refused."""

    code: int = 0
    message: str = ""
    data: str = ""
