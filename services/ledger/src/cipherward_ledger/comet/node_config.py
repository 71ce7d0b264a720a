"""The node's config.toml: what differs from CometBFT 0.40's own defaults, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Profile: TypeAlias = Literal["latency", "throughput"]
Value: TypeAlias = str | int | bool

ABCI_SOCKET = "application.sock"
RPC_SOCKET = "node.sock"
SYNC_FOLDER = "syncing"  # in the node's folder, while it syncs a state

# One request of the ledger: a batch of transactions in base64, or of questions.
RPC_BODY_BYTES_MAX = 8 * 1024 * 1024
RPC_BATCH_MAX = 1_024
# The ledger's own few connections to the node.
RPC_CONNECTIONS_MAX = 32


@dataclass(frozen=True, slots=True)
class NodePeer:
    """Another member's node: its id (20 bytes) and host:port, "" while that is not known."""

    node_id: bytes
    address: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What a member's node is configured from.

    moniker: the member's id.
    p2p_listen: host:port where other nodes reach it.
    pending: transactions that the node's mempool holds; pending_bytes: their bytes together.
    """

    moniker: str
    p2p_listen: str
    profile: Profile
    heartbeat_seconds: int
    transaction_bytes_max: int
    pending: int
    pending_bytes: int


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Where the node's light client begins when it syncs a state: a header that was verified.

    servers: URLs of the RPC servers that its light client asks.
    """

    trust_height: int
    trust_hash: bytes
    servers: tuple[str, ...]


def config_toml(plan: NodePlan, peers: Sequence[NodePeer], sync: SyncPlan | None = None) -> str:
    """Return config.toml for a node whose only peers are `peers`, and which syncs by `sync`."""
    sections: dict[str, Mapping[str, Value]] = {
        "": {
            "moniker": plan.moniker,
            "proxy_app": f"unix://{ABCI_SOCKET}",
            "abci": "socket",  # gRPC costs five times as much and leaves zombies
            "filter_peers": True,  # the application is asked about every peer: no strangers
            "log_level": "error",
            "log_format": "plain",
        },
        "rpc": {
            "laddr": f"unix://{RPC_SOCKET}",  # without authentication, so nowhere but here
            "max_body_bytes": RPC_BODY_BYTES_MAX,
            "max_request_batch_size": RPC_BATCH_MAX,
            "max_open_connections": RPC_CONNECTIONS_MAX,
            "pprof_laddr": "",
        },
        "p2p": {
            "laddr": f"tcp://{plan.p2p_listen}",  # CometBFT's own default is every interface
            **_peers(plan, peers),
            **_network(plan.profile),
        },
        "mempool": {
            # A transaction's stateless checks never change, and what has expired leaves in a block.
            "recheck": False,
            "size": plan.pending,
            "max_txs_bytes": plan.pending_bytes,
            # Hashes that were seen, the committed ones among them: two full mempools.
            "cache_size": 2 * plan.pending,
            "max_tx_bytes": plan.transaction_bytes_max,
            **({} if plan.profile == "latency" else _GOSSIP_TO_ONE),
        },
        "consensus": {
            "create_empty_blocks": True,
            "create_empty_blocks_interval": f"{plan.heartbeat_seconds}s",
            **_consensus(plan.profile),
        },
        "statesync": {} if sync is None else _statesync(sync),
        "storage": {"discard_abci_responses": False},  # the newest is needed after a kill
        "tx_index": {"indexer": "null"},  # the ledger has an index of its own
        "instrumentation": {"prometheus": False},
    }
    return "\n".join(_section(name, values) for name, values in sections.items())


# Unconditional peers get every transaction from everybody; with this each is sent once or twice.
_GOSSIP_TO_ONE: Mapping[str, Value] = {"experimental_max_gossip_connections_to_persistent_peers": 1}


def _peers(plan: NodePlan, peers: Sequence[NodePeer]) -> Mapping[str, Value]:
    """No open slot, no exchange of addresses: members only, and always."""
    ids = ",".join(peer.node_id.hex() for peer in peers)
    known = [f"{peer.node_id.hex()}@{peer.address}" for peer in peers if peer.address]
    throughput = plan.profile == "throughput"
    return {
        "persistent_peers": ",".join(known),
        "private_peer_ids": ids,
        # The bound on gossip does not hold for unconditional peers, so the throughput profile has
        # as many slots as members instead; the application's filter still refuses everybody else.
        "unconditional_peer_ids": "" if throughput else ids,
        "max_num_inbound_peers": len(peers) if throughput else 0,
        "max_num_outbound_peers": 0,
        "persistent_peers_max_dial_period": "5s",  # a member that is back is found in seconds
        "pex": False,
        "addr_book_strict": False,  # members may be reached in private networks
        "allow_duplicate_ip": True,  # and through one address
    }


def _network(profile: Profile) -> Mapping[str, Value]:
    if profile == "latency":
        return {"flush_throttle_timeout": "10ms"}
    return {
        "flush_throttle_timeout": "10ms",
        "max_packet_msg_payload_size": 10_240,
        "send_rate": 50_000_000,
        "recv_rate": 50_000_000,
    }


def _consensus(profile: Profile) -> Mapping[str, Value]:
    """Latency: go on at once. Throughput: gather, and gossip less often; 44 % less CPU."""
    if profile == "latency":
        return {
            "timeout_propose": "1s",
            "timeout_commit": "0s",
            "skip_timeout_commit": True,
            "peer_gossip_sleep_duration": "10ms",
        }
    return {
        "timeout_propose": "2s",
        "timeout_commit": "200ms",
        "skip_timeout_commit": False,
        "peer_gossip_sleep_duration": "50ms",
    }


def _statesync(sync: SyncPlan) -> Mapping[str, Value]:
    return {
        "enable": True,
        "rpc_servers": ",".join(sync.servers),
        "trust_height": sync.trust_height,
        "trust_hash": sync.trust_hash.hex().upper(),
        # Whether the header may still be relied on the ledger has judged; ten years are no bound.
        "trust_period": "87600h",
        "discovery_time": "5s",  # CometBFT's minimum
        "chunk_request_timeout": "5s",  # likewise: a chunk of 4 MiB takes less between hospitals
        "temp_dir": SYNC_FOLDER,  # chunks hold the state, which is nothing for /tmp
    }


def _section(name: str, values: Mapping[str, Value]) -> str:
    lines = [f"[{name}]"] if name else []
    # JSON writes booleans, whole numbers and plain strings as TOML does.
    lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
