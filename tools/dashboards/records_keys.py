"""Dashboard: what is stored, who is let in at the door, and the members' shared keys."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import Board, Kind, Panel, Query, Section
from tools.dashboards.queries import age, gauge, number, per_minute, quantiles, rate

SCRUB_SECONDS: Final = 2_592_000  # a month: what nobody has read for so long may be gone
CEREMONY_SECONDS: Final = 43_200  # as CipherwardCeremonyStuck

NOW: Final = Section(
    "Now",
    (
        Panel(
            "Records",
            "Records with ciphertext, over all members chosen, as of their last finished scrubs.",
            "short",
            number("sum(cipherward_storage_records{$of})"),
            Kind.NUMBER,
        ),
        Panel(
            "Ciphertext",
            "Size of those records.",
            "bytes",
            number("sum(cipherward_storage_stored_bytes{$of})"),
            Kind.NUMBER,
        ),
        Panel(
            "Corrupt pieces",
            "Records, columns and sealed pieces of compute that the last finished scrubs found to "
            "differ from what was put there. They are refused, never served: restore them.",
            "short",
            number(
                "sum(cipherward_storage_scrub_corrupt{$of}"
                " or cipherward_compute_scrub_corrupt{$of})"
            ),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "Last scrub",
            "Time since all that is stored was last read again, at the service where it is "
            "longest.",
            "s",
            number(
                "time() - min((cipherward_storage_scrub_completed_timestamp_seconds{$of}"
                " or cipherward_compute_scrub_completed_timestamp_seconds{$of}) > 0)"
            ),
            Kind.NUMBER,
            bad_from=SCRUB_SECONDS,
        ),
        Panel(
            "Ceremonies",
            "Ceremonies of shared keys under way at any member.",
            "short",
            number("max(cipherward_ceremony_running{$of}) or vector(0)"),
            Kind.NUMBER,
        ),
        Panel(
            "Oldest phase",
            "How long the oldest ceremony has been in its phase. A member that is silent is waited "
            "for and then left out.",
            "s",
            number(
                "max(time() - (cipherward_ceremony_phase_begun_timestamp_seconds{$of} > 0))"
                " or vector(0)"
            ),
            Kind.NUMBER,
            bad_from=CEREMONY_SECONDS,
        ),
    ),
)

RECORDS: Final = Section(
    "Records",
    (
        Panel(
            "Stored",
            "Ciphertext of all records by member, as of the last finished scrub.",
            "bytes",
            (gauge("cipherward_storage_stored_bytes", "member"),),
            Kind.STACK,
        ),
        Panel(
            "Records",
            "Records with ciphertext by member, as of the last finished scrub.",
            "short",
            (gauge("cipherward_storage_records", "member"),),
            Kind.STACK,
        ),
        Panel(
            "Uploaded",
            "Ciphertext that became records.",
            "Bps",
            (rate("cipherward_storage_uploaded_bytes_total", "member"),),
        ),
        Panel(
            "Uploads",
            "Uploads a minute that ended: stored, or repeated by a client that had not heard.",
            "cpm",
            (per_minute("cipherward_storage_uploads_total", "member, outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Never anchored",
            "Records and uploads a minute that were deleted because nobody anchored them on the "
            "chain. Many are a client that stops half way.",
            "cpm",
            (per_minute("cipherward_storage_unanchored_removed_total", "member"),),
        ),
        Panel(
            "Pieces read again",
            "Records and columns of storage, and sealed pieces of compute, a minute that the scrub "
            "compared with what was put there.",
            "cpm",
            (
                per_minute("cipherward_storage_scrub_pieces_total", "member, kind, outcome"),
                per_minute("cipherward_compute_scrub_pieces_total", "member, kind, outcome"),
            ),
            Kind.STACK,
        ),
        Panel(
            "Since the last scrub",
            "Time since all records and columns of a member, and all that its compute has sealed, "
            "were last read again.",
            "s",
            (
                age("cipherward_storage_scrub_completed_timestamp_seconds", "member, component"),
                age("cipherward_compute_scrub_completed_timestamp_seconds", "member, component"),
            ),
            bad_from=SCRUB_SECONDS,
        ),
        Panel(
            "Corrupt parts met by readers",
            "Parts a minute that a reader asked for and that were not what was uploaded.",
            "cpm",
            (per_minute("cipherward_storage_parts_corrupt_total", "member"),),
            bad_from=0.001,
        ),
    ),
)

IDENTITY: Final = Section(
    "Presentations",
    (
        Panel(
            "Presentations verified",
            "Presentations a second by outcome. A wave of invalid ones is a client of another "
            "release, or somebody who tries.",
            "ops",
            (rate("cipherward_identity_presentations_total", "member, outcome"),),
            Kind.STACK,
        ),
        Panel(
            "Presentations together",
            "Median and 99th percentile of how many were verified in one batch: larger batches "
            "cost less each.",
            "short",
            quantiles("cipherward_identity_batch_size", "member"),
        ),
        Panel(
            "Verifying a batch",
            "Median and 99th percentile, the wait for a worker included. A ledger does not vote "
            "for a block before.",
            "s",
            quantiles("cipherward_identity_verify_seconds", "member"),
            bad_from=1,
        ),
    ),
)

CEREMONIES: Final = Section(
    "Shared keys",
    (
        Panel(
            "Ceremonies running",
            "Ceremonies under way, by what the key is for.",
            "short",
            (gauge("cipherward_ceremony_running", "member, component, purpose"),),
        ),
        Panel(
            "Phases",
            "Members whose oldest ceremony is in each phase. A phase that stays waits for the "
            "member that is not in it.",
            "short",
            (gauge("cipherward_ceremony_phase", "purpose, phase", how="sum"),),
            Kind.STACK,
        ),
        Panel(
            "Time in the phase",
            "How long the oldest ceremony has been in its phase, as each process has seen it.",
            "s",
            (
                age(
                    "cipherward_ceremony_phase_begun_timestamp_seconds",
                    "member, component, purpose",
                ),
            ),
            bad_from=CEREMONY_SECONDS,
        ),
        Panel(
            "Ceremonies ended",
            "Ceremonies that ended since each process's start, by what the member got: share is "
            "right; lost and failed want a person (runbook CipherwardCeremonyWithoutAShare).",
            "short",
            (
                Query(
                    "sum by (member, component, purpose, outcome)"
                    " (cipherward_ceremony_ended_total{$of})",
                    "{{member}} {{component}} {{purpose}} {{outcome}}",
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    "records-keys",
    "CipherWard / Records and keys",
    "Ciphertext and its scrubs, presentations, and the keys that members share.",
    (NOW, RECORDS, IDENTITY, CEREMONIES),
)
