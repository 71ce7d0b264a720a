"""Failures a caller may see, and their one rendering on the wire (AIP-193)."""

from __future__ import annotations

from typing import ClassVar, TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

E = TypeVar("E", bound=BaseException)

DETAILS_KEY = "grpc-status-details-bin"  # fixed by the gRPC richer error model

# gRPC drops trailers above 8 KiB, and a text travels twice (percent-encoded and in the details).
TEXT_CHARACTERS_MAX = 500


def clipped(text: str) -> str:
    """Return `text`, shortened with an ellipsis so that it fits the trailers of an answer."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return text[: TEXT_CHARACTERS_MAX - 3] + "..."


class ServiceError(Exception):
    """An expected refusal; subclass it once per distinct cause.

    Keyword arguments become `ErrorInfo.metadata`: every variable that appears in the message goes
    there too, so that no caller ever parses text. Metadata is public and is logged: no pseudonym,
    key or content of a record may be in it. Texts are clipped to TEXT_CHARACTERS_MAX on the wire.
    """

    code: ClassVar[grpc.StatusCode]
    reason: ClassVar[str]  # UPPER_SNAKE, unique within the service

    def __init__(self, message: str, **metadata: str | int) -> None:
        super().__init__(message)
        self.metadata = {key: clipped(str(value)) for key, value in metadata.items()}

    def details(self, domain: str) -> bytes:
        """Return the serialized `google.rpc.Status` with its single `ErrorInfo`."""
        info = Any()
        info.Pack(ErrorInfo(reason=self.reason, domain=domain, metadata=self.metadata))
        number: int = self.code.value[0]
        return Status(code=number, message=clipped(str(self)), details=[info]).SerializeToString()


class CannotStart(Exception):
    """A process refuses to start; its text is one line for the operator, with cause and fix.

    Subclass it once per cause and give each its `exit_status`; `run_service` prints the text
    without a traceback and exits with that status.
    """

    exit_status: ClassVar[int] = 1


def first_cause(group: BaseExceptionGroup[E]) -> E:
    """Return the first exception of a group that is none itself.

    Raise it from an ordinary `except` of the group: what is raised within `except*` comes out in
    another group on some releases of Python 3.11 (3.11.2 does so).
    """
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return first_cause(cast("BaseExceptionGroup[E]", first))
    return first


def error_info(error: aio.AioRpcError) -> ErrorInfo | None:
    """Return the `ErrorInfo` a server of ours attached, or None if it attached none."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                details = Status.FromString(value).details
            except DecodeError:  # not one of our servers: a proxy, say
                return None
            for detail in details:
                info = ErrorInfo()
                if detail.Unpack(info):
                    return info
    return None


def reason_of(error: aio.AioRpcError) -> str:
    """Return the reason a server of ours gave, or "" if it gave none."""
    info = error_info(error)
    return info.reason if info is not None else ""
