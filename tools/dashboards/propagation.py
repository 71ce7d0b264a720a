"""Sections of the chain's dashboard: how blocks get to those that act on them."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import STALE_SECONDS, Kind, Panel, Query, Section
from tools.dashboards.queries import age, agreed_per_minute, gauge, per_minute, quantiles, rate

SERVICE: Final = "member, component"

PROPAGATION: Final = Section(
    "Propagation",
    (
        Panel(
            "From proof to effect",
            "Median and 99th percentile from the time of the header that proves a block to its "
            "effects being on a service's disk: how fast a revocation reaches it.",
            "s",
            quantiles("cipherward_chain_propagation_seconds", "component"),
            bad_from=STALE_SECONDS,
        ),
        Panel(
            "Age of the newest proof",
            "Time since the newest header that each service has verified. From thirty seconds on "
            "it does no sensitive act (CHAIN_STALE).",
            "s",
            (age("cipherward_chain_proven_timestamp_seconds", SERVICE),),
            bad_from=STALE_SECONDS,
        ),
        Panel(
            "Height by service",
            "Newest block whose effects are on each service's disk; lines that part are followers "
            "that lag.",
            "locale",
            (gauge("cipherward_chain_height", SERVICE),),
        ),
        Panel(
            "Blocks that do not verify",
            "Blocks a minute that a source sent and that were refused. Nobody acts on them; a "
            "source that goes on sending such is broken or hostile.",
            "cpm",
            (per_minute("cipherward_chain_rejected_blocks_total", SERVICE),),
            bad_from=0.001,
        ),
        Panel(
            "Reports pending",
            "Reports on orders that no block holds yet: done here, and not known to the chain.",
            "short",
            (gauge("cipherward_chain_reports_pending", SERVICE),),
        ),
        Panel(
            "Streams of blocks",
            "Open streams of blocks by ledger, one for each follower that does not read Kafka.",
            "short",
            (gauge("cipherward_ledger_block_streams", "member"),),
        ),
    ),
)

KAFKA: Final = Section(
    "Kafka",
    (
        Panel(
            "Blocks not in the topic",
            "Proven blocks that the ledger has yet to publish. Services follow the ledger itself "
            "meanwhile.",
            "short",
            (gauge("cipherward_ledger_feed_lag_blocks", "member"),),
            bad_from=100,
        ),
        Panel(
            "Height of the topic",
            "Newest block in each member's topic, as its publisher knows it.",
            "locale",
            (gauge("cipherward_ledger_feed_height", "member"),),
        ),
        Panel(
            "Where blocks come from",
            "Blocks a second that followers took, by source. The ledger is the way around a topic "
            "that lags, has a gap or lies.",
            "ops",
            (rate("cipherward_feed_blocks_total", "component, source"),),
            Kind.STACK,
        ),
        Panel(
            "Detours",
            "Times a minute that a follower left the topic for the ledger, by reason.",
            "cpm",
            (per_minute("cipherward_feed_detours_total", "component, reason"),),
        ),
        Panel(
            "Publishing broken off",
            "Times a minute that publishing broke off and began again, by reason.",
            "cpm",
            (per_minute("cipherward_ledger_feed_failures_total", "member, reason"),),
        ),
        Panel(
            "Messages of no use",
            "Messages a minute that were repeated, foreign to the topic, or blocks too large for "
            "one. Foreign ones are somebody else who may write there.",
            "cpm",
            tuple(
                Query(
                    f"60 * sum(rate(cipherward_{metric}_total{{$of}}[$every]))",
                    metric.removeprefix("ledger_").removeprefix("feed_").replace("_", " "),
                )
                for metric in (
                    "feed_repeated_messages",
                    "ledger_feed_foreign_messages",
                    "ledger_feed_refused_blocks",
                )
            ),
        ),
        Panel(
            "Connected",
            "Green while the brokers take a ledger's blocks, and while a follower reads its blocks "
            "from the topic.",
            "short",
            (
                Query(
                    "min by (member, component) (cipherward_ledger_feed_connected{$of})",
                    "{{member}} {{component}} publishes",
                ),
                Query(
                    "min by (member, component) (cipherward_feed_on_topic{$of})",
                    "{{member}} {{component}} on the topic",
                ),
            ),
            Kind.STATES,
        ),
    ),
)

NODE: Final = Section(
    "Consensus node",
    (
        Panel(
            "Node answers",
            "Green while the ledger's consensus node answers it.",
            "short",
            (gauge("cipherward_ledger_node_up", "member", how="min"),),
            Kind.STATES,
        ),
        Panel(
            "Starts of the node",
            "Starts of the consensus node in an hour; it is restarted when it ends.",
            "short",
            (
                Query(
                    "sum by (member) (increase(cipherward_ledger_node_starts_total{$of}[1h]))",
                    "{{member}}",
                ),
            ),
            bad_from=2,
        ),
        Panel(
            "Proposals",
            "Proposed blocks a minute that a member voted against, by reason, and own proposals "
            "left empty because verifying took too long.",
            "cpm",
            (
                per_minute("cipherward_ledger_proposals_refused_total", "member, reason"),
                Query(
                    "60 * sum by (member) (rate(cipherward_ledger_proposals_late_total{$of}"
                    "[$every]))",
                    "{{member}} late",
                ),
            ),
        ),
        Panel(
            "Misbehaviour",
            "Acts of a validator, a minute, that a block proves to be against the protocol: "
            "somebody runs two nodes with one key, or worse.",
            "cpm",
            (agreed_per_minute("cipherward_ledger_misbehaviour_total", "kind"),),
            bad_from=0.001,
        ),
        Panel(
            "Gossip",
            "Transactions a second handed to the node, repetitions included, and those that "
            "others' nodes handed it and this member refused.",
            "ops",
            (
                rate("cipherward_ledger_broadcasts_total", "member"),
                rate("cipherward_ledger_gossip_refused_total", "member, reason"),
            ),
        ),
        Panel(
            "Strangers and snapshots refused",
            "Connections a minute of nodes that are no member's, and snapshots or their chunks "
            "that were not taken.",
            "cpm",
            (
                per_minute("cipherward_ledger_peers_refused_total", "member"),
                per_minute("cipherward_ledger_snapshots_refused_total", "member, reason"),
            ),
        ),
        Panel(
            "Blocks not recorded",
            "Committed blocks that the ledger has yet to record: it catches up after a restart.",
            "short",
            (gauge("cipherward_ledger_unrecorded_blocks", "member"),),
        ),
        Panel(
            "Blocks passed on",
            "Blocks a minute of other members' ledgers that were passed on, because none is kept "
            "here.",
            "cpm",
            (per_minute("cipherward_ledger_relayed_blocks_total", "member"),),
        ),
    ),
)
