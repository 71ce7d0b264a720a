"""Dashboard: do studies get through, and what do they cost."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import Board, Kind, Panel, Query, Section
from tools.dashboards.queries import age, gauge, number, per_minute, quantile, quantiles, rate

BUDGET_RATIO: Final = 0.1  # as CipherwardBudgetNearlySpent
STEP_SECONDS: Final = 3_600  # as CipherwardStudyStepStuck

NOW: Final = Section(
    "Now",
    (
        Panel(
            "Studies and keys",
            "Studies, data keys and scores that the busiest member follows, in every state.",
            "short",
            number("max(sum by (member) (cipherward_compute_studies{$of}))"),
            Kind.NUMBER,
        ),
        Panel(
            "Least budget left",
            "Share of the budget that is left of the data set that has least: of its releases, or "
            "of its privacy. At 0 its studies are refused.",
            "percentunit",
            number("min(cipherward_contract_budget_least_left_ratio{$of})"),
            Kind.NUMBER,
            good_from=BUDGET_RATIO,
            ceiling=1,
        ),
        Panel(
            "Longest step",
            "How long the oldest step of a study, or of a key's ceremony, has run at any member.",
            "s",
            number(
                "max(time() - (cipherward_compute_step_begun_timestamp_seconds{$of} > 0))"
                " or vector(0)"
            ),
            Kind.NUMBER,
            bad_from=STEP_SECONDS,
        ),
        Panel(
            "Orders waiting",
            "Orders of the chain that compute services have taken and not carried out.",
            "short",
            number("sum(cipherward_compute_orders_waiting{$of})"),
            Kind.NUMBER,
        ),
        Panel(
            "Jobs waiting",
            "Jobs in the queues of all owners that no worker has taken; only with workers.",
            "short",
            number("sum(cipherward_compute_jobs_waiting{$of})"),
            Kind.NUMBER,
        ),
        Panel(
            "Uses of scores unordered",
            "Uses of risk scores that no block has ordered yet.",
            "short",
            number("sum(cipherward_compute_uses_unordered{$of})"),
            Kind.NUMBER,
        ),
    ),
)

PROGRESS: Final = Section(
    "Progress",
    (
        Panel(
            "By state",
            "Studies, data keys and scores by the state that they are in, at the member that "
            "follows most. States that only grow are ends.",
            "short",
            (gauge("cipherward_compute_studies", "state"),),
            Kind.STACK,
        ),
        Panel(
            "Steps running",
            "Steps that are being carried out, by member; those of a key's ceremony begin with "
            "keying.",
            "short",
            (gauge("cipherward_compute_steps_running", "member, step", how="sum"),),
            Kind.STACK,
        ),
        Panel(
            "Age of the oldest step",
            "How long the oldest step of each kind has run. A step that waits for a peer shows at "
            "everybody but that peer.",
            "s",
            (age("cipherward_compute_step_begun_timestamp_seconds", "member, step"),),
            bad_from=STEP_SECONDS,
        ),
        Panel(
            "Time of a step",
            "99th percentile of each step that ended, waiting for peers included.",
            "s",
            (quantile(0.99, "cipherward_compute_step_seconds", "step"),),
        ),
        Panel(
            "Steps ended",
            "Steps a minute that ended, by outcome.",
            "cpm",
            (per_minute("cipherward_compute_step_seconds_count", "step, outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Orders waiting",
            "Orders taken and not carried out, by member. They survive a restart.",
            "short",
            (gauge("cipherward_compute_orders_waiting", "member"),),
        ),
    ),
)

RELEASES: Final = Section(
    "Releases",
    (
        Panel(
            "Shares of decryptions",
            "Shares a minute that orders asked for, by what they open. Repeated ones come from the "
            "log: a share is computed once.",
            "cpm",
            (per_minute("cipherward_compute_shares_total", "member, kind, outcome"),),
        ),
        Panel(
            "Budget left",
            "Share of the budget that is left of the data set that has least. It follows from the "
            "blocks: members that differ do not follow the same chain.",
            "percentunit",
            (gauge("cipherward_contract_budget_least_left_ratio", "member", how="min"),),
            good_from=BUDGET_RATIO,
            ceiling=1,
        ),
        Panel(
            "Uses of scores unordered",
            "Uses of risk scores that no block has ordered yet, by member.",
            "short",
            (gauge("cipherward_compute_uses_unordered", "member"),),
        ),
    ),
)

WORK: Final = Section(
    "Arithmetic",
    (
        Panel(
            "Jobs ended",
            "Jobs a second that ended, by kind and outcome, as their owners and workers count "
            "them.",
            "ops",
            (rate("cipherward_compute_jobs_total", "component, kind, outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Time of a job",
            "Median and 99th percentile. An owner's includes the way to the worker and the wait: "
            "the gap to the worker's own is the queue.",
            "s",
            quantiles("cipherward_compute_job_seconds", "component, kind"),
        ),
        Panel(
            "Queue",
            "Jobs that wait for a worker, and jobs that one has taken. Waiting ones that grow want "
            "more workers.",
            "short",
            (
                Query(
                    "sum by (member) (cipherward_compute_jobs_waiting{$of})", "{{member}} waiting"
                ),
                Query("sum by (member) (cipherward_compute_jobs_taken{$of})", "{{member}} taken"),
            ),
        ),
        Panel(
            "Jobs sent again",
            "Jobs a minute that were sent again, because a worker was lost.",
            "cpm",
            (per_minute("cipherward_compute_jobs_redelivered_total", "member"),),
        ),
        Panel(
            "Messages refused",
            "Messages a minute in the queue that are not ours, damaged, repeated or late. The "
            "queue is not trusted; many of them are somebody who writes to it.",
            "cpm",
            (per_minute("cipherward_compute_job_messages_refused_total", "component, reason"),),
            Kind.STACK,
        ),
        Panel(
            "Queue connected",
            "Green while the brokers of the queue answer; only with workers.",
            "short",
            (gauge("cipherward_compute_queue_connected", "member, component", how="min"),),
            Kind.STATES,
        ),
    ),
)

BOARD: Final = Board(
    "studies",
    "CipherWard / Studies",
    "Studies, the keys and budgets that they use, and the arithmetic behind them.",
    (NOW, PROGRESS, RELEASES, WORK),
)
