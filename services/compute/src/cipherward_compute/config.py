"""Settings of the compute service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_member.config import KafkaConfig, SigningServiceConfig


class ComputeConfig(SigningServiceConfig, KafkaConfig):
    """Every knob of the compute service; `docs/configuration.md` is generated from it."""

    ceremony_key_file: Path = Field(
        description="Root of this member's study secrets, 32 raw random bytes."
    )
    data_key_file: Path = Field(
        description="Key of rows and key shares at rest (AES-256-GCM), 32 raw random bytes."
    )
    jobs_waiting_max: int = Field(
        # A job takes 2 to 20 ms; a study has at most one at a time here, and studies are few.
        default=64,
        ge=1,
        le=10_000,
        description="Pieces of arithmetic that may wait for a worker.",
    )
    studies_at_once_max: int = Field(
        # Each holds a few ciphertexts of 0.4 MB a member while it fetches and adds.
        default=8,
        ge=1,
        le=256,
        description="Studies whose orders are carried out at the same time; further ones wait.",
    )
    specs_waiting_max: int = Field(
        default=256,  # of at most 256 KiB: 64 MiB that anybody may occupy for two days
        ge=1,
        le=100_000,
        description="Study texts kept for a start order that has not come.",
    )
