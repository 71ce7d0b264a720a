"""What Prometheus sees of the consensus node and of how it is answered."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

NODE_STARTS = Counter(
    "cipherward_ledger_node_starts", "Starts of the consensus node by this ledger."
)
NODE_UP = Gauge("cipherward_ledger_node_up", "1 while the consensus node answers.")
UNRECORDED = Gauge(
    "cipherward_ledger_unrecorded_blocks", "Committed blocks that are not recorded yet."
)
PROPOSALS_REFUSED = Counter(
    "cipherward_ledger_proposals_refused",
    "Proposed blocks that this member voted against, by reason.",
    ["reason"],
)
PROPOSALS_LATE = Counter(
    "cipherward_ledger_proposals_late",
    "Own proposals made empty because their transactions took too long to verify.",
)
CHECKS_REFUSED = Counter(
    "cipherward_ledger_gossip_refused",
    "Transactions that the node was handed and this member refused, by reason.",
    ["reason"],
)
BROADCASTS = Counter(
    "cipherward_ledger_broadcasts", "Transactions handed to the node, repetitions included."
)
MISBEHAVIOUR = Counter(
    "cipherward_ledger_misbehaviour",
    "Acts of a validator that a block proves to be against the protocol, by kind.",
    ["kind"],
)
PEERS_REFUSED = Counter(
    "cipherward_ledger_peers_refused", "Connections of nodes that are no member's."
)
SNAPSHOTS_REFUSED = Counter(
    "cipherward_ledger_snapshots_refused",
    "Snapshots, or chunks of one, that were not taken, by reason.",
    ["reason"],
)
RELAYED = Counter(
    "cipherward_ledger_relayed_blocks",
    "Blocks of other members' ledgers passed on, as none is kept here.",
)
