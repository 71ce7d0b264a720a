"""The SDK asks again what may pass, gives up on what will not, and never waits for ever."""

from __future__ import annotations

import time

import grpc
import pytest
from grpc import aio
from grpc.aio import Metadata

from cipherward_client.sdk.ledger import BATCH_BYTES, BATCH_TRANSACTIONS, batches
from cipherward_client.sdk.retries import AWAY_SECONDS, Patience, is_away, patiently
from cipherward_kit.drain import Draining
from cipherward_kit.errors import DETAILS_KEY, ServiceError


class Stale(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHAIN_STALE"


class Refused(ServiceError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "RELEASE_ENDED"


def refusal(error: ServiceError) -> aio.AioRpcError:
    trailers = Metadata((DETAILS_KEY, error.details("test.cipherward")))
    return aio.AioRpcError(error.code, Metadata(), trailers, details=str(error))


AWAY = aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata())
CUT = aio.AioRpcError(grpc.StatusCode.CANCELLED, Metadata(), Metadata())  # by a server that ends


class Service:
    """Answers the calls in turn: an error is raised, what comes after the last is 42."""

    def __init__(self, *errors: aio.AioRpcError) -> None:
        self._errors = list(errors)
        self.timeouts: list[float] = []

    async def call(self, timeout_seconds: float) -> int:
        self.timeouts.append(timeout_seconds)
        if self._errors:
            raise self._errors.pop(0)
        return 42


async def test_passing_refusals_are_asked_again_within_one_deadline() -> None:
    service = Service(refusal(Stale("stale")), AWAY)
    assert await patiently(service.call, 20) == 42
    assert service.timeouts == sorted(service.timeouts, reverse=True)
    assert service.timeouts[0] <= AWAY_SECONDS + 20


async def test_who_goes_away_in_the_middle_is_asked_again() -> None:
    service = Service(CUT, refusal(Draining("the server is going away")))
    assert await patiently(service.call, 20) == 42


def test_who_goes_away_is_left_for_another_and_who_refuses_is_not() -> None:
    assert all(is_away(error) for error in (AWAY, CUT, refusal(Draining("going"))))
    assert not any(is_away(error) for error in (refusal(Stale("stale")), refusal(Refused("no"))))


async def test_a_refusal_for_good_is_asked_once() -> None:
    service = Service(refusal(Refused("ended")))
    with pytest.raises(aio.AioRpcError):
        await patiently(service.call, 20)
    assert len(service.timeouts) == 1


async def test_a_reason_that_passes_for_a_question_is_asked_again_for_it() -> None:
    service = Service(refusal(Refused("not yet")))
    assert await patiently(service.call, 20, not_yet=(Refused.reason,)) == 42


async def test_the_deadline_ends_the_patience_with_the_last_refusal() -> None:
    stale = refusal(Stale("stale"))
    with pytest.raises(aio.AioRpcError) as told:
        await patiently(Service(*[stale] * 100).call, 0.2)
    assert told.value is stale


async def test_who_does_not_answer_is_not_waited_for_until_the_deadline() -> None:
    patience, started = Patience(60, away_seconds=0.2), time.monotonic()

    async def pause_for_ever() -> None:
        while True:
            await patience.pause(AWAY)

    with pytest.raises(aio.AioRpcError):
        await pause_for_ever()
    assert time.monotonic() - started < 10
    patience.progressed()
    await patience.pause(AWAY)  # it was there again in between


async def test_who_is_there_and_refuses_is_waited_for_from_when_it_was_back() -> None:
    patience = Patience(60, away_seconds=0.4, there_seconds=0.2)
    stale, started = refusal(Stale("stale")), time.monotonic()
    while time.monotonic() - started < 0.3:
        await patience.pause(AWAY)
    await patience.pause(stale)  # though more than 0.2 s have gone since the first try

    async def pause_for_ever() -> None:
        while True:
            await patience.pause(stale)

    with pytest.raises(aio.AioRpcError) as told:
        await pause_for_ever()
    assert told.value is stale
    assert time.monotonic() - started < 30


def test_batches_keep_order_and_bounds() -> None:
    transactions = [bytes(n % 7000) for n in range(1500)]
    made = batches(transactions)
    assert [one for _, batch in made for one in batch] == transactions
    for start, batch in made:
        assert transactions[start : start + len(batch)] == list(batch)
        assert 0 < len(batch) <= BATCH_TRANSACTIONS
        assert sum(map(len, batch)) <= BATCH_BYTES


def test_one_transaction_larger_than_a_batch_still_goes_alone() -> None:
    large = bytes(BATCH_BYTES + 1)
    assert batches([b"a", large, b"b"]) == [(0, [b"a"]), (1, [large]), (2, [b"b"])]
    assert batches([]) == []
