"""A study seen by all its members: who is waited for, and when a round is complete."""

from __future__ import annotations

from dataclasses import replace

from cipherward_client.sdk.studies import StudyProgress
from cipherward_client.sdk.study_watch import StudyView

MEMBERS = ("a", "b", "c")
STEP = StudyProgress("counting", 4, 9, False, "", "", 0, MEMBERS, ("b",), (), ("a", "c"))


def test_the_view_is_that_of_the_member_furthest_on() -> None:
    ahead = replace(STEP, stage="counts_ready", steps_done=5, reported=(), awaited=MEMBERS)
    view = StudyView({"a": STEP, "b": ahead, "c": None}, ("c",))
    assert view.newest == ahead
    assert view.awaited == MEMBERS
    words = view.words()
    assert words == "counts ready; 5 of 9 steps; waiting for a, b, c; no answer from c"


def test_nobody_is_awaited_while_members_vote_or_after_the_end() -> None:
    proposed = StudyProgress("proposed", 0, 9, False, "", members=MEMBERS)
    assert StudyView({"a": proposed}).awaited == ()
    ended = replace(STEP, stage="released", ended=True, round=1, awaited=())
    assert StudyView({"a": ended}).awaited == ()
    assert StudyView({"a": ended}).words() == "released"


def test_a_round_is_delivered_when_its_release_waits_for_nobody() -> None:
    def delivered(stage: str, number: int, *awaited: str) -> int:
        step = replace(STEP, stage=stage, round=number, awaited=awaited)
        return StudyView({"a": step}).delivered

    assert delivered("counting", 0) == 0
    assert delivered("valuing", 1) == 0
    assert delivered("releasing", 1, "c") == 0
    assert delivered("releasing", 1) == 1
    assert delivered("valuing", 2, "a") == 1
    assert delivered("released", 2) == 2


def test_a_member_that_failed_is_named() -> None:
    failed = replace(STEP, failed=("b",), round=2)
    assert StudyView({"a": failed}).words() == (
        "round 2, counting; 4 of 9 steps; failed at b; waiting for a, c"
    )


def test_why_a_study_failed_is_told_by_who_refused_a_step() -> None:
    end = replace(STEP, stage="failed", ended=True, failed=("c",), awaited=(), steps_done=5)
    heard = replace(
        end, failure="while counting: c could not take the step", reason="MEMBER_FAILED"
    )
    said = replace(end, failure="d: its contribution is refused", reason="PEER_WRONG", steps_done=4)
    assert not StudyView({"a": heard, "b": heard, "c": None}).ended
    assert StudyView({"a": heard, "b": heard, "c": None}, ("c",)).ended
    whole = StudyView({"a": heard, "b": heard, "c": said})
    assert whole.ended
    assert whole.newest == said


def test_a_study_that_no_member_has_answered_for_is_unknown() -> None:
    view = StudyView({"a": None})
    assert (view.newest, view.awaited, view.delivered) == (None, (), 0)
    assert view.words() == "no member has answered yet"
