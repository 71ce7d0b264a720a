"""Lives of a data key that goes over to others: both executors agree on each, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from cipherward_contract.machine_versions import NEWEST_VERSION
from tests.reference import cast, words
from tests.reference.base import Base
from tests.reference.drawing import HOUR
from tests.reference.histories import ALONE, Histories
from tests.reference.history import History, Tally
from tests.reference.running import bases

pytestmark = pytest.mark.slow

HANDED_OVER = 7  # steps from the proposal on: the vote, and six reports


@pytest.fixture(scope="module")
def beginning() -> Generator[tuple[Base, asyncio.Runner]]:
    """The newest machine's beginning, and who runs both executors."""
    with asyncio.Runner() as runner, bases(runner) as made:
        yield made[NEWEST_VERSION], runner


@pytest.fixture
def told(beginning: tuple[Base, asyncio.Runner]) -> Generator[Histories]:
    """A teller of a history, which is played to its end by both; a data key is ready."""
    teller = Histories()
    history = teller.history = History(*beginning, Tally())
    teller.data_key("hospital-a", {}, 14, ALONE)
    assert history.where(history.instances[-1]) == ("data-key", "ready")
    yield teller
    history.finish()


def reshared(told: Histories, steps: int, *members: str) -> bytes:
    """Take a resharing of the key so many steps; return its id."""
    told.reshare("hospital-a", 0, {"members": list(members), "threshold": 3}, steps, ALONE)
    return told.history.instances[-1]


def withdraw(told: Histories, resharing: bytes) -> None:
    told.history.say("hospital-b", words.Move(resharing, "withdraw", {}))
    told.history.decide()


def stand(told: Histories, *instances: bytes) -> list[str]:
    return [told.history.where(instance)[1] for instance in instances]


def test_a_key_goes_over_twice_and_is_ended_by_those_that_hold_it(told: Histories) -> None:
    key = told.history.instances[-1]
    first = reshared(told, HANDED_OVER, *cast.MEMBERS[:3])
    attempt = reshared(told, 3, *cast.MEMBERS)
    second = reshared(told, HANDED_OVER, *cast.MEMBERS)
    assert stand(told, first, attempt, second) == ["superseded", "ended", "handed_over"]
    for member in cast.MEMBERS[:3]:
        told.history.say(member, words.Vote(second, "retire", True))
    told.history.decide()
    assert stand(told, key, second) == ["retired", "retired"]


def test_what_computes_with_a_key_ends_with_its_hand_over_and_begins_anew(
    told: Histories,
) -> None:
    history = told.history
    told.risk_score("hospital-b", 0, {}, ALONE)
    before = history.instances[-1]
    resharing = reshared(told, HANDED_OVER, "hospital-a", "hospital-b", "hospital-d")
    told.risk_score("hospital-b", 0, {}, ALONE)
    after = history.instances[-1]
    assert stand(told, before, resharing, after) == ["ended", "handed_over", "proposed"]
    told.risk_score("hospital-b", 0, {"members": list(cast.MEMBERS)}, ALONE)
    assert history.stage.results[0].reason == "KEY_REFUSED"


def test_those_that_are_left_after_a_removal_hold_the_key_until_its_time(
    told: Histories,
) -> None:
    history = told.history
    key = history.instances[-1]
    told.against_a_member("hospital-a", "removal", "hospital-d", HOUR, ALONE)
    removal = history.instances[-1]
    for member in cast.MEMBERS[:3]:
        history.say(member, words.Vote(removal, "remove", True))
    history.decide()
    resharing = reshared(told, HANDED_OVER, *cast.MEMBERS[:3])
    assert stand(told, resharing) == ["handed_over"]
    history.pass_until(history.due_of(key))
    history.say("hospital-a", words.Tick())
    history.decide()
    assert stand(told, key, resharing) == ["retired", "ended"]


def test_an_attempt_that_one_withdraws_from_leaves_the_key(told: Histories) -> None:
    key = told.history.instances[-1]
    for steps in (0, 3, 6):
        attempt = reshared(told, steps, *cast.MEMBERS[:3])
        withdraw(told, attempt)
        assert stand(told, key, attempt) == ["ready", "withdrawn"]


def test_attempts_spend_releases_until_the_key_is_spent(told: Histories) -> None:
    """Its flags have spent one of eight, and nobody else uses it."""
    key = told.history.instances[-1]
    for left in range(6, -1, -1):
        attempt = reshared(told, 5, *cast.MEMBERS[:3])
        withdraw(told, attempt)
        assert stand(told, key, attempt) == ["ready" if left else "retired", "withdrawn"]
