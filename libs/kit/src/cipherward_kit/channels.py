"""Channels to other services: retries only where the proto says safe, certificates as of now."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from typing import Any

from grpc import aio

from cipherward_kit.access import ALL_RULES, Rules
from cipherward_kit.credentials import channel_credentials
from cipherward_kit.renewing import Credentials, RenewingChannel
from cipherward_kit.server import KEEPALIVE_OPTIONS
from cipherward_kit.tls import PeerNotTrusted, Presented, TrustRegistry, server_name

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
    identity: Presented | None,
    registry: TrustRegistry,
    peer_member: str,
    peer_service: str,
    message_bytes_max: int = MESSAGE_BYTES_MAX,
    rules: Rules = ALL_RULES,
) -> aio.Channel:
    """Open a channel to one service of one member; close it, or use it as a context.

    Calls go by identity and authorities as they are when they begin. The peer must show a
    certificate of `peer_member`'s authority that bears the service's name, whatever address was
    dialled.

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
    options = [
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
    ]
    roots = registry.authority_pem(peer_member)

    def now() -> Credentials:
        nonlocal roots
        with suppress(PeerNotTrusted):  # removed since: who still calls it goes by its last ones
            roots = registry.authority_pem(peer_member)
        return (None if identity is None else identity.current, roots)

    def connect(credentials: Credentials) -> aio.Channel:
        return aio.secure_channel(address, channel_credentials(*credentials), options=options)

    # Who asks another member, or as a holder, does not say in which trace.
    own = identity is not None and identity.current.caller().member == peer_member
    return RenewingChannel(now, connect, hands_on_traces=own)
