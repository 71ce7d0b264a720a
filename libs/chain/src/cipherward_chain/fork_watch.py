"""Holding every block that comes against what was certified before: is the chain still one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cipherward.chain.v1 import block_pb2 as pb
from cipherward_chain.checkpoint import Checkpoint
from cipherward_chain.comet import (
    CommitMalformed,
    HeaderMalformed,
    ValidatorSet,
    header_hash,
    parse_commit,
    parse_header,
)
from cipherward_chain.evidence import Branch, EvidenceRejected, ForkEvidence
from cipherward_chain.light import verify_commit
from cipherward_chain.rejections import BlockRejected

# What is remembered of the chain, a kilobyte each: on an idle chain 85 minutes, under load some
# seconds. A feed that repeats an older block cannot be told from one that lies; it moves nothing.
HEADERS_KEPT: Final = 512


@dataclass(frozen=True, slots=True)
class _Known:
    hash: bytes
    header: bytes
    commit: bytes
    validators: ValidatorSet

    def branch(self) -> Branch:
        return Branch(self.header, b"", self.commit, self.validators.to_bytes())


class ForkWatch:
    """The newest certified headers of a reader, and what contradicts them."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}  # by ascending height

    def knows(self, height: int) -> bool:
        """Say whether the header of `height` is remembered with its commit."""
        return height in self._known

    def certified(self, block: pb.ProvenBlock, checkpoint: Checkpoint) -> None:
        """Remember the next header of a block that was verified.

        Args:
            block: the verified one.
            checkpoint: where it leads.
        """
        self._known[checkpoint.height + 1] = _Known(
            checkpoint.next_header_hash, block.next_header, block.next_commit, checkpoint.validators
        )
        if len(self._known) > HEADERS_KEPT:
            del self._known[next(iter(self._known))]

    def recall(self, block: pb.ProvenBlock, place: Checkpoint) -> None:
        """Remember the certified header of a checkpoint, if `block` shows it; else do nothing.

        Args:
            block: unverified, as a feed repeats the last one that was carried out.
            place: where the reader stands.
        """
        try:
            header, commit = parse_header(block.next_header), parse_commit(block.next_commit)
            verify_commit(header, commit, place.validators)
        except (HeaderMalformed, CommitMalformed, BlockRejected):
            return
        if header_hash(header) == place.next_header_hash:
            self.certified(block, place)

    def conflict(self, block: pb.ProvenBlock) -> ForkEvidence | None:
        """Return the evidence if `block` proves a fork, None if it proves nothing.

        A block that repeats what is known costs two hashes; only one that differs has its
        signatures checked.
        """
        try:
            header, successor = parse_header(block.header), parse_header(block.next_header)
        except HeaderMalformed:
            return None
        known, after = self._known.get(header.height), self._known.get(successor.height)
        if known is not None and known.hash != header_hash(header):
            against, parts = known, (block.header, block.next_header)
        elif after is not None and after.hash != header_hash(successor):
            against, parts = after, (block.next_header, b"")
        else:
            return None
        validators = block.next_validators or (known or against).validators.to_bytes()
        evidence = ForkEvidence.of(
            against.branch(), Branch(parts[0], parts[1], block.next_commit, validators)
        )
        try:
            evidence.verify(against.validators)
        except EvidenceRejected:
            return None
        return evidence
