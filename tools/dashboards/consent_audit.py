"""Dashboard: who was let in, who was not, and does every rule still hold."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import Board, Kind, Panel, Query, Section
from tools.dashboards.queries import (
    age,
    agreed_per_minute,
    gauge,
    name_of,
    number,
    per_minute,
    quantile,
)

ROUND_SECONDS: Final = 600  # as CipherwardCanariesSilent; a round of reads is made every minute
SLOT_KEY_SECONDS: Final = 691_200  # eight days; it is renewed every seven


def _decided(outcome: str) -> tuple[Query]:
    """Return decisions of an outcome over the time shown, as any one member counts them."""
    one = f'increase(cipherward_contract_decisions_total{{$of,outcome="{outcome}"}}[$__range])'
    return number(f"max(sum by (member, instance) ({one})) or vector(0)")


NOW: Final = Section(
    "Over the time shown",
    (
        Panel(
            "Accesses permitted",
            "Requests to open a record that the contracts permitted.",
            "short",
            _decided("permitted"),
            Kind.NUMBER,
        ),
        Panel(
            "Accesses refused",
            "Requests to open a record that the contracts refused; the deny canaries' own are "
            "among them, some every hour.",
            "short",
            _decided("refused"),
            Kind.NUMBER,
        ),
        Panel(
            "Reviews overdue",
            "Emergency accesses that nobody has reviewed in time. Their staff are suspended.",
            "short",
            number("max(cipherward_contract_reviews_overdue{$of})"),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "Rules that leak",
            "Paths and cases that gave a canary what must be refused, and have not refused it "
            "since.",
            "short",
            number("sum(cipherward_canary_leaking{$of})"),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "Canaries' last round",
            "Time since the canaries last asked for what must be refused, at the member where it "
            "is longest. Silence is no proof.",
            "s",
            number(
                'time() - min(cipherward_canary_last_round_timestamp_seconds{$of,kind="reads"} > 0)'
            ),
            Kind.NUMBER,
            bad_from=ROUND_SECONDS,
        ),
        Panel(
            "Timers due",
            "Timers of contracts whose time has passed and that have not fired: rights that "
            "should have ended.",
            "short",
            number("max(cipherward_contract_timers_due{$of})"),
            Kind.NUMBER,
            bad_from=1,
        ),
    ),
)

DECISIONS: Final = Section(
    "Decisions",
    (
        Panel(
            "Decisions",
            "Decisions a minute on requests to open a record, by outcome and reason. Every member "
            "decides the same; the largest count is shown, not their sum.",
            "cpm",
            (agreed_per_minute("cipherward_contract_decisions_total", "outcome, reason"),),
            Kind.STACK,
        ),
        Panel(
            "Accesses reported",
            "Permitted accesses a minute that the custodian has reported on. Failed ones were "
            "permitted and could not be carried out.",
            "cpm",
            (agreed_per_minute("cipherward_contract_disclosures_total", "outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Notices",
            "Notices a minute to members and owners, by kind: emergencies, reviews due and "
            "missed, suspensions and others.",
            "cpm",
            (agreed_per_minute("cipherward_contract_notices_total", "kind"),),
            Kind.STACK,
        ),
        Panel(
            "Reviews overdue",
            "Emergency accesses that nobody has reviewed in time, until they are handed over.",
            "short",
            (gauge("cipherward_contract_reviews_overdue", "member"),),
            bad_from=1,
        ),
        Panel(
            "Next timer",
            "Time until the next timer of a contract falls due; none while nothing waits.",
            "s",
            (
                Query(
                    "min by (member) (cipherward_contract_timer_next_timestamp_seconds{$of} > 0)"
                    " - time()",
                    "{{member}}",
                ),
            ),
        ),
        Panel(
            "Timers fired late",
            "99th percentile of how long after its time a timer fired: how much longer than given "
            "a right lasted.",
            "s",
            (quantile(0.99, "cipherward_contract_timer_late_seconds", "member"),),
            bad_from=30,
        ),
    ),
)

RELEASES: Final = Section(
    "Keys and ciphertext",
    (
        Panel(
            "Releases by custodians",
            "Orders a minute to release a record's key, by what came of them at its custodian.",
            "cpm",
            (per_minute("cipherward_storage_releases_total", "member, outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Shares by guardians",
            "Shares a minute by outcome: made, refused for good, or put off because a slot, a "
            "share or the store is away.",
            "cpm",
            (per_minute("cipherward_storage_shares_total", "outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Shares pending",
            "Shares that were ordered and are not made. Above 0 for minutes: a custodian is away.",
            "short",
            (gauge("cipherward_storage_shares_pending", "member"),),
        ),
        Panel(
            "Downloads",
            "Ciphertext sent to readers.",
            "Bps",
            (
                Query(
                    "sum by (member)"
                    " (rate(cipherward_storage_downloaded_bytes_total{$of}[$every]))",
                    "{{member}}",
                ),
            ),
        ),
        Panel(
            "Downloads running",
            "Downloads that run now.",
            "short",
            (gauge("cipherward_storage_downloads_running", "member"),),
        ),
        Panel(
            "Downloads cut",
            "Running downloads a minute that the service ended, by reason: a right that ended in "
            "the middle, or a chain that went silent.",
            "cpm",
            (per_minute("cipherward_storage_downloads_cut_total", "member, reason"),),
            Kind.STACK,
        ),
        Panel(
            "Openings of identities",
            "Warrants a minute that named a member a guardian, by what came of them.",
            "cpm",
            (per_minute("cipherward_identity_opening_shares_total", "member, outcome"),),
        ),
        Panel(
            "Erasures",
            "Records a minute that were erased and reported, by the member's part.",
            "cpm",
            (per_minute("cipherward_storage_erasures_total", "member, role"),),
        ),
        Panel(
            "Erasures pending",
            "Erasures that wait for the end of a slot key: at most a week.",
            "short",
            (gauge("cipherward_storage_erasures_pending", "member"),),
        ),
        Panel(
            "Age of the slot key",
            "Time since the slot key in use was made. It is renewed every seven days; until then "
            "a backup opens what was erased.",
            "s",
            (age("cipherward_storage_slot_key_made_timestamp_seconds", "member"),),
            bad_from=SLOT_KEY_SECONDS,
        ),
        Panel(
            "Slots unusable",
            "Slots that do not open and hold up the renewal of slot keys.",
            "short",
            (gauge("cipherward_storage_slots_unusable", "member"),),
            bad_from=1,
        ),
    ),
)

CANARIES: Final = Section(
    "Deny canaries",
    (
        Panel(
            "Questions",
            "Questions a minute that must be refused, by what came of them: given is a breach, "
            "unknown is nobody who answers.",
            "cpm",
            (per_minute("cipherward_canary_asked_total", "member, outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Breaches",
            "Answers that had to be refusals, since the canaries' start, by path and case.",
            "short",
            (gauge("cipherward_canary_breaches_total", "member, path, case"),),
            bad_from=1,
        ),
        Panel(
            "Since the last round",
            "Time since a round ended: reads about every minute, acts about every hour.",
            "s",
            (
                Query(
                    "time() - max by (member, kind)"
                    " (cipherward_canary_last_round_timestamp_seconds{$of} > 0)",
                    name_of("member, kind"),
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    "consent-audit",
    "CipherWard / Consent and audit",
    "Accesses, refusals, reviews and erasures, and whether what must be refused is.",
    (NOW, DECISIONS, RELEASES, CANARIES),
)
