"""Settings of the compute service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_compute.jobs.config import JobsConfig
from cipherward_member.config import SigningServiceConfig


class ComputeConfig(SigningServiceConfig, JobsConfig):
    """Every knob of the compute service; `docs/configuration.md` is generated from it."""

    ceremony_key_file: Path = Field(
        description="Root of this member's study secrets, 32 raw random bytes."
    )
    data_key_file: Path = Field(
        description="Key of rows and key shares at rest (AES-256-GCM), 32 raw random bytes."
    )
    studies_at_once_max: int = Field(
        # Each holds a batch a member while it fetches and adds: 2 MB most often, 15 MB at most.
        default=8,
        ge=1,
        le=256,
        description="Studies whose orders are carried out at the same time; further ones wait.",
    )
    specs_waiting_max: int = Field(
        default=256,  # of 256 KiB, and of 64 KiB: 80 MiB that anybody may occupy for two days
        ge=1,
        le=100_000,
        description="Study texts kept for a start order that has not come, and as many"
        " parameters of rounds and risk models.",
    )
