"""Resharing: the key stays, old records open, and old shares are worth nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import combinations, product

import pytest

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.messages import deal_body, read_deal
from cipherward_threshold.group.ceremony.participant import Participant
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.sealing import Sealing
from cipherward_threshold.group.ceremony.seeds import sealing_secret
from cipherward_threshold.group.ceremony.transcript import (
    TOO_FEW_DEALERS,
    TOO_FEW_READY,
    Failed,
    Transcript,
)
from cipherward_threshold.group.curve import ZERO, G, octets, random_scalar, read_scalar
from cipherward_threshold.group.errors import (
    KeyShareRejected,
    MessageRefused,
    NoShare,
    NotEnoughShares,
    ShareRejected,
)
from cipherward_threshold.group.polynomials import lagrange_at_zero
from cipherward_threshold.group.tdh2 import (
    Label,
    combine_unverified,
    encapsulate,
    make_share,
    verify_share,
    verify_slot,
)
from cipherward_threshold.group.testing import Messages, Rehearsal, silent

NewSealing = Callable[[bytes], Sealing]
Opens = Callable[..., bool]
Reshared = Callable[..., Rehearsal]
ALL = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def first(new_plan: Callable[..., Plan], new_sealing: NewSealing) -> Rehearsal:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run()
    return rehearsal


@pytest.fixture(scope="module")
def record(first: Rehearsal) -> tuple[Label, bytes, bytes]:
    """A slot that was made before any resharing, with its key part."""
    label = Label(first.plan.chain_id, b"old-record", "a", 1)
    return label, *encapsulate(first.key, label)


@pytest.fixture(scope="module")
def second(first: Rehearsal, reshared: Reshared) -> Rehearsal:
    return reshared(first, ALL)


def test_the_key_stays_and_old_records_open(
    first: Rehearsal, second: Rehearsal, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    assert second.key.public_key == first.key.public_key
    assert second.key.identity == first.key.identity
    assert second.key.digest != first.key.digest
    assert (second.key.key_epoch, second.key.sharing) == (1, 2)
    assert not set(second.key.points) & set(first.key.points)
    for names in combinations(ALL, 3):
        assert opens(second, names, record)


def test_an_old_share_is_refused_under_the_new_sharing(
    first: Rehearsal, second: Rehearsal, record: tuple[Label, bytes, bytes]
) -> None:
    label, octets_, _ = record
    slot = verify_slot(second.key, label, octets_)
    for index, name in enumerate(ALL, start=1):
        with pytest.raises(KeyShareRejected):
            make_share(second.key, index, first.share(name), slot, b"o")
        stale = make_share(first.key, index, first.share(name), slot, b"o")
        renumbered = stale[:2] + second.key.sharing.to_bytes(4, "big") + stale[6:]
        for share in (stale, renumbered):
            with pytest.raises(ShareRejected):
                verify_share(second.key, slot, share, b"o", index=index)


def test_old_and_new_shares_open_nothing_together(
    first: Rehearsal, second: Rehearsal, record: tuple[Label, bytes, bytes]
) -> None:
    label, octets_, key_part = record
    slot = verify_slot(second.key, label, octets_)
    for mix in product((first, second), repeat=3):
        shares, total = dict[int, bytes](), ZERO
        for index, (factor, side) in enumerate(
            zip(lagrange_at_zero([1, 2, 3]), mix, strict=True), start=1
        ):
            secret = side.share(ALL[index - 1])
            total = total + factor * read_scalar(secret)
            made = make_share(side.key, index, secret, slot, b"o")
            shares[index] = made[:2] + (2).to_bytes(4, "big") + made[6:]
        pure = len(set(mix)) == 1
        assert (octets(G * total) == second.key.public_key) == pure
        assert (combine_unverified(second.key, slot, shares) == key_part) == pure


def test_four_become_five_and_four_again(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    five = reshared(first, "abcde")
    assert five.key.threshold == 4
    assert opens(five, "bcde", record)
    with pytest.raises(NotEnoughShares):
        opens(five, "cde", record)
    # "a" leaves, and does not even deal: it is away
    four = reshared(five, "bcde", meddle=silent("a"))
    assert (four.key.public_key, four.key.sharing) == (first.key.public_key, 3)
    assert four.key.threshold == 3
    assert opens(four, "cde", record)
    with pytest.raises(NoShare):
        four.share("a")


def test_wholly_other_members_can_take_over(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    others = reshared(first, "wxyz")
    assert others.transcript.facts.may_deal == (1, 2, 3, 4)
    assert opens(others, "xyz", record)


def test_a_member_that_lost_its_share_gets_one_again(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    held = {name: first.share(name) for name in "acd"}
    again = reshared(first, ALL, old_shares=held)
    assert again.transcript.facts.qualified == (1, 3, 4)
    assert opens(again, "abd", record)


def test_a_holder_that_has_no_share_is_not_waited_for(
    first: Rehearsal, reshared: Reshared, opens: Opens
) -> None:
    """It was not ready in the sharing before: the plan does not count it as a dealer."""
    three = reshared(
        first,
        ALL,
        meddle=silent("d", phases.READY),
    )
    assert three.ready == ("a", "b", "c")
    again = reshared(three, ALL)
    assert again.plan.dealers == ("a", "b", "c", "")
    heights = sorted({entry.height for entry in again.log})
    assert heights == [101, 102, 103, 104]  # every window closed early
    assert again.ready == ALL
    assert opens(again, "bcd")


def test_too_few_dealers_among_those_that_enrolled_fail_at_once(
    first: Rehearsal, reshared: Reshared
) -> None:
    """Five of seven new members are there, but two of the four old ones only."""
    failed = reshared(first, "abcdefg", meddle=silent("ab"))
    assert failed.transcript.outcome == Failed(TOO_FEW_DEALERS)
    assert failed.transcript.deadline == 103  # of the first window


def test_a_deal_of_another_secret_than_the_old_share_is_refused(
    first: Rehearsal, new_sealing: NewSealing
) -> None:
    plan = resharing(first)
    rehearsal = Rehearsal(plan, new_sealing, start=100, old_shares=held(first))
    rehearsal.run(until=phases.DEAL)
    deal = read_deal(plan, rehearsal.owed("a")[0][1])
    moved = (deal.commitments[0] + G, *deal.commitments[1:])
    with pytest.raises(MessageRefused):
        rehearsal.transcript.feed(101 + 1, "a", phases.DEAL, deal_body(moved, deal.sealed))
    ((_, foreign),) = rehearsal.owed("b")
    with pytest.raises(MessageRefused):
        rehearsal.transcript.feed(101 + 1, "a", phases.DEAL, foreign)


def held(rehearsal: Rehearsal) -> dict[str, bytes]:
    return {name: rehearsal.share(name) for name in rehearsal.ready}


def resharing(before: Rehearsal) -> Plan:
    return Plan.resharing(
        before.key,
        ceremony=secrets.token_bytes(16),
        holders=before.plan.members,
        ready=before.ready,
        members=ALL,
        window=3,
    )


def test_a_participant_notices_that_its_old_share_is_wrong(
    first: Rehearsal, new_sealing: NewSealing
) -> None:
    plan, seed = resharing(first), secrets.token_bytes(32)
    key = new_sealing(sealing_secret(seed, plan.session))
    for wrong in (octets(random_scalar()), first.share("b"), b"", first.share("a") + b"\0"):
        with pytest.raises(KeyShareRejected):
            Participant(plan, "a", seed, key, wrong)
    newcomer = Plan.resharing(
        first.key,
        ceremony=bytes(16),
        holders=ALL,
        ready=ALL,
        members="abcde",
        window=3,
    )
    with pytest.raises(KeyShareRejected):
        Participant(newcomer, "e", seed, key, first.share("a"))


def swapping(phase: str, name: str, said: Messages) -> Messages:
    """Dealer "a" seals the first two members' parts in each other's place."""
    if (phase, name) != (phases.DEAL, "a") or not said:
        return said
    cut, size, body = 3 * 48, 2 + 1_136 + 32, said[0][1]
    parts = body[cut + size : cut + 2 * size] + body[cut : cut + size] + body[cut + 2 * size :]
    return [(phase, body[:cut] + parts)]


def test_a_bad_deal_that_is_not_answered_is_left_out(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    def meddle(phase: str, name: str, said: Messages) -> Messages:
        return [] if (phase, name) == (phases.ANSWER, "a") else swapping(phase, name, said)

    rehearsal = reshared(first, ALL, meddle=meddle)
    facts = rehearsal.transcript.facts
    assert facts.complaints == {1: (1,), 2: (1,), 3: (), 4: ()}
    assert facts.qualified == (2, 3, 4)
    assert opens(rehearsal, "abd", record)


def test_a_bad_deal_that_is_answered_counts(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    rehearsal = reshared(first, ALL, meddle=swapping)
    assert set(rehearsal.transcript.facts.answers[1]) == {1, 2}
    assert rehearsal.transcript.facts.qualified == (1, 2, 3, 4)
    assert opens(rehearsal, "abd", record)


def test_too_few_honest_holders_fail_and_the_old_sharing_goes_on(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    few = {name: first.share(name) for name in "ab"}
    failed = reshared(first, ALL, old_shares=few)
    assert failed.transcript.outcome == Failed(TOO_FEW_DEALERS)
    assert opens(first, "abc", record)


def test_the_new_sharing_is_made_only_when_enough_proved_their_share(
    first: Rehearsal, reshared: Reshared, record: tuple[Label, bytes, bytes], opens: Opens
) -> None:
    quiet = reshared(
        first,
        ALL,
        meddle=silent("cd", phases.READY),
    )
    assert quiet.transcript.outcome == Failed(TOO_FEW_READY)
    assert opens(first, "bcd", record)


def test_only_as_many_dealers_as_open_the_old_sharing_are_used_in_log_order(
    second: Rehearsal,
) -> None:
    facts = second.transcript.facts
    assert facts.qualified == (1, 2, 3, 4)
    assert list(facts.weights()) == [1, 2, 3]


def test_the_order_of_the_log_decides_who_is_used(
    first: Rehearsal, new_sealing: NewSealing, opens: Opens
) -> None:
    rehearsal = Rehearsal(resharing(first), new_sealing, start=100, old_shares=held(first))
    rehearsal.run(until=phases.DEAL)
    rehearsal.block({name: rehearsal.owed(name) for name in "dcba"})
    rehearsal.run()
    assert list(rehearsal.transcript.facts.weights()) == [4, 3, 2]
    restored = Transcript.restore(rehearsal.plan, 100, rehearsal.log)
    assert restored.outcome == rehearsal.transcript.outcome
    assert opens(rehearsal, "abd")


def test_members_that_crash_before_every_step_make_the_same_sharing(
    first: Rehearsal, new_sealing: NewSealing
) -> None:
    plan, shares = resharing(first), held(first)
    steady = Rehearsal(plan, new_sealing, start=100, old_shares=shares)
    steady.run()
    crashing = Rehearsal(
        plan, new_sealing, start=100, seeds=steady.seeds, old_shares=shares, forgetful=True
    )
    crashing.run()
    assert crashing.key == steady.key
    assert crashing.restored().facts == steady.transcript.facts
    assert [crashing.share(name) for name in ALL] == [steady.share(name) for name in ALL]
