"""Settings of the contract service."""

from __future__ import annotations

from pydantic import Field

from cipherward_contract.machine_versions import NEWEST_VERSION, VERSIONS
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
    machine_version_max: int = Field(
        default=NEWEST_VERSION,
        ge=min(VERSIONS),
        le=NEWEST_VERSION,
        description="Newest version of the state machine to execute; holds a release back.",
    )
    draft_workers: int = Field(
        # A template's analysis takes a fraction of a second, and few people write templates.
        default=0,
        ge=0,
        le=8,
        description="Processes that check and simulate templates; 0: one thread.",
    )
    snapshot_blocks: int = Field(
        # In production 1,000: with a heartbeat of 10 s, one every three hours on an idle chain.
        default=0,
        ge=0,
        le=1_000_000,
        description="A snapshot of the state every so many blocks, for state sync; 0: none.",
    )
