"""Settings of the trial."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_kit.config import Address, ProcessConfig


class TrialConfig(ProcessConfig):
    """What the trial needs; it ends by itself, so what is about watching it is not used.

    Its certificate is that of the member's own systems, `spiffe://<member>/client`.
    """

    endpoints_file: Path = Field(description="alliance.json: where the alliance's services are.")
    tls_certificate: Path = Field(description="Certificate chain, PEM, leaf first.")
    tls_private_key: Path = Field(description="Private key of that certificate, PEM.")
    member_key_file: Path = Field(
        description="Seed of this member's Ed25519 key, 32 raw bytes; it puts the trial's record."
    )
    canary_health: Address | None = Field(
        default=None,
        description="Health port of the member's deny canaries; none: they are not asked.",
    )
    trial_seconds: float = Field(
        default=60.0, ge=5, le=600, description="Until which the whole trial must have succeeded."
    )
