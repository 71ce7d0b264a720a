"""A hospital's rows, given to its own compute service as a stream of parts of about a MiB."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from grpc import aio
from numpy.typing import NDArray

from cipherward.compute.v1 import compute_service_pb2 as pb
from cipherward.compute.v1.compute_service_pb2_grpc import ComputeServiceStub
from cipherward_client.sdk.errors import ClientError, explaining
from cipherward_client.sdk.hospital import Hospital
from cipherward_client.sdk.retries import Patience, is_away, is_passing
from cipherward_client.sdk.study_requests import StudyRequestInvalid

CONTRIBUTE_SECONDS = 600.0  # two GiB over a line of four MiB/s
REFERENCE_BYTES = 16
PART_BYTES = 1 << 20  # of values; a message of gRPC has at most 4 MiB
UNITED = re.compile(r"\s*([^\[\]]*?)\s*(?:\[([^\[\]]*)\])?\s*")


@dataclass(frozen=True, slots=True)
class RowsPart:
    """Some rows: [rows, variables], NaN where a value is missing; 16 bytes a row, or none."""

    values: NDArray[np.float64] = field(repr=False)
    references: bytes = field(default=b"", repr=False)


# Called once a try: it begins with the first row every time.
Parts = Callable[[], Iterator[RowsPart]]


async def contribute_rows(
    hospital: Hospital,
    data_set: str,
    variables: Sequence[str],
    rows: Sequence[Sequence[float]] | NDArray[np.float64],
    *,
    references: Sequence[bytes] = (),
    request_id: str | None = None,
) -> int:
    """Store the hospital's rows of a data set at its own compute service; return how many.

    Args:
        variables: their names, each with its unit in brackets if the hospital declares one, as in
            `bmi [kg/m2]`: a study that has it in another unit is refused.
        rows: a number for each variable, NaN where it is missing. They replace what was stored.
        references: of the rows' patients, 16 random bytes each, no two alike: by them patients who
            opt out are left out. Without them no study counts the rows once a patient of the
            hospital is out.
        request_id: UUID; the same one again changes nothing.

    Raises:
        ClientError: the table is out of form or too large.
    """
    with explaining():
        if any(len(row) != len(variables) for row in rows):
            raise StudyRequestInvalid("a row has not one value for each variable")
        if references and len(references) != len(rows):
            raise StudyRequestInvalid("each row has a reference, or none has")
        if any(len(reference) != REFERENCE_BYTES for reference in references):
            raise StudyRequestInvalid(f"a reference has {REFERENCE_BYTES} bytes")
    values = np.asarray(rows, dtype=np.float64).reshape(len(rows), len(variables))
    whole = RowsPart(values, b"".join(references))
    return await contribute_parts(
        hospital, data_set, variables, lambda: iter((whole,)), request_id=request_id
    )


async def contribute_parts(
    hospital: Hospital,
    data_set: str,
    variables: Sequence[str],
    parts: Parts,
    *,
    request_id: str | None = None,
) -> int:
    """Store rows that need not be in memory at once, as `contribute_rows`; return how many.

    Args:
        parts: yields the rows in their order; called again when the service has gone away.

    Raises:
        ClientError: the table is out of form or too large.
        Exception: what `parts` raises, as it is; what was stored before stands.
    """
    header = pb.ContributeHeader(
        request_id=request_id or str(uuid.uuid4()),
        data_set=data_set,
        variables=[variable_of(text) for text in variables],
    )
    compute = hospital.alliance.compute_of(hospital.member)
    patience = Patience(CONTRIBUTE_SECONDS)
    reading = _Reading(parts)
    try:
        with explaining():
            while True:
                try:
                    return await _sent(compute, header, reading.begin, patience.left_seconds)
                except aio.AioRpcError as error:
                    # A line that breaks while a part is being sent is INTERNAL to grpc.aio.
                    if not (is_passing(error) or is_away(error)):
                        raise
                    await patience.pause(error)
    except ClientError:
        if reading.fault is not None:
            raise reading.fault from None
        raise


class _Reading:
    """Reads rows, and knows what went wrong: that is the caller's own, not this library's."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.fault: Exception | None = None

    def begin(self) -> Iterator[RowsPart]:
        try:
            yield from self._parts()
        except Exception as error:
            self.fault = error
            raise


async def _sent(
    compute: ComputeServiceStub, header: pb.ContributeHeader, parts: Parts, seconds: float
) -> int:
    call = compute.Contribute(timeout=seconds)
    try:
        async for message in _messages(header, parts):
            await call.write(message)
        await call.done_writing()
    except asyncio.InvalidStateError:
        pass  # it has ended early: what it answers says why
    except aio.AioRpcError:
        raise
    except BaseException:
        call.cancel()  # the rows cannot be read: the service must not wait for more
        raise
    return (await call).rows


async def _messages(
    header: pb.ContributeHeader, parts: Parts
) -> AsyncIterator[pb.ContributeRequest]:
    yield pb.ContributeRequest(header=header)
    rows = 0
    source = parts()
    while (part := await asyncio.to_thread(next, source, None)) is not None:
        step = max(1, PART_BYTES // (8 * max(1, len(header.variables))))
        for at in range(0, len(part.values), step):
            rows += len(part.values[at : at + step])
            yield await asyncio.to_thread(partial(_message, part, at, step))
    yield pb.ContributeRequest(end=pb.ContributeEnd(rows=rows))


def _message(part: RowsPart, at: int, step: int) -> pb.ContributeRequest:
    references = part.references[REFERENCE_BYTES * at : REFERENCE_BYTES * (at + step)]
    values = part.values[at : at + step].astype("<f8").tobytes()
    return pb.ContributeRequest(part=pb.ContributePart(values=values, references=references))


def variable_of(text: str) -> pb.DataSetVariable:
    """Return a variable from `name` or `name [unit]`; what is neither is refused as a name."""
    found = UNITED.fullmatch(text)
    if found is None:
        return pb.DataSetVariable(name=text)
    return pb.DataSetVariable(name=found[1], unit=(found[2] or "").strip())
