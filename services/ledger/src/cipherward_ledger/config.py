"""The ledger's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_member.config import SigningServiceConfig


class LedgerConfig(SigningServiceConfig):
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
