"""Channels to the same service of the other members, wherever it is by now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias

from grpc import aio

from cipherward_chain.endpoints import EndpointUnknown
from cipherward_kit.channels import open_channel
from cipherward_kit.tls import PeerNotTrusted, Presented, TrustRegistry
from cipherward_member.alliance_files import read_endpoints
from cipherward_member.config import MemberServiceConfig
from cipherward_member.errors import EndpointsUnusable


class PeerUnknown(Exception):
    """Nobody has said yet where a member's service is, or whose certificates are its."""


# Opens a channel to a member's service, which must show that it is, or raises `PeerUnknown`.
OpenPeer: TypeAlias = Callable[[str], Awaitable[aio.Channel]]


def peers_of(
    config: MemberServiceConfig,
    identity: Presented,
    trust: TrustRegistry,
    chain_id: str,
    service: str,
) -> OpenPeer:
    """Return what opens channels to the members' `service`.

    It looks into alliance.json at every call, and raises `PeerUnknown` while that or the registry
    does not have the member.
    """

    async def open_peer(member: str) -> aio.Channel:
        try:
            endpoints = await asyncio.to_thread(read_endpoints, config.endpoints_file, chain_id)
            return open_channel(
                endpoints.of(member, service).listen,
                identity=identity,
                registry=trust,
                peer_member=member,
                peer_service=service,
            )
        except (EndpointsUnusable, EndpointUnknown, PeerNotTrusted) as error:
            raise PeerUnknown(str(error)) from None

    return open_peer


class PeerChannels:
    """One channel a member. Enter it; they are opened at the first call, and closed at the end."""

    def __init__(self, open_to: OpenPeer) -> None:
        self._open_to = open_to
        self._channels: dict[str, aio.Channel] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()

    async def to(self, member: str) -> aio.Channel:
        """Return the channel to a member, or raise `PeerUnknown`."""
        async with self._opening:
            if member not in self._channels:
                self._channels[member] = await self._open_to(member)
            return self._channels[member]

    async def drop(self, member: str) -> None:
        """Close a channel, so that the next call asks anew where the member is.

        Calls that are on it are cancelled.
        """
        channel = self._channels.pop(member, None)
        if channel is not None:
            await channel.close()
