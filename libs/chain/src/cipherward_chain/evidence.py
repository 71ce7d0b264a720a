"""Evidence of a fork: two certified headers of one height, and who signed both.

Fewer than a third of an alliance's power lie; then no two headers of one height can both be
certified, since any two thirds and any two thirds share more than a third. So whoever shows two has
shown that this bound does not hold, and names members who broke the protocol.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cipherward.comet.v1 import types_pb2 as comet
from cipherward_chain.canonical import NotCanonical, decode, encode
from cipherward_chain.comet import (
    CommitMalformed,
    HeaderMalformed,
    Validator,
    ValidatorSet,
    ValidatorsMalformed,
    header_hash,
    parse_commit,
    parse_header,
)
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields
from cipherward_chain.light import check_next, verify_commit
from cipherward_chain.light_block import LightBlock, signers
from cipherward_chain.rejections import BlockRejected

FORMAT: Final = 1  # of the canonical bytes
# Two headers, two commits and two sets of the most validators that a set may have are 60 kB.
EVIDENCE_BYTES_MAX: Final = 128 * 1024


class EvidenceMalformed(ChainError):
    """Bytes are not the one form of evidence."""

    reason = "EVIDENCE_MALFORMED"


class EvidenceRejected(ChainError):
    """Two headers do not show a fork to somebody who trusts that set."""

    reason = "EVIDENCE_REJECTED"


class ChainForked(ChainError):
    """The chain has two certified headers of one height: nobody can say which one counts."""

    reason = "CHAIN_FORKED"

    def __init__(self, evidence: ForkEvidence) -> None:
        super().__init__("two certified headers of one height were seen")
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Branch:
    """One certified header of the fork's height, serialised parts.

    Its own commit certifies it, or that of a `successor` that names it (what a feed carries: a
    proven block has the commit of its next header only). `validators` signed that commit.
    """

    header: bytes
    successor: bytes
    commit: bytes
    validators: bytes

    @classmethod
    def of(cls, block: LightBlock) -> Branch:
        """Return the branch of a header with its own commit."""
        return cls(block.raw.header, b"", block.raw.commit, block.raw.validators)


@dataclass(frozen=True, slots=True)
class _Certified:
    """A branch whose own signatures are right."""

    header: comet.Header
    hash: bytes
    commit: comet.Commit
    signers: frozenset[bytes]  # public keys


def _certified(branch: Branch) -> _Certified:
    try:
        header, commit = parse_header(branch.header), parse_commit(branch.commit)
        validators = ValidatorSet.from_bytes(branch.validators)
        signed = header
        if branch.successor:
            signed = parse_header(branch.successor)
            check_next(header, signed, header.chain_id)
        verify_commit(signed, commit, validators)
    except (HeaderMalformed, CommitMalformed, ValidatorsMalformed, BlockRejected) as error:
        raise EvidenceRejected(f"a header is not certified: {error}") from error
    keys = frozenset(v.public_key for v in signers(commit, validators))
    return _Certified(header, header_hash(header), commit, keys)


@dataclass(frozen=True, slots=True)
class Fork:
    """What evidence has proven to somebody who trusts a set of validators.

    `signed_both` are those of that set who signed for both headers. `double_signed` are they too if
    both signatures are of one height and round, which no honest validator ever gives; otherwise it
    is empty: that so many signed both proves that the alliance's bound is broken, not which of them
    broke it (an honest validator may vote in a later round for what others made it believe).
    """

    chain_id: str
    height: int
    header_hashes: tuple[bytes, bytes]
    signed_both: tuple[Validator, ...]
    double_signed: tuple[Validator, ...]


@dataclass(frozen=True, slots=True)
class ForkEvidence:
    """Two branches, in one order whoever saw which first. Use `of`, which puts them into it."""

    one: Branch
    other: Branch

    @classmethod
    def of(cls, one: Branch, other: Branch) -> ForkEvidence:
        """Return the evidence of two branches in either order."""
        pair = sorted((one, other), key=lambda b: (hashlib.sha256(b.header).digest(), b.commit))
        return cls(pair[0], pair[1])

    def verify(self, trusted: ValidatorSet) -> Fork:
        """Return who is shown to have signed both, or raise.

        Args:
            trusted: the set of the fork's height, or of a header from which skipping would reach
                it: what counts is that more than a third of *its* power signed both.

        Cost: one signature a validator and branch.

        Raises:
            EvidenceRejected: the headers are not certified, not of one height and chain, or not
                two; or a third of the trusted power or less signed both.
        """
        one, other = _certified(self.one), _certified(self.other)
        if one.header.chain_id != other.header.chain_id or one.header.height != other.header.height:
            raise EvidenceRejected("the headers are of different heights or chains")
        if one.hash == other.hash:
            raise EvidenceRejected("both headers are the same")
        both = one.signers & other.signers
        named = tuple(v for v in trusted.validators if v.public_key in both)
        if 3 * sum(v.power for v in named) <= trusted.power:
            raise EvidenceRejected("not more than a third of the trusted power signed both")
        places = {(c.commit.height, c.commit.round) for c in (one, other)}
        return Fork(
            chain_id=one.header.chain_id,
            height=one.header.height,
            header_hashes=(one.hash, other.hash),
            signed_both=named,
            double_signed=named if len(places) == 1 else (),
        )

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return encode({"format": FORMAT, "one": _to_map(self.one), "other": _to_map(self.other)})

    @classmethod
    def from_bytes(cls, raw: bytes) -> ForkEvidence:
        """Return the evidence whose canonical bytes are `raw`, or raise `EvidenceMalformed`."""
        if len(raw) > EVIDENCE_BYTES_MAX:
            raise EvidenceMalformed("evidence is not so long")
        try:
            fields = Fields(decode(raw))
            version = fields.integer("format")
            one, other = _from_map(fields, "one"), _from_map(fields, "other")
            fields.end()
        except NotCanonical as error:
            raise EvidenceMalformed(f"not evidence: {error}") from error
        if version != FORMAT:
            raise EvidenceMalformed(f"evidence of format {version}")
        found = cls.of(one, other)
        if found.one != one:
            raise EvidenceMalformed("the headers are out of order")
        return found

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the evidence's name."""
        return hashlib.sha256(self.to_bytes()).digest()


def _to_map(branch: Branch) -> dict[str, bytes]:
    return {
        "header": branch.header,
        "successor": branch.successor,
        "commit": branch.commit,
        "validators": branch.validators,
    }


def _from_map(outer: Fields, name: str) -> Branch:
    fields = Fields(outer.mapping(name))
    found = Branch(
        header=fields.octets("header"),
        successor=fields.octets("successor"),
        commit=fields.octets("commit"),
        validators=fields.octets("validators"),
    )
    fields.end()
    return found
