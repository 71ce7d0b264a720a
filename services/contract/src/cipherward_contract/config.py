"""Settings of the contract service."""

from __future__ import annotations

from pydantic import Field

from cipherward_kit.config import ServerConfig

MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class ContractConfig(ServerConfig):
    """What a contract service needs besides what every server needs."""

    message_bytes_max: int = Field(
        # A block of 2 MiB with its results and orders, between ledger and contract.
        default=MESSAGE_BYTES_MAX,
        ge=64 * 1024,
        le=MESSAGE_BYTES_MAX,
        description="Largest message received or sent.",
    )
