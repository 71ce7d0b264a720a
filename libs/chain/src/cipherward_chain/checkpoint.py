"""What a reader trusts before the first block, and what it keeps to go on after a restart."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.canonical import NotCanonical, decode, encode
from cipherward_chain.comet import ValidatorSet, ValidatorsMalformed
from cipherward_chain.errors import ChainError
from cipherward_chain.fields import Fields

FORMAT = 1  # of the stored bytes


class CheckpointMalformed(ChainError):
    """Bytes are not a checkpoint."""

    reason = "CHECKPOINT_MALFORMED"


class CheckpointForeign(ChainError):
    """A checkpoint is of another chain, or of another genesis."""

    reason = "CHECKPOINT_FOREIGN"


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """What is got out of band: everything that a reader believes is verified against it.

    `genesis_digest` is the SHA-256 of the genesis document, `validators` is the set of the first
    block, and `engine` is `solo` or `cometbft`: a solo chain's operator is trusted for order and
    time.
    """

    chain_id: str
    genesis_digest: bytes
    validators: ValidatorSet
    engine: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a reader stands: everything that the next block is verified against.

    Block `height` was accepted; the header of `height` + 1 is certified (`next_header_hash`, its
    time `next_time_ns`) and `validators` is the set of `height` + 1. `app_hash` is the state after
    `height`.
    """

    chain_id: str
    genesis_digest: bytes
    height: int
    header_hash: bytes
    next_header_hash: bytes
    next_time_ns: int
    validators: ValidatorSet
    app_hash: bytes

    def to_bytes(self) -> bytes:
        """Return the canonical bytes to be stored with what the block has changed."""
        return encode(
            {
                "format": FORMAT,
                "chain_id": self.chain_id,
                "genesis_digest": self.genesis_digest,
                "height": self.height,
                "header_hash": self.header_hash,
                "next_header_hash": self.next_header_hash,
                "next_time_ns": self.next_time_ns,
                "validators": self.validators.to_bytes(),
                "app_hash": self.app_hash,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Checkpoint:
        """Return the stored checkpoint, or raise `CheckpointMalformed`."""
        try:
            fields = Fields(decode(raw))
            version = fields.integer("format")
            found = cls(
                chain_id=fields.text("chain_id"),
                genesis_digest=fields.octets("genesis_digest", length=32),
                height=fields.integer("height", minimum=1),
                header_hash=fields.octets("header_hash", length=32),
                next_header_hash=fields.octets("next_header_hash", length=32),
                next_time_ns=fields.integer("next_time_ns"),
                validators=ValidatorSet.from_bytes(fields.octets("validators")),
                app_hash=fields.octets("app_hash"),
            )
            fields.end()
        except (NotCanonical, ValidatorsMalformed) as error:
            raise CheckpointMalformed(f"not a checkpoint: {error}") from error
        if version != FORMAT:
            raise CheckpointMalformed(f"a checkpoint of format {version}")
        return found

    def check_root(self, trust_root: TrustRoot) -> None:
        """Raise `CheckpointForeign` unless the checkpoint is of the trust root's chain."""
        mine = (self.chain_id, self.genesis_digest)
        if mine != (trust_root.chain_id, trust_root.genesis_digest):
            raise CheckpointForeign("the checkpoint is of another chain or genesis")
