"""Plans: what is counted, what is refused, and what every proof is bound to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cipherward_threshold.group import domains
from cipherward_threshold.group.ceremony.plan import Plan, enough_of
from cipherward_threshold.group.encoding import digest
from cipherward_threshold.group.errors import PlanRejected
from cipherward_threshold.group.keys import OPENING, ThresholdKey
from cipherward_threshold.group.testing import dealt_key

ID = bytes(range(16))


@pytest.fixture
def plan() -> Plan:
    return Plan.new_key(
        chain_id="c",
        purpose="record",
        ceremony=ID,
        key_epoch=2,
        members=("d", "b", "a", "c"),
        window=5,
    )


@pytest.fixture(scope="module")
def old() -> ThresholdKey:
    return dealt_key(chain_id="c")[0]


def resharing(old: ThresholdKey, **change: Any) -> Plan:
    given: dict[str, Any] = {
        "ceremony": ID,
        "holders": ("d", "c", "b", "a"),
        "ready": ("a", "b", "c", "d"),
        "members": ("a", "b", "c", "e"),
        "window": 5,
    }
    return Plan.resharing(old, **(given | change))


def test_enough_is_all_but_the_faulty() -> None:
    assert [enough_of(n) for n in (1, 2, 3, 4, 5, 6, 7, 10, 16, 32)] == [
        1, 2, 3, 3, 4, 5, 5, 7, 11, 22,
    ]  # fmt: skip
    for n in range(1, 33):
        faulty = (n - 1) // 3
        assert enough_of(n) + faulty == n
        assert enough_of(n) > 2 * faulty


def test_a_new_key_is_dealt_by_its_members(plan: Plan) -> None:
    assert plan.members == plan.dealers == ("a", "b", "c", "d")
    assert (plan.threshold, plan.dealers_min, plan.ready_min) == (3, 3, 3)
    assert (plan.sharing, plan.old, plan.bases) == (1, None, 2)
    assert plan.settles == "rebuild"
    assert [plan.receiver(name) for name in ("a", "d", "e", "")] == [1, 4, None, None]
    assert [plan.dealer(name) for name in ("a", "d", "e", "")] == [1, 4, None, None]


def test_a_resharing_is_dealt_by_those_that_have_a_share(old: ThresholdKey) -> None:
    plan = resharing(old, ready=("a", "c", "d"))
    assert plan.dealers == ("d", "c", "", "a")  # by the index that they have in the old sharing
    assert plan.members == ("a", "b", "c", "e")
    assert (plan.key_epoch, plan.sharing, plan.dealers_min) == (1, 2, 3)
    assert (plan.dealer("a"), plan.dealer("b"), plan.dealer("")) == (4, None, None)
    assert (plan.bases, plan.settles) == (1, "answer")


def test_the_session_takes_every_field_of_the_plan(plan: Plan) -> None:
    assert plan.session == digest(
        domains.CEREMONY_SESSION,
        "c", "record", ID,
        2, 1, 3, 5,
        3, 3,
        b"",
        4, "a", "b", "c", "d", "a", "b", "c", "d",
    )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "d"},
        {"purpose": OPENING},
        {"ceremony": bytes(16)},
        {"key_epoch": 3},
        {"sharing": 2},
        {"threshold": 2},
        {"members": ("a", "b", "c", "e"), "dealers": ("a", "b", "c", "e")},
        {"window": 6},
        {"dealers_min": 4},
        {"ready_min": 4},
    ],
)
def test_another_plan_is_another_session(plan: Plan, change: dict[str, Any]) -> None:
    assert replace(plan, **change).session != plan.session


def test_a_resharing_of_another_sharing_or_by_others_is_another_session(old: ThresholdKey) -> None:
    sessions = {
        resharing(old).session,
        resharing(dealt_key(chain_id="c")[0]).session,
        resharing(old, holders=("a", "b", "c", "d")).session,
        resharing(old, ready=("a", "b", "c")).session,
    }
    assert len(sessions) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": ""},
        {"purpose": "study"},
        {"ceremony": bytes(15)},
        {"key_epoch": 0},
        {"key_epoch": 2**32},
        {"sharing": 0},
        {"threshold": 0},
        {"threshold": 5},
        {"members": ("b", "a", "c", "d"), "dealers": ("b", "a", "c", "d")},
        {"members": ("a", "a", "b", "c"), "dealers": ("a", "a", "b", "c")},
        {"members": ("", "a", "b", "c"), "dealers": ("", "a", "b", "c")},
        {"members": (), "dealers": ()},
        {"members": tuple(f"m{n:02}" for n in range(33))},
        {"window": 0},
        {"dealers_min": 0},
        {"dealers_min": 5},
        {"ready_min": 2},
        {"ready_min": 5},
        {"dealers": ("a", "b", "c")},
    ],
)
def test_a_plan_out_of_range_is_refused(plan: Plan, change: dict[str, Any]) -> None:
    with pytest.raises(PlanRejected):
        replace(plan, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "d"},
        {"purpose": OPENING},
        {"key_epoch": 2},
        {"sharing": 1},
        {"dealers": ("a", "b", "c")},
        {"dealers": ("a", "b", "c", "c")},
        {"dealers": ("a", "b", "", "")},
        {"dealers_min": 2},
    ],
)
def test_a_resharing_that_contradicts_the_old_sharing_is_refused(
    old: ThresholdKey, change: dict[str, Any]
) -> None:
    with pytest.raises(PlanRejected):
        replace(resharing(old), **change)


def test_a_resharing_with_too_few_ready_holders_is_refused(old: ThresholdKey) -> None:
    with pytest.raises(PlanRejected):
        resharing(old, ready=("a", "b"))


def test_two_ceremonies_of_the_same_members_are_two_sessions(
    new_plan: Callable[..., Plan],
) -> None:
    assert new_plan().session != new_plan().session
