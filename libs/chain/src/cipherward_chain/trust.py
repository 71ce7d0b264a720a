"""A header that is believed, from which others are reached: genesis, checkpoint or light block."""

from __future__ import annotations

from dataclasses import dataclass

from cipherward_chain.checkpoint import Checkpoint, TrustRoot
from cipherward_chain.comet import ValidatorSet
from cipherward_chain.light_block import LightBlock


@dataclass(frozen=True, slots=True)
class TrustPoint:
    """A believed header: its height, hash, time (Unix nanoseconds) and the set of its height.

    `next_validators_hash` is what it announces, or empty where the header itself is not at hand.
    The genesis is the point of height 0: no header, but the sets of the first two.
    """

    height: int
    header_hash: bytes
    time_ns: int
    validators: ValidatorSet
    next_validators_hash: bytes = b""

    @classmethod
    def of_genesis(cls, root: TrustRoot, time_ns: int) -> TrustPoint:
        """Return the point before the first header.

        Args:
            time_ns: the genesis time; CometBFT gives it to the first header too, so the point is a
                nanosecond before it.
        """
        return cls(0, b"", time_ns - 1, root.validators, root.validators.hash())

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> TrustPoint:
        """Return the newest certified header of a reader that stands on `checkpoint`."""
        return cls(
            checkpoint.height + 1,
            checkpoint.next_header_hash,
            checkpoint.next_time_ns,
            checkpoint.validators,
        )

    @classmethod
    def of(cls, block: LightBlock) -> TrustPoint:
        """Return the point of a light block that was verified from another point."""
        return cls(
            block.height,
            block.hash,
            block.time_ns,
            block.validators,
            block.header.next_validators_hash,
        )


def checkpoint_at(block: LightBlock, root: TrustRoot) -> Checkpoint:
    """Return where a sequential reader goes on so that its next block is that of `block`.

    The header says all of it: the header before it, and the state after that one.

    Args:
        block: verified, of height 2 or more: before the first block nobody needs a checkpoint.
        root: whose chain it is.
    """
    if block.height < 2:
        raise ValueError("a reader begins at the genesis, not at a checkpoint before it")
    return Checkpoint(
        chain_id=root.chain_id,
        genesis_digest=root.genesis_digest,
        height=block.height - 1,
        header_hash=block.header.last_block_id.hash,
        next_header_hash=block.hash,
        next_time_ns=block.time_ns,
        validators=block.validators,
        app_hash=block.header.app_hash,
    )
