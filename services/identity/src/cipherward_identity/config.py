"""Settings of the identity service."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_member.config import KafkaConfig, SigningServiceConfig


class IdentityConfig(SigningServiceConfig, KafkaConfig):
    """Every knob of the identity service; `docs/configuration.md` is generated from it."""

    issuer_key_file: Path = Field(
        description="Key material of this issuer, 32 raw random bytes, mode 0600; the registry "
        "has its key. Shares of the members' opening key are kept under a key derived from it."
    )
    jobs_waiting_max: int = Field(
        # A job is 1 ms (a renewal) to 0.3 s (a full batch): what waits longer has lost its caller.
        default=64,
        ge=1,
        le=10_000,
        description="Batches, and apart from them issuer's steps, that may wait for a worker.",
    )
    admissions_open_max: int = Field(
        # The largest hospitals admit some thousands of people a day; a code lives a day.
        default=10_000,
        ge=1,
        le=10_000_000,
        description="Admission codes that may be out and unused.",
    )
