"""A certified header with the validators who signed it: all that a client that skips looks at."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward.chain.v1 import block_pb2 as pb
from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.comet import (
    BLOCK_PROTOCOL,
    CommitMalformed,
    HeaderMalformed,
    Validator,
    ValidatorSet,
    ValidatorsMalformed,
    header_hash,
    header_time_ns,
    parse_commit,
    parse_header,
)
from cipherward_chain.light import verify_commit
from cipherward_chain.rejections import BlockMalformed, ChainDiffers
from cipherward_chain.wire import exact_bytes


def signers(commit: comet.Commit, validators: ValidatorSet) -> tuple[Validator, ...]:
    """Return who voted for the block of a commit that `verify_commit` has accepted, in order."""
    return tuple(
        validator
        for validator, signature in zip(validators.validators, commit.signatures, strict=True)
        if signature.block_id_flag == comet.BLOCK_ID_FLAG_COMMIT
    )


@dataclass(frozen=True, slots=True)
class LightBlock:
    """A header, its commit and the set that signed it: parsed, and not believed before `verify`.

    `hash` is the header's; `raw` are the three as they came.
    """

    header: comet.Header
    commit: comet.Commit
    validators: ValidatorSet
    hash: bytes
    raw: pb.LightBlock

    @classmethod
    def parse(cls, raw: pb.LightBlock, chain_id: str) -> LightBlock:
        """Return what `raw` claims.

        Raises:
            BlockMalformed: a part is not the one serialised form of what it should be.
            ChainDiffers: it is of another chain or protocol.
        """
        try:
            header, commit = parse_header(raw.header), parse_commit(raw.commit)
            validators = ValidatorSet.from_bytes(raw.validators)
        except (HeaderMalformed, CommitMalformed, ValidatorsMalformed) as error:
            raise BlockMalformed(str(error)) from error
        if header.chain_id != chain_id or header.version.block != BLOCK_PROTOCOL:
            raise ChainDiffers("a header is of another chain or protocol")
        if len(commit.signatures) != len(validators.validators):
            raise BlockMalformed("the commit has not one entry for each validator")
        return cls(header, commit, validators, header_hash(header), raw)

    @classmethod
    def of(cls, header: comet.Header, commit: comet.Commit, validators: ValidatorSet) -> LightBlock:
        """Return the light block of parts that were parsed before."""
        raw = pb.LightBlock(
            header=exact_bytes(header),
            commit=exact_bytes(commit),
            validators=validators.to_bytes(),
        )
        return cls(header, commit, validators, header_hash(header), raw)

    @property
    def height(self) -> int:
        """The header's height."""
        return self.header.height

    @property
    def time_ns(self) -> int:
        """The header's time in Unix nanoseconds."""
        return header_time_ns(self.header)

    @property
    def signers(self) -> tuple[Validator, ...]:
        """Who voted for it, as the commit says; true once `verify` has returned."""
        return signers(self.commit, self.validators)

    def verify(self) -> None:
        """Raise unless more than two thirds of its own set's power signed it.

        Whether that set may be believed is another question: see `light_skipping`.
        Cost: one signature a validator, about 0.1 ms each.

        Raises:
            ValidatorsDiffer: the header names another set.
            CommitRejected: the commit is of another header, or has too few or wrong signatures.
        """
        verify_commit(self.header, self.commit, self.validators)

    def power_in(self, trusted: ValidatorSet) -> int:
        """Return the power, as `trusted` weighs it, of those of `trusted` who signed this."""
        signed = {validator.public_key for validator in self.signers}
        return sum(v.power for v in trusted.validators if v.public_key in signed)
