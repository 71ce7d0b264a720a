"""A question that must be refused, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from cipherward_chain.endpoints import EndpointUnknown
from cipherward_client.canaries.spots import Outcome, Spot
from cipherward_client.sdk.errors import ActRefused, ClientError
from cipherward_client.sdk.retries import is_passing
from cipherward_kit.errors import reason_of

# A service that takes longer is away for a canary; its own bounds are shorter.
ASK_SECONDS = 20.0

# What says no, and means it: the rest are failures of the service or of the way to it.
_REFUSALS = frozenset(
    (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
    )
)

Ask = Callable[[], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Question:
    """Something that must be refused at a spot."""

    spot: Spot
    ask: Ask


@dataclass(frozen=True, slots=True)
class Denial:
    """A contract's no: its reason, and the sorted ids of the policies that decided, if any."""

    reason: str
    policies: tuple[str, ...] = ()


async def first_of(stream: aio.UnaryStreamCall[Any, Any]) -> object:
    """Return a stream's first part, or its end, which is no refusal either; the rest is unwanted.

    Raises:
        grpc.aio.AioRpcError: it was refused, or nobody answers.
    """
    try:
        return await stream.read()
    finally:
        stream.cancel()


def refused_read(call: Callable[[], Awaitable[object]], reasons: Collection[str]) -> Ask:
    """Return a question to a service; any answer of it is a breach.

    Args:
        call: makes the call, with a deadline.
        reasons: of which one is the right refusal.
    """

    async def ask() -> Outcome:
        try:
            await call()
        except aio.AioRpcError as error:
            return _of_refusal(error, reasons)
        except EndpointUnknown:  # the member has left, or runs no such service
            return Outcome.UNKNOWN
        return Outcome.GIVEN

    return ask


def refused_act(call: Callable[[], Awaitable[object]], denials: Collection[Denial]) -> Ask:
    """Return an attempt at an act; that the chain carries it out is a breach.

    Args:
        call: submits it and returns when it is proven.
        denials: of which one is the right refusal.
    """

    async def ask() -> Outcome:
        try:
            await call()
        except ActRefused as refused:
            return of_denial(Denial(refused.reason, refused.policies), denials)
        except ClientError:
            return Outcome.UNKNOWN
        return Outcome.GIVEN

    return ask


def of_denial(denial: Denial, right: Collection[Denial]) -> Outcome:
    """Return what a contract's no is worth."""
    return Outcome.REFUSED if denial in right else Outcome.OTHERWISE


def _of_refusal(error: aio.AioRpcError, reasons: Collection[str]) -> Outcome:
    reason = reason_of(error)
    if reason in reasons:
        return Outcome.REFUSED
    said = bool(reason) and error.code() in _REFUSALS and not is_passing(error)
    return Outcome.OTHERWISE if said else Outcome.UNKNOWN
