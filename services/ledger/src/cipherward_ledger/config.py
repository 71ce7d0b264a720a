"""The ledger's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from cipherward_kit.config import Address
from cipherward_ledger.publishing.config import PublishingConfig
from cipherward_member.config import SigningServiceConfig

# The node replays at most one block after a kill, contract keeps 128 outcomes, and a follower that
# was down for an hour of heartbeats needs 360 blocks.
RETAIN_BLOCKS_MIN = 1_000


def _enough(blocks: int) -> int:
    if 0 < blocks < RETAIN_BLOCKS_MIN:
        raise PydanticCustomError("retain", "0 keeps all; else at least 1000")
    return blocks


class LedgerConfig(SigningServiceConfig, PublishingConfig):
    """Every setting of the ledger; `docs/configuration.md` is generated from it."""

    validator_key_file: Path = Field(
        description="Ed25519 seed of this validator's consensus key: 32 raw bytes, mode 0600."
    )
    pending_max: int = Field(
        # Some ten seconds of full load: a sender who is told to wait sooner loses nothing.
        default=20_000,
        ge=1,
        le=1_000_000,
        description="Transactions that may wait for a block; further ones are refused.",
    )
    pending_bytes_max: int = Field(
        default=64 * 1024 * 1024,  # with Python's own overhead about 80 MiB of memory
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="Bytes of transactions that may wait for a block.",
    )
    gather_milliseconds: int = Field(
        # A fsync takes about as long: gathering costs little latency and saves many blocks.
        default=5,
        ge=0,
        le=1_000,
        description="How long an idle chain gathers transactions before it makes a block.",
    )
    block_transactions_max: int = Field(
        # About a quarter second of contract's work: more would only lengthen everybody's wait.
        default=500,
        ge=1,
        le=10_000,
        description="Transactions in one block.",
    )
    retain_blocks: Annotated[int, AfterValidator(_enough)] = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="Newest blocks that are kept, at least 1000; older ones are pruned. 0: all.",
    )
    node_key_file: Path | None = Field(
        default=None,
        description="Ed25519 seed of the consensus node's connections, 32 raw bytes, mode 0600; "
        "needed by the engine cometbft.",
    )
    cometbft_binary: Path = Field(
        default=Path("cometbft"),
        description="The consensus node's program, CometBFT 0.40; a name is looked up on PATH.",
    )
    p2p_listen: Address | None = Field(
        default=None,
        description="Address where the other members' nodes reach this one, host:port; needed by "
        "the engine cometbft.",
    )
    consensus_profile: Literal["latency", "throughput"] = Field(
        default="latency",
        description="What the node is tuned for; every member of an alliance takes the same.",
    )
