"""Every failure of the SDK: a reason, one cause and one fix, never a traceback for a person."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar, cast

import grpc
from grpc import aio

from cipherward_client.sdk.advice import ADVICE, UNEXPECTED
from cipherward_kit.errors import reason_of

# What a refusal without a reason of ours means: it did not come from a service of ours.
_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "SERVICE_AWAY",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.CANCELLED: "CALL_CANCELLED",
    grpc.StatusCode.UNIMPLEMENTED: "NOT_SERVED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "SERVER_BUSY",
}
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class ClientError(Exception):
    """A failure that a person is told about.

    `reason` is UPPER_SNAKE; `cause` and `fix` are one sentence each, from the table of advice;
    `detail` are the words of whoever refused, or empty.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        advice = ADVICE.get(reason) or ADVICE[UNEXPECTED]
        self.reason = reason
        self.cause = advice.cause
        self.fix = advice.fix
        self.detail = detail
        super().__init__(f"{reason}: {advice.cause}" + (f" ({detail})" if detail else ""))


class ActRefused(ClientError):
    """The chain refused an act: `policies` are the sorted ids of those that decided, if any."""

    def __init__(self, reason: str, detail: str, policies: tuple[str, ...], receipt: bytes) -> None:
        super().__init__(reason, detail)
        self.policies = policies
        self.receipt = receipt


class CheckFailed(ValueError):
    """Something that was received is not what was asked for; subclass it once per cause."""

    reason: ClassVar[str] = "CHECK_FAILED"


def reasons_of(kind: type[BaseException]) -> list[str]:
    """Return the reasons of a class of errors, its own first, then those of its bases.

    A class without `reason` has its name as one: TooFewShares is TOO_FEW_SHARES.
    """
    found: list[str] = []
    for one in kind.__mro__:
        given = vars(one).get("reason")
        found.append(given if isinstance(given, str) else _WORD.sub("_", one.__name__).upper())
    return found


def explained(error: BaseException) -> ClientError:
    """Return the error as a person is told about it."""
    if isinstance(error, ClientError):
        return error
    if isinstance(error, aio.AioRpcError):
        reason = reason_of(error) or _BY_CODE.get(error.code(), "SERVICE_FAILED")
        return ClientError(reason, error.details() or "")
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return explained(group.exceptions[0])
    if isinstance(error, TimeoutError):
        return ClientError("DEADLINE_EXCEEDED", str(error))
    if isinstance(error, OSError):
        return ClientError("FILE_UNREADABLE", f"{error.filename or ''} {error.strerror}".strip())
    for reason in reasons_of(type(error)):
        if reason in ADVICE:
            return ClientError(reason, str(error))
    return ClientError(UNEXPECTED, type(error).__name__)


@contextmanager
def explaining() -> Generator[None]:
    """Turn what fails inside into a `ClientError`; cancellation and exits pass."""
    try:
        yield
    except ClientError:
        raise
    except Exception as error:
        raise explained(error) from error
