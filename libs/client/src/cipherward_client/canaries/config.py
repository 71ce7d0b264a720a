"""Settings of the canaries."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_kit.config import ServerConfig


class CanaryConfig(ServerConfig):
    """What the canaries need besides what every server needs; they serve nobody but probes.

    Their certificate is that of the member's own systems, `spiffe://<member>/client`.
    """

    endpoints_file: Path = Field(description="alliance.json: where the alliance's services are.")
    member_key_file: Path = Field(
        description="Seed of this member's Ed25519 key, 32 raw bytes, mode 0600; it puts the "
        "synthetic records."
    )
    round_seconds: int = Field(
        default=60,
        ge=1,
        le=3_600,
        description="About how often everything is asked that needs no transaction.",
    )
    act_round_seconds: int = Field(
        # Six refused transactions an hour: enough to notice, few enough to bear for ten years.
        default=3_600,
        ge=1,
        le=86_400,
        description="About how often the chain is asked; each question is a refused transaction.",
    )
    settle_seconds: int = Field(
        # Twice the three heartbeats after which a storage without blocks gives nothing.
        default=60,
        ge=0,
        le=3_600,
        description="From the end of a right to the first question about it.",
    )
    expiry_seconds: int = Field(
        default=120,
        ge=5,
        le=3_600,
        description="How long the consent lasts whose end is asked about.",
    )

    def faults(self) -> list[str]:
        """Leave out what is about ports for callers, which are not bound."""
        return [fault for fault in super().faults() if not fault.startswith("listen:")]
