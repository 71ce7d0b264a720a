"""Dashboard: does the chain go on, and does everybody follow."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import STALE_SECONDS, Board, Kind, Panel, Query, Section
from tools.dashboards.propagation import KAFKA, NODE, PROPAGATION
from tools.dashboards.queries import gauge, number, per_minute, quantile, quantiles, rate

NOW: Final = Section(
    "Now",
    (
        Panel(
            "Height",
            "Newest block that anybody has. It grows by one at least every heartbeat.",
            "locale",
            number("max(cipherward_chain_height{$of})"),
            Kind.NUMBER,
        ),
        Panel(
            "Newest block's age",
            "Time since the newest block, by its own time. An empty one is made every ten seconds; "
            "after thirty without one, rights end.",
            "s",
            number("time() - max(cipherward_ledger_block_timestamp_seconds{$of})"),
            Kind.NUMBER,
            bad_from=STALE_SECONDS,
        ),
        Panel(
            "Validators",
            "Members that vote on blocks.",
            "short",
            number("max(cipherward_ledger_validators{$of})"),
            Kind.NUMBER,
        ),
        Panel(
            "Votes missing",
            "Validators whose vote is not in the newest commit. More than a third of them missing "
            "stops the chain.",
            "short",
            number("max(cipherward_ledger_validators_missing{$of})"),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "Forks",
            "Proofs of two signed histories. One is a full stop: the members decide what follows.",
            "short",
            number("max(cipherward_chain_forks{$of})"),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "Furthest behind",
            "Blocks that the slowest follower has yet to take.",
            "short",
            number("max(cipherward_chain_height{$of}) - min(cipherward_chain_height{$of})"),
            Kind.NUMBER,
            bad_from=10,
        ),
    ),
)

BLOCKS: Final = Section(
    "Blocks",
    (
        Panel(
            "Interval of blocks",
            "From one block's time to the next one's. Ten seconds is an idle chain; more is a "
            "chain that waits for votes.",
            "s",
            quantiles("cipherward_ledger_block_interval_seconds", "member"),
            bad_from=STALE_SECONDS,
        ),
        Panel(
            "Transactions in blocks",
            "Transactions a second, as each ledger counts them.",
            "ops",
            (rate("cipherward_ledger_committed_transactions_total", "member"),),
        ),
        Panel(
            "Blocks made",
            "Blocks a second by the ledgers' own height.",
            "ops",
            (
                Query(
                    'max by (member) (rate(cipherward_chain_height{$of,component="ledger"}'
                    "[$every]))",
                    "{{member}}",
                ),
            ),
        ),
        Panel(
            "Applying a block",
            "Executing and committing a block on contract, as the ledger waits for it.",
            "s",
            quantiles("cipherward_ledger_apply_seconds", "member"),
            bad_from=1,
        ),
        Panel(
            "Work of a block",
            "The contract's own part of it, the disk's sync left out: a wide gap to the time of "
            "applying is a slow disk.",
            "s",
            (quantile(0.99, "cipherward_contract_block_seconds", "member, step"),),
            bad_from=1,
        ),
        Panel(
            "Waiting for contract",
            "How long the chain has been waiting for contract; 0 while it works. Nothing is lost: "
            "submissions are on disk.",
            "s",
            (gauge("cipherward_ledger_contract_wait_seconds", "member"),),
            bad_from=STALE_SECONDS,
        ),
        Panel(
            "Validators",
            "Validators, and those whose vote was missing. A block may go without a slow vote; a "
            "line that stays above 0 is a member that is away.",
            "short",
            (
                gauge("cipherward_ledger_validators", "member"),
                Query(
                    "max by (member) (cipherward_ledger_validators_missing{$of})",
                    "{{member}} missing",
                ),
            ),
        ),
        Panel(
            "Writing a snapshot",
            "Time of writing a snapshot of the state beside the blocks; newcomers begin with one.",
            "s",
            (quantile(0.99, "cipherward_contract_snapshot_seconds", "member"),),
        ),
        Panel(
            "Blocks since the snapshot",
            "How far the chain is past its newest snapshot. A newcomer needs those blocks, and "
            "ledgers keep them until then.",
            "short",
            (
                Query(
                    'max by (member) (cipherward_chain_height{$of,component="contract"}'
                    " - on (member, instance) cipherward_contract_snapshot_height{$of})",
                    "{{member}}",
                ),
            ),
        ),
    ),
)

ADMISSION: Final = Section(
    "Admission",
    (
        Panel(
            "Verdicts on submissions",
            "Submitted transactions a second by the reason that they were refused for; no reason "
            "is admitted.",
            "ops",
            (rate("cipherward_ledger_admissions_total", "member, reason"),),
            Kind.STACK,
        ),
        Panel(
            "Refused in blocks",
            "Transactions that were put in a block and refused by the state, a minute, by reason. "
            "Races are; one reason that leads is a client that does it wrong.",
            "cpm",
            (
                Query(
                    "60 * max by (reason)"
                    ' (rate(cipherward_contract_transactions_total{$of,reason!=""}[$every]))',
                    "{{reason}}",
                ),
            ),
            Kind.STACK,
        ),
        Panel(
            "Applied in blocks",
            "Transactions that took effect, a minute.",
            "cpm",
            (
                Query(
                    "60 * max by (member)"
                    ' (rate(cipherward_contract_transactions_total{$of,reason=""}[$every]))',
                    "{{member}}",
                ),
            ),
        ),
        Panel(
            "Waiting for a block",
            "Admitted transactions that no block holds. They are on disk; what waits for minutes "
            "expires.",
            "short",
            (gauge("cipherward_ledger_mempool_transactions", "member"),),
        ),
        Panel(
            "Size of what waits",
            "Bytes of the admitted transactions that no block holds.",
            "bytes",
            (gauge("cipherward_ledger_mempool_bytes", "member"),),
        ),
        Panel(
            "Checks of transactions",
            "Stateless checks a second: done now, or remembered. Few remembered ones while there "
            "is traffic mean that everything is checked twice.",
            "ops",
            (rate("cipherward_ledger_verifications_total", "outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Dropped without a block",
            "Admitted transactions a minute that left the outbox unplaced: expired, or damaged on "
            "disk.",
            "cpm",
            (per_minute("cipherward_ledger_dropped_transactions_total", "member, reason"),),
        ),
        Panel(
            "Rows not as stored",
            "Rows of the ledger's database, a minute, that did not read back as written. They are "
            "refused; restore from the backup.",
            "cpm",
            (per_minute("cipherward_ledger_corrupt_reads_total", "member"),),
            bad_from=0.001,
        ),
        Panel(
            "Timers fired late",
            "99th percentile of the time from when a contract's timer falls due to the block that "
            "fires it: how much longer than given a right may last.",
            "s",
            (quantile(0.99, "cipherward_contract_timer_late_seconds", "member"),),
            bad_from=STALE_SECONDS,
        ),
    ),
)

BOARD: Final = Board(
    "chain",
    "CipherWard / Chain",
    "Blocks, votes, and how soon each service has what the chain decided.",
    (NOW, BLOCKS, ADMISSION, PROPAGATION, KAFKA, NODE),
)
