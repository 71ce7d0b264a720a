"""gRPC credentials over what a process shows and whom it trusts, as of each handshake."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from cipherward_kit.tls import Identity, Presented, TrustRegistry


def server_credentials(identity: Presented, registry: TrustRegistry) -> grpc.ServerCredentials:
    """Return TLS that requires a client certificate of any member's authority.

    Each handshake goes by identity and registry as they then are; connections that are open stay
    open, and the boundary asks the registry about each of their calls.
    """
    return _following(lambda: (identity.current, registry.all_authorities_pem()))


def holder_credentials(identity: Presented) -> grpc.ServerCredentials:
    """Return TLS that asks for no client certificate: a wallet that has one is not anonymous."""
    return _following(lambda: (identity.current, None))


def _following(now: Callable[[], tuple[Identity, bytes | None]]) -> grpc.ServerCredentials:
    """Return TLS by what `now` returns, identity and roots for clients; no roots: none is asked."""
    served = now()

    def configuration() -> grpc.ServerCertificateConfiguration:
        identity, roots = served
        return grpc.ssl_server_certificate_configuration(
            [(identity.private_key_pem, identity.certificate_pem)], root_certificates=roots
        )

    def configuration_if_changed() -> grpc.ServerCertificateConfiguration | None:
        """Run on a thread of gRPC's before every handshake; None leaves all as it is."""
        nonlocal served
        newest = now()
        if newest[0] is served[0] and newest[1] is served[1]:
            return None
        served = newest
        return configuration()

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        configuration_if_changed,  # pyright: ignore[reportArgumentType] - typed without its None
        require_client_authentication=served[1] is not None,
    )


def channel_credentials(identity: Identity | None, roots_pem: bytes) -> grpc.ChannelCredentials:
    """Return TLS that trusts only these authorities; without an identity it shows nothing."""
    if identity is None:
        return grpc.ssl_channel_credentials(root_certificates=roots_pem)
    return grpc.ssl_channel_credentials(
        root_certificates=roots_pem,
        private_key=identity.private_key_pem,
        certificate_chain=identity.certificate_pem,
    )
