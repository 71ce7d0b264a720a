"""Channels to other services: always a deadline, and retries only where the proto says safe."""

from __future__ import annotations

import json
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

from grpc import ChannelConnectivity, aio

from cipherward_kit.access import ALL_RULES, Rules
from cipherward_kit.server import KEEPALIVE_OPTIONS
from cipherward_kit.tls import Identity, TrustRegistry, channel_credentials, server_name

DEADLINE_SECONDS = 30.0  # of a call with one request and one response that gives none
MESSAGE_BYTES_MAX = 4 * 1024 * 1024  # a server's default
# A peer that restarts is back in seconds; gRPC's own maximum of two minutes is for the internet.
RECONNECT_MS = (100, 2_000)

RETRY_POLICY = {
    "maxAttempts": 5,  # the most gRPC allows
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
# Stop retrying when more than about a tenth of the calls fail: a retry storm helps nobody.
RETRY_THROTTLING = {"maxTokens": 10, "tokenRatio": 0.1}


def service_config(rules: Rules) -> str:
    """Return gRPC's service config: retries for the methods whose comment says `Retry: safe`."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for path, rule in rules.items():
        if rule.retry_safe:
            service, method = path.lstrip("/").split("/")
            names[service].append(method)
    safe = [
        {"service": service, "method": method}
        for service, methods in sorted(names.items())
        for method in sorted(methods)
    ]
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if safe:
        config["methodConfig"] = [{"name": safe, "retryPolicy": RETRY_POLICY}]
        config["retryThrottling"] = RETRY_THROTTLING
    return json.dumps(config)


def open_channel(
    address: str,
    *,
    identity: Identity | None,
    registry: TrustRegistry,
    peer_member: str,
    peer_service: str,
    message_bytes_max: int = MESSAGE_BYTES_MAX,
    rules: Rules = ALL_RULES,
) -> aio.Channel:
    """Open a channel to one service of one member; close it, or use it as a context.

    The peer must show a certificate of `peer_member`'s authority that bears the service's name,
    whatever address was dialled.

    Args:
        address: host:port.
        identity: our own; None for a holder, who shows no certificate.
        registry: the members' authorities.
        peer_member: who must answer.
        peer_service: which of its services must answer.
        message_bytes_max: largest message received or sent.
        rules: which methods may be retried.

    Raises:
        PeerNotTrusted: the registry has no such member.
    """
    channel = aio.secure_channel(
        address,
        channel_credentials(identity, registry, peer_member),
        options=[
            ("grpc.ssl_target_name_override", server_name(peer_member, peer_service)),
            ("grpc.service_config", service_config(rules)),
            ("grpc.service_config_disable_resolution", 1),  # DNS is not trusted with policy
            ("grpc.enable_http_proxy", 0),  # a proxy from the environment would see who talks
            ("grpc.max_receive_message_length", message_bytes_max),
            ("grpc.max_send_message_length", message_bytes_max),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS[0]),
            ("grpc.min_reconnect_backoff_ms", RECONNECT_MS[1]),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MS[1]),
            *KEEPALIVE_OPTIONS[:3],
        ],
    )
    return DeadlineChannel(channel)


class DeadlineChannel(aio.Channel):
    """A channel whose calls with one request and one response always have a deadline.

    Streams have none unless given: they live as long as both sides want, and keepalive ends them
    when a side is dead. It wraps methods, not calls, which costs nothing per call; grpc's
    interceptors make a task for each.
    """

    def __init__(self, channel: aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable, with the default deadline."""
        return _DeadlineCall(self._channel.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable."""
        return self._channel.unary_stream(method, *args, **kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable."""
        return self._channel.stream_unary(method, *args, **kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Return the method's callable."""
        return self._channel.stream_stream(method, *args, **kwargs)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; calls in flight get `grace` seconds."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        """Return the state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        """Return when the state is another."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when the channel is connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()


class _DeadlineCall(aio.UnaryUnaryMultiCallable[Any, Any]):
    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, request: Any, *, timeout: float | None = None, **kwargs: Any) -> Any:
        seconds = DEADLINE_SECONDS if timeout is None else timeout
        return self._call(request, timeout=seconds, **kwargs)
