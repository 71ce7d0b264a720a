"""Histories in which the two once differed, played as they were when they were shortest."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from cipherward_chain.testing import ca_certificate
from tests.reference import cast, words
from tests.reference.drawing import DAY, DIGESTS, HOUR
from tests.reference.history import History, Tally
from tests.reference.running import bases
from tests.reference.world import NANOS

pytestmark = pytest.mark.slow


@pytest.fixture
def history() -> Generator[History]:
    """A history at the first version of the machine; it is played to its end by both."""
    with asyncio.Runner() as runner, bases(runner) as made:
        history = History(made[1], runner, Tally())
        yield history
        history.finish()


def granted_permit(history: History) -> bytes:
    permit = history.fresh_id()
    terms = {
        "purposes": ["research"],
        "data_sets": ["cohort-1"],
        "user_member": "hospital-b",
        "user_key": b"",
        "outputs": ["mean"],
        "minimum": 10,
        "releases_max": 2,
        "expires": history.now + HOUR,
        "holders": list(cast.MEMBERS),
        "threshold": 3,
        "approvals": 3,
        "vote_seconds": HOUR,
    }
    history.say("researcher-b", words.Instantiate("data-permit", 1, permit, terms))
    for member in cast.MEMBERS[:3]:
        history.say(member, words.Vote(permit, "grant", True))
    history.decide()
    return permit


def proposed_study(history: History, permit: bytes) -> bytes:
    study = history.fresh_id()
    terms = {
        "permit": permit,
        "data_set": "cohort-1",
        "outputs": ["mean"],
        "releases_max": 2,
        "rounds_max": 1,
        "rho": 0,
        "rho_max": 0,
        "spec_digest": DIGESTS[0],
        "members": list(cast.MEMBERS),
        "threshold": 3,
        "approvals": 3,
        "minimum": 10,
        "requester_key_digest": DIGESTS[1],
        "step_seconds": HOUR,
    }
    history.say("researcher-b", words.Instantiate("study", 1, study, terms))
    history.decide()
    return study


def test_a_study_that_its_permit_has_ended_stays_ended(history: History) -> None:
    """The permit's timer stops the study's, which was due in the same block."""
    study = proposed_study(history, granted_permit(history))
    history.pass_until(max(history.timers()))
    history.say("hospital-a", words.Tick())
    history.decide()
    assert history.where(study) == ("study", "ended")


def suspension_of(history: History, member: str, seconds: int) -> bytes:
    instance = history.fresh_id()
    terms = {"member": member, "vote_seconds": DAY, "suspend_seconds": seconds}
    history.say("hospital-a", words.Instantiate("suspension", 1, instance, terms))
    history.decide()
    return instance


def test_who_is_suspended_is_suspended_again_only_when_it_is_back(history: History) -> None:
    """The deciding vote is refused; the proposal stays, and that vote decides it afterwards."""
    first = suspension_of(history, "hospital-d", HOUR)
    second = suspension_of(history, "hospital-d", 2 * HOUR)
    for instance in (first, second):
        for member in cast.MEMBERS[:3]:
            history.say(member, words.Vote(instance, "suspend", True))
    history.decide()
    *applied, refused = (result.reason for result in history.stage.results)
    assert (set(applied), refused) == ({""}, "REMOVAL_REFUSED")
    assert history.where(first) == ("suspension", "suspended")
    assert history.where(second) == ("suspension", "proposed")
    history.pass_time(HOUR * NANOS)
    history.say(cast.MEMBERS[2], words.Vote(second, "suspend", True))
    history.decide()
    assert history.where(first) == ("suspension", "reinstated")
    assert history.where(second) == ("suspension", "suspended")


def proposed_authorities(history: History, member: str, *names: str) -> bytes:
    instance = history.fresh_id()
    texts = "".join(map(ca_certificate, names))
    terms = {"member": member, "authorities": texts, "vote_seconds": DAY}
    history.say(member, words.Instantiate("authority-change", 1, instance, terms))
    history.decide()
    return instance


def test_a_member_comes_to_a_new_authority_in_two_votes_and_not_in_one(history: History) -> None:
    """The vote that would leave none of the present set is refused, until the set has both."""
    member, following = "hospital-b", "hospital-b next"
    alone = proposed_authorities(history, member, following)
    both = proposed_authorities(history, member, member, following)
    for instance in (alone, both):
        for voter in cast.MEMBERS[:3]:
            history.say(voter, words.Vote(instance, "change", True))
    history.decide()
    reasons = [result.reason for result in history.stage.results]
    assert reasons == ["", "", "REGISTRATION_REFUSED", "", "", ""]
    history.say(cast.MEMBERS[2], words.Vote(alone, "change", True))
    history.decide()
    for instance in (alone, both):
        assert history.where(instance) == ("authority-change", "changed")
    entry = history.stage.reference.world.members()[member]
    assert entry["ca_certificate"] == ca_certificate(following)


def test_no_authority_is_that_of_two_members(history: History) -> None:
    taken = proposed_authorities(history, "hospital-b", "hospital-b", "hospital-c")
    for voter in cast.MEMBERS[:3]:
        history.say(voter, words.Vote(taken, "change", True))
    history.decide()
    assert history.stage.results[-1].reason == "REGISTRATION_REFUSED"
    assert history.where(taken) == ("authority-change", "proposed")
