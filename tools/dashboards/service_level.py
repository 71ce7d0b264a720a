"""Dashboard: are the promises kept, and if not, where."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import Board, Kind, Panel, Query, Section
from tools.dashboards.queries import gauge, number

# Recorded by deploy/alerts: what is shown is what the alerts count.
CALLS: Final = "member_component:grpc_calls:rate5m"
FAILED: Final = "member_component:grpc_calls_failed:rate5m"
WAITED: Final = "member_component:grpc_waited_calls:rate5m"
SLOW: Final = "member_component:grpc_waited_calls_slow:rate5m"
AVAILABILITY: Final = 0.999  # of calls do not fail by our fault
LATENCY: Final = 0.99  # of calls that somebody waits for take at most a second
PAGE_BURN: Final = 14.4  # at this rate the budget of thirty days is gone after two
CERTIFICATE_SECONDS: Final = 604_800  # a week: whatever renews it has failed by then
DISK_RATIO: Final = 0.15  # as CipherwardDiskFilling


def _kept(bad: str, all_calls: str) -> tuple[Query]:
    """Return the share of good calls over the time that is shown."""
    spoilt = f"(sum(sum_over_time({bad}{{$of}}[$__range])) or vector(0))"
    return number(f"1 - {spoilt} / sum(sum_over_time({all_calls}{{$of}}[$__range]))")


def _bad_ratio(bad: str, all_calls: str) -> Query:
    ratio = f"({bad}{{$of}} or 0 * {all_calls}{{$of}}) / {all_calls}{{$of}}"
    return Query(ratio, "{{member}} {{component}}")


def _burn(name: str, budget: float) -> tuple[Query, Query]:
    """Return how many times too fast a budget burns, over an hour and over six."""
    return (_burned(name, "1h", budget), _burned(name, "6h", budget))


def _burned(name: str, window: str, budget: float) -> Query:
    ratio = f"member_component:{name}:ratio{window}{{$of}}"
    # No call that ever failed leaves no series: then nothing burns.
    return Query(
        f"({ratio} or 0 * {CALLS}{{$of}}) / {budget}", f"{{{{member}}}} {{{{component}}}} {window}"
    )


NOW: Final = Section(
    "Promises, over the time shown",
    (
        Panel(
            "Availability",
            "Share of calls that did not fail by our fault; 99.9 % is promised. Refusals by a rule "
            "and callers' mistakes are answers. Needs the recording rules of deploy/alerts.",
            "percentunit",
            _kept(FAILED, CALLS),
            Kind.NUMBER,
            good_from=AVAILABILITY,
            ceiling=1,
        ),
        Panel(
            "In time",
            "Share of calls that took at most a second; 99 % is promised. Streams, and calls as "
            "long as what they are given, are left out. Needs the recording rules of "
            "deploy/alerts.",
            "percentunit",
            _kept(SLOW, WAITED),
            Kind.NUMBER,
            good_from=LATENCY,
            ceiling=1,
        ),
        Panel(
            "Conditions unmet",
            "Conditions for serving that some process does not meet now; below it is said which. "
            "Anything above 0 for minutes takes that process out of service.",
            "short",
            number("count(cipherward_service_ready{$of} == 0) or vector(0)"),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "Not scraped",
            "Processes that Prometheus knows and does not reach: what they do is not on any "
            "dashboard.",
            "short",
            number('count(up{$of,component!=""} == 0) or vector(0)'),
            Kind.NUMBER,
            bad_from=1,
        ),
        Panel(
            "First certificate ends in",
            "Time until the first certificate expires, own or of an authority. They are renewed a "
            "third of their life before; under a week the renewal has failed.",
            "s",
            number("min(cipherward_service_certificate_expiry_timestamp_seconds{$of}) - time()"),
            Kind.NUMBER,
            good_from=CERTIFICATE_SECONDS,
        ),
        Panel(
            "Least disk left",
            "Share of a data folder's file system that is free, at the process that has least. "
            "A service stops accepting before a log cannot be written.",
            "percentunit",
            number(
                "min(cipherward_service_data_free_bytes{$of}"
                " / cipherward_service_data_capacity_bytes{$of})"
            ),
            Kind.NUMBER,
            good_from=DISK_RATIO,
            ceiling=1,
        ),
    ),
)

BUDGETS: Final = Section(
    "Budgets",
    (
        Panel(
            "Calls that failed",
            "Share of calls in five minutes that failed by our fault, 0 to 1; 0.001 is what the "
            "promise leaves. Look at the gRPC dashboard for methods and statuses.",
            "percentunit",
            (_bad_ratio(FAILED, CALLS),),
            bad_from=1 - AVAILABILITY,
        ),
        Panel(
            "Calls slower than a second",
            "Share of calls in five minutes that took longer than promised, 0 to 1; 0.01 is what "
            "the promise leaves.",
            "percentunit",
            (_bad_ratio(SLOW, WAITED),),
            bad_from=1 - LATENCY,
        ),
        Panel(
            "Calls",
            "Calls a second that the promises count; without calls nothing is promised or broken.",
            "reqps",
            (Query(f"{CALLS}{{$of}}", "{{member}} {{component}}"),),
        ),
        Panel(
            "Burn of the availability budget",
            "How many times faster than allowed the month's 0.1 % is used up. Both lines over 14.4 "
            "(6 over the longer time) wake somebody: the month's budget is gone in two to five "
            "days.",
            "none",
            _burn("grpc_calls_failed", 0.001),
            bad_from=PAGE_BURN,
        ),
        Panel(
            "Burn of the latency budget",
            "How many times faster than allowed the month's 1 % of slow calls is used up; read it "
            "as the one beside it.",
            "none",
            _burn("grpc_waited_calls_slow", 0.01),
            bad_from=PAGE_BURN,
        ),
        Panel(
            "Releases running",
            "Processes by the release that they are of. Two at once are right during an upgrade "
            "only.",
            "short",
            (Query("count by (version) (cipherward_build_info{$of})", "{{version}}"),),
            Kind.STACK,
        ),
    ),
)

READINESS: Final = Section(
    "Readiness",
    (
        Panel(
            "Conditions for serving",
            "Green while a process meets the condition. The first that turns red is the cause; "
            "others follow from it. What to do stands in the runbook CipherwardNotReady.",
            "short",
            (
                Query(
                    "min by (member, component, condition) (cipherward_service_ready{$of})",
                    "{{member}} {{component}} {{condition}}",
                ),
            ),
            Kind.STATES,
        ),
    ),
)

PROCESSES: Final = Section(
    "Processes",
    (
        Panel(
            "Restarts in an hour",
            "Starts of each process within the last hour. One is an upgrade; more is a process "
            "that cannot go on: its last line says why, with an exit status of its own.",
            "short",
            (
                Query(
                    "sum by (member, component) (changes(process_start_time_seconds{$of}[1h]))",
                    "{{member}} {{component}}",
                ),
            ),
            bad_from=2,
        ),
        Panel(
            "Processor time",
            "Seconds of processor a second, 1 is one core. Long plateaus at whole numbers are work "
            "that waits for a core.",
            "none",
            (
                Query(
                    "sum by (member, component) (rate(process_cpu_seconds_total{$of}[$every]))",
                    "{{member}} {{component}}",
                ),
            ),
        ),
        Panel(
            "Memory",
            "Resident memory. Kubernetes ends a process at its limit; a slow climb over days is a "
            "leak.",
            "bytes",
            (gauge("process_resident_memory_bytes", "member, component", how="sum"),),
        ),
        Panel(
            "Disk left",
            "Share of the data folder's file system that is free. Under 15 % make room.",
            "percentunit",
            (
                Query(
                    "min by (member, component) (cipherward_service_data_free_bytes{$of}"
                    " / cipherward_service_data_capacity_bytes{$of})",
                    "{{member}} {{component}}",
                ),
            ),
            good_from=DISK_RATIO,
            ceiling=1,
        ),
        Panel(
            "Files open",
            "Share of the files and sockets that a process may have open. At 1 it can take no "
            "call.",
            "percentunit",
            (
                Query(
                    "max by (member, component) (process_open_fds{$of} / process_max_fds{$of})",
                    "{{member}} {{component}}",
                ),
            ),
            bad_from=0.8,
            ceiling=1,
        ),
        Panel(
            "Certificates end in",
            "Time until the first certificate of each process expires: its own, and those of the "
            "members' authorities that it trusts.",
            "s",
            (
                Query(
                    "min by (member, component, certificate)"
                    " (cipherward_service_certificate_expiry_timestamp_seconds{$of}) - time()",
                    "{{member}} {{component}} {{certificate}}",
                ),
            ),
            good_from=CERTIFICATE_SECONDS,
        ),
    ),
)

BOARD: Final = Board(
    "service-level",
    "CipherWard / Service level",
    "Whether calls are answered, in time, and what stands in the way.",
    (NOW, BUDGETS, READINESS, PROCESSES),
)
