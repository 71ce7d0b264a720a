"""The channel to this member's own identity service."""

from __future__ import annotations

from grpc import aio

from cipherward_chain.endpoints import Endpoints
from cipherward_compute.config import ComputeConfig
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import Presented, TrustRegistry


def open_identity(
    config: ComputeConfig, own: Presented, endpoints: Endpoints, trust: TrustRegistry
) -> aio.Channel:
    """Return a channel to this member's own identity service; the caller closes it."""
    return open_channel(
        endpoints.of(config.member, "identity").listen,
        identity=own,
        registry=trust,
        peer_member=config.member,
        peer_service="identity",
    )
