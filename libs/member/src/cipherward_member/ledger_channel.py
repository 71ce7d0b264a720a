"""The channel of a member's service to the ledger that it follows."""

from __future__ import annotations

from grpc import aio

from cipherward_chain.endpoints import Endpoints
from cipherward_kit.channels import open_channel
from cipherward_kit.config import ServerConfig
from cipherward_kit.tls import Presented, TrustRegistry

# A proven block, with its proofs and headers, in one message: 2 MiB of transactions and as much
# again of what they led to stay below it.
BLOCK_MESSAGE_BYTES_MAX = 8 * 1024 * 1024


def open_ledger(
    config: ServerConfig, identity: Presented, endpoints: Endpoints, registry: TrustRegistry
) -> aio.Channel:
    """Return a channel over which proven blocks fit; the caller closes it.

    It leads to the member's own ledger, or to the alliance's only one.
    """
    home = endpoints.home(config.member)
    return open_channel(
        endpoints.of(home, "ledger").listen,
        identity=identity,
        registry=registry,
        peer_member=home,
        peer_service="ledger",
        message_bytes_max=BLOCK_MESSAGE_BYTES_MAX,
    )
