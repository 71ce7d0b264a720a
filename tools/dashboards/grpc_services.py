"""Dashboard: rate, errors and duration of calls, by service and method."""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import FileDescriptor

from cipherward.compute.v1 import compute_service_pb2
from cipherward.contract.v1 import contract_service_pb2
from cipherward.identity.v1 import identity_service_pb2
from cipherward.ledger.v1 import ledger_service_pb2
from cipherward.storage.v1 import storage_service_pb2
from tools.dashboards.board import Board, Kind, Panel, Query, Section
from tools.dashboards.queries import gauge, name_of, quantile, quantiles, rate

FILES: Final[tuple[FileDescriptor, ...]] = (
    compute_service_pb2.DESCRIPTOR,
    contract_service_pb2.DESCRIPTOR,
    identity_service_pb2.DESCRIPTOR,
    ledger_service_pb2.DESCRIPTOR,
    storage_service_pb2.DESCRIPTOR,
)
STARTED: Final = "grpc_server_call_started_total"
DURATION: Final = "grpc_server_call_duration_seconds"
SERVICE: Final = "member, component"
LINES_MAX: Final = 10  # more in one picture cannot be told apart


def streams() -> str:
    """Return the pattern of methods that last as long as somebody follows, or what they carry."""
    names = {
        method.name
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
        if method.client_streaming or method.server_streaming
    }
    return f".*/({'|'.join(sorted(names))})"


ONE_ANSWER: Final = f'grpc_method!~"{streams()}"'
STREAM: Final = f'grpc_method=~"{streams()}"'


def _top(query: Query) -> tuple[Query]:
    return (Query(f"topk({LINES_MAX}, {query.expression})", query.legend),)


def _in_flight(by: str) -> Query:
    """Return calls begun and not ended: a method that never ended one has no second series."""
    begun = f"sum by ({by}) ({STARTED}{{$of}})"
    ended = f"sum by ({by}) ({DURATION}_count{{$of}})"
    return Query(f"{begun} - ({ended} or 0 * {begun})", name_of(by))


RATE: Final = Section(
    "Rate",
    (
        Panel(
            "Calls begun",
            "Calls a second by service, refused ones included.",
            "reqps",
            (rate(STARTED, SERVICE),),
        ),
        Panel(
            "Busiest methods",
            "The ten methods that are called most. A method that was quiet for weeks and leads "
            "here has a new caller.",
            "reqps",
            _top(rate(STARTED, "grpc_method")),
        ),
        Panel(
            "Calls in flight",
            "Calls begun and not ended, streams included; followers of the chain hold one stream "
            "each. What climbs and does not fall waits for something: a lock, a peer, the disk.",
            "short",
            (_in_flight(SERVICE),),
        ),
    ),
)

ERRORS: Final = Section(
    "Errors",
    (
        Panel(
            "Ends other than OK",
            "Ended calls a second by their gRPC status. PERMISSION_DENIED and FAILED_PRECONDITION "
            "are rules at work; INTERNAL is a bug; UNAVAILABLE is somebody that is away.",
            "reqps",
            (rate(f"{DURATION}_count", "component, grpc_status", 'grpc_status!="OK"'),),
            Kind.STACK,
        ),
        Panel(
            "Refusals by reason",
            "The ten reasons that callers are given most. Each is a class in the code and has the "
            "same name in the SDK; SERVER_BUSY is a limit of ours.",
            "reqps",
            _top(rate("cipherward_rpc_refusals_total", "component, reason")),
        ),
        Panel(
            "Methods that fail",
            "The ten methods with most ends that are our fault.",
            "reqps",
            _top(
                rate(
                    f"{DURATION}_count",
                    "component, grpc_method, grpc_status",
                    'grpc_status=~"UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS|DEADLINE_EXCEEDED"',
                )
            ),
        ),
    ),
)

TIME: Final = Section(
    "Duration",
    (
        Panel(
            "Calls with one answer",
            "Median and 99th percentile by service, streams left out. A second is promised for 99 "
            "of 100.",
            "s",
            quantiles(DURATION, "component", ONE_ANSWER),
            bad_from=1,
        ),
        Panel(
            "Slowest methods",
            "The ten methods with one answer that have the largest 99th percentile.",
            "s",
            _top(quantile(0.99, DURATION, "grpc_method", ONE_ANSWER)),
            bad_from=1,
        ),
        Panel(
            "Streams",
            "Median life of streams that ended, by method: uploads and downloads as long as what "
            "they carry, subscriptions as long as somebody follows; thirty seconds and longer are "
            "shown as thirty.",
            "s",
            (quantile(0.5, DURATION, "grpc_method", STREAM),),
        ),
        Panel(
            "Heavy work in flight",
            "Jobs of arithmetic that run or wait in a process's own workers, by module. At the "
            "limit calls are refused with RESOURCE_EXHAUSTED.",
            "short",
            (gauge("cipherward_service_jobs_in_flight", "member, component, module", how="sum"),),
        ),
        Panel(
            "Spans of traces",
            "Spans that ended, a second, by what became of them. Empty without traces. Dropped: "
            "there was no room; refused: the collector is away or does not take them.",
            "ops",
            (rate("cipherward_trace_spans_total", "member, component, outcome"),),
        ),
    ),
)

BOARD: Final = Board(
    "grpc",
    "CipherWard / gRPC",
    "Rate, errors and duration of the calls that services answer.",
    (RATE, ERRORS, TIME),
    by_component=True,
)
