"""Orders are read strictly, and a later one takes the place of what it makes meaningless."""

from __future__ import annotations

from typing import Any

import pytest

from cipherward_chain.orders import Order
from cipherward_compute.instructions import (
    HandOverKey,
    KeyCeremony,
    ReleaseResult,
    ReshareKey,
    RetireKey,
    StartStudy,
)
from cipherward_compute.order_meaning import awaited, concerned, opens, stage_of, supersedes
from cipherward_compute.order_reading import OrderMalformed, instruction_of
from cipherward_compute.orders import concerns

STUDY, DIGEST = b"s" * 16, b"d" * 32
MEMBERS = ["hospital-a", "hospital-b", "hospital-c"]
START: dict[str, Any] = {
    "study": STUDY,
    "members": MEMBERS,
    "stage": "counts",
    "step": "commit",
    "threshold": 3,
    "minimum": 10,
    "spec_digest": DIGEST,
    "data_set": "cohort-1",
    "outputs": ["count"],
    "requester_key_digest": DIGEST,
    "key_digest": DIGEST,
    "commitments": {},
    "round": 0,
    "iterate": b"",
    "verdicts": {},
    "source": b"",
    "digest": b"",
}
RELEASE: dict[str, Any] = {
    "study": STUDY,
    "members": MEMBERS,
    "set": MEMBERS[:2],
    "digest": DIGEST,
    "threshold": 2,
    "requester_key_digest": DIGEST,
    "key_digest": DIGEST,
    "round": 3,
    "source": b"",
}
VALUES = {"stage": "values", "round": 2}


def read(instruction: str, arguments: dict[str, Any], template: str = "study") -> object:
    return instruction_of(Order(7, 1, STUDY, template, instruction, arguments))


@pytest.mark.parametrize(
    "changed",
    [
        {"stage": "values"},  # in round 0
        {"round": 1},  # of the counts
        {"step": "refresh"},  # of no sum
        {"digest": DIGEST},  # nothing is refreshed
        {"step": "add", "digest": b"d" * 31},
        {"stage": "medians"},
        {"step": "repeat"},
        {"iterate": b"i"},
        {"commitments": {"hospital-a": b"short"}},
        {"verdicts": {"hospital-a": 1}},
        {"source": b"key"},
        {"members": ["hospital-b", "hospital-a"]},
        {"members": []},
        {"study": b"t" * 16},
        {"more": 1},
    ],
)
def test_a_start_order_out_of_form_is_malformed(changed: dict[str, Any]) -> None:
    with pytest.raises(OrderMalformed):
        read("start_study", {**START, **changed})


MASK: dict[str, Any] = {
    **START,
    "members": ["hospital-b"],
    "outputs": ["risk_score"],
    "round": 1,
    "iterate": DIGEST,
    "source": b"k" * 16,
}
MASKED: dict[str, Any] = {
    **MASK,
    "step": "verify",
    "members": MEMBERS,
    "commitments": {"hospital-b": DIGEST},
}


def test_a_use_of_a_risk_score_is_numbered_from_its_mask_on() -> None:
    orders = [MASK, MASKED, {**MASKED, "stage": "values"}]
    read_ones = [read("start_study", one, "risk-score") for one in orders]
    assert all(isinstance(one, StartStudy) and one.round == 1 for one in read_ones)
    stages = [stage_of(one) for one in read_ones if isinstance(one, StartStudy)]
    assert stages == ["masking", "mask_ready", "scoring"]
    for one in orders:  # the numbered counts, and the lone member, are of no study
        with pytest.raises(OrderMalformed):
            read("start_study", {**one, "stage": "counts"})


@pytest.mark.parametrize(
    "order",
    [
        {**MASK, "round": 0},
        {**MASK, "iterate": b""},
        {**MASK, "source": b""},
        {**MASK, "outputs": ["count"]},
        {**MASK, "members": MEMBERS},  # a mask of several
        {**MASK, "stage": "values"},  # a second mask
        {**MASK, "commitments": {"hospital-b": DIGEST}},
        {**MASKED, "commitments": {}},
        {**MASKED, "commitments": dict.fromkeys(MEMBERS, DIGEST)},
        {**MASKED, "verdicts": {"hospital-b": DIGEST}},
        {**MASKED, "step": "refresh", "digest": DIGEST},
        {**MASKED, "step": "add", "digest": DIGEST},
    ],
)
def test_an_order_of_a_risk_score_out_of_form_is_malformed(order: dict[str, Any]) -> None:
    with pytest.raises(OrderMalformed):
        read("start_study", order, "risk-score")


def test_the_next_use_of_a_risk_score_takes_the_place_of_all_that_waits_of_the_one_before() -> None:
    mask = read("start_study", MASK, "risk-score")
    assert isinstance(mask, StartStudy)
    assert {"StartStudy", "ReleaseCounts", "ReleaseResult"} <= set(supersedes(mask))


@pytest.mark.parametrize(
    "changed", [{"set": []}, {"set": ["hospital-z"]}, {"round": 0}, {"digest": b""}]
)
def test_a_release_order_out_of_form_is_malformed(changed: dict[str, Any]) -> None:
    with pytest.raises(OrderMalformed):
        read("release_result", {**RELEASE, **changed})


def test_orders_of_others_ask_nothing_of_compute_services() -> None:
    assert read("release_key", {"study": STUDY}) is None
    assert read("start_study", START, template="consent") is None


@pytest.mark.parametrize(
    ("changed", "stage", "opened"),
    [
        ({}, "counting", ""),
        ({"step": "verify"}, "counts_ready", "counts/0/"),
        ({"step": "refresh", "digest": DIGEST}, "counts_refreshing", ""),
        ({"step": "add", "digest": DIGEST}, "counts_adding", f"counts/0/{DIGEST.hex()}"),
        (VALUES, "valuing", "verdicts"),
        ({**VALUES, "step": "verify"}, "values_ready", "values/2/"),
        ({**VALUES, "step": "refresh", "digest": DIGEST}, "values_refreshing", ""),
        ({**VALUES, "step": "add", "digest": DIGEST}, "values_adding", f"values/2/{DIGEST.hex()}"),
    ],
)
def test_each_step_has_its_stage_and_opens_what_all_have_committed_to(
    changed: dict[str, Any], stage: str, opened: str
) -> None:
    found = read("start_study", {**START, **changed})
    assert isinstance(found, StartStudy)
    assert (stage_of(found), opens(found)) == (stage, opened)


def test_a_release_waits_for_its_set_alone() -> None:
    found = read("release_result", RELEASE)
    assert isinstance(found, ReleaseResult)
    assert awaited(found) == ("hospital-a", "hospital-b")


def test_a_ceremony_names_its_parameters_and_may_name_a_set() -> None:
    arguments: dict[str, Any] = {
        "study": STUDY,
        "members": MEMBERS,
        "step": "test_open",
        "threshold": 2,
        "profile": "product-1",
        "seed": DIGEST,
        "commitments": {},
        "reveals": {},
    }
    without = read("run_key_ceremony", arguments)
    found = read("run_key_ceremony", {**arguments, "set": MEMBERS[:2]}, template="data-key")
    assert isinstance(without, KeyCeremony)
    assert isinstance(found, KeyCeremony)
    assert (without.online, found.online) == ((), ("hospital-a", "hospital-b"))
    assert (found.profile, opens(found)) == ("product-1", "keys/test_open")


def test_a_refresh_takes_the_dead_release_away_and_the_end_takes_everything() -> None:
    refresh = read("start_study", {**START, "step": "refresh", "digest": DIGEST})
    assert isinstance(refresh, StartStudy)
    assert supersedes(refresh) == ("ReleaseCounts", "ReleaseResult")
    verify = read("start_study", {**START, "step": "verify"})
    assert isinstance(verify, StartStudy)
    assert supersedes(verify) == ()
    end = read("retire_key", {"study": STUDY, "members": MEMBERS, "cause": "failed"})
    assert isinstance(end, RetireKey)
    assert {"KeyCeremony", "StartStudy", "ReleaseCounts", "ReleaseResult"} <= set(supersedes(end))


HOLDERS, NEW = ["hospital-a", "hospital-b"], ["hospital-b", "hospital-c"]
RESHARING: dict[str, Any] = {
    "study": STUDY,
    "source": b"k" * 16,
    "holders": HOLDERS,
    "new": NEW,
    "threshold": 2,
    "key_digest": DIGEST,
}
RESHARE: dict[str, Any] = {
    **RESHARING,
    "evaluation_digest": DIGEST,
    "spec_digest": DIGEST,
    "column_commitments": dict.fromkeys(HOLDERS, DIGEST),
}
DEALT, ANSWERED = dict.fromkeys(HOLDERS, DIGEST), dict.fromkeys(NEW, DIGEST)


def reshare(step: str, **changed: Any) -> dict[str, Any]:
    place = ("ready", "deal", "answer", "confirm", "test", "open").index(step)
    return {
        **RESHARE,
        "step": step,
        "members": HOLDERS if place < 2 else NEW,
        "dealers": HOLDERS if place else [],
        "seed": DIGEST if place > 3 else b"",
        "commitments": DEALT if place > 1 else {},
        "reveals": ANSWERED if place > 2 else {},
        **changed,
    }


@pytest.mark.parametrize(
    ("step", "stage"),
    [
        ("ready", "readying"),
        ("deal", "dealing"),
        ("answer", "answering"),
        ("confirm", "confirming"),
        ("test", "giving"),
        ("open", "opening"),
    ],
)
def test_a_step_of_a_resharing_concerns_old_and_new_holders_and_awaits_who_takes_it(
    step: str, stage: str
) -> None:
    found = read("reshare_key", reshare(step), "key-resharing")
    assert isinstance(found, ReshareKey)
    assert (stage_of(found), opens(found)) == (stage, f"resharing/{step}")
    assert concerned(found) == ("hospital-a", "hospital-b", "hospital-c")
    assert awaited(found) == tuple(reshare(step)["members"])


@pytest.mark.parametrize(
    "order",
    [
        reshare("ready", members=NEW),
        reshare("ready", dealers=HOLDERS),
        reshare("ready", commitments=DEALT),
        reshare("deal", dealers=["hospital-c"], members=["hospital-c"]),  # who holds nothing
        reshare("deal", dealers=[], members=[]),
        reshare("deal", dealers=HOLDERS[::-1], members=HOLDERS[::-1]),
        reshare("deal", commitments=DEALT),
        reshare("answer", commitments=ANSWERED),
        reshare("answer", reveals=ANSWERED),
        reshare("answer", seed=DIGEST),
        reshare("confirm", reveals=DEALT),
        reshare("confirm", members=HOLDERS),
        reshare("test", seed=b""),
        reshare("open", seed=b"short"),
        reshare("open", threshold=3),  # of two
        reshare("open", threshold=0),
        reshare("open", new=NEW[::-1]),
        reshare("open", holders=[]),
        reshare("open", source=b"k"),
        reshare("open", column_commitments={"hospital-a": b"short"}),
        reshare("open", more=1),
        {**reshare("open"), "step": "repeat"},
    ],
)
def test_an_order_of_a_resharing_out_of_form_is_malformed(order: dict[str, Any]) -> None:
    with pytest.raises(OrderMalformed):
        read("reshare_key", order, "key-resharing")


def test_a_hand_over_concerns_old_and_new_holders_and_nobody_reports_it() -> None:
    members = ["hospital-a", "hospital-b", "hospital-c"]
    found = read("hand_over_key", {**RESHARING, "members": members}, "key-resharing")
    assert isinstance(found, HandOverKey)
    assert concerned(found) == tuple(members)
    assert (stage_of(found), opens(found), awaited(found)) == ("handed_over", "", ())
    assert "ReshareKey" in supersedes(found)
    with pytest.raises(OrderMalformed):
        read("hand_over_key", RESHARING, "key-resharing")


def test_a_holder_that_leaves_hears_of_every_order_of_its_resharing() -> None:
    answer = Order(7, 1, STUDY, "key-resharing", "reshare_key", reshare("answer"))
    told = {m for m in ("hospital-a", "hospital-c", "hospital-d") if concerns(answer, m)}
    assert told == {"hospital-a", "hospital-c"}
    assert not concerns(Order(7, 1, STUDY, "x", "y", {"members": 5}), "hospital-a")
