"""Settings of the storage service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_member.config import SigningServiceConfig

GIBIBYTE = 1024**3


class StorageConfig(SigningServiceConfig):
    """Every knob of the storage service; `docs/configuration.md` is generated from it."""

    custodian_key_file: Path = Field(
        description="Secret of this member's HPKE custodian key, 96 raw bytes; it opens every slot."
    )
    record_bytes_max: int = Field(
        default=4 * GIBIBYTE,  # a whole-slide image or a CT series; a table of tags of 64 KiB
        ge=1,
        le=1024 * GIBIBYTE,
        description="Longest ciphertext of one record.",
    )
    quota_bytes: int = Field(
        default=1024 * GIBIBYTE,
        ge=1,
        description="Ciphertext of all records and uploads under way.",
    )
    disk_reserve_bytes: int = Field(
        default=GIBIBYTE,  # SQLite, other services' data and logs go on when uploads end
        ge=0,
        description="What uploads leave free on the disk.",
    )
    stall_seconds: float = Field(
        default=60.0,  # a mobile connection that is gone for longer resumes
        ge=1,
        le=3600,
        description="How long the client of an upload or a download may stand still.",
    )
