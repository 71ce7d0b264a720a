"""Settings that several services of a member share."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cipherward_kit.config import ServerConfig


class MemberServiceConfig(ServerConfig):
    """A service that calls others."""

    endpoints_file: Path = Field(
        description="alliance.json: where the alliance's services are, the ledger among them."
    )


class SigningServiceConfig(MemberServiceConfig):
    """A service that signs transactions for its member."""

    member_key_file: Path = Field(
        description="Seed of this member's Ed25519 key, 32 raw bytes, mode 0600; it signs "
        "what this service tells the chain."
    )
