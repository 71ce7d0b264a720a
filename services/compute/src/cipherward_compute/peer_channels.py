"""Channels to our own identity and to the other members' compute services."""

from __future__ import annotations

import asyncio

from grpc import aio

from cipherward_chain.endpoints import Endpoints, EndpointUnknown
from cipherward_compute.config import ComputeConfig
from cipherward_compute.peers import PeerUnknown
from cipherward_kit.channels import open_channel
from cipherward_kit.server import own_identity
from cipherward_kit.tls import PeerNotTrusted, TrustRegistry
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.errors import EndpointsUnusable


def open_identity(config: ComputeConfig, endpoints: Endpoints, trust: TrustRegistry) -> aio.Channel:
    """Return a channel to this member's own identity service; the caller closes it."""
    return open_channel(
        endpoints.of(config.member, "identity").listen,
        identity=own_identity(config),
        registry=trust,
        peer_member=config.member,
        peer_service="identity",
    )


async def open_peer(
    config: ComputeConfig, trust: TrustRegistry, chain_id: str, member: str
) -> aio.Channel:
    """Open a channel to a member's compute service, where alliance.json says now that it is.

    Raises:
        PeerUnknown: neither the file nor the registry has such a member, or not yet.
    """
    try:
        endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, chain_id)
        identity = await asyncio.to_thread(own_identity, config)
        return open_channel(
            endpoints.of(member, "compute").listen,
            identity=identity,
            registry=trust,
            peer_member=member,
            peer_service="compute",
        )
    except (EndpointsUnusable, EndpointUnknown, PeerNotTrusted) as error:
        raise PeerUnknown(str(error)) from None
