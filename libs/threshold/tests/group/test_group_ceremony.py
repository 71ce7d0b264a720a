"""Ceremonies among honest members: the key that comes out, the windows, the log."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import combinations

import pytest

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.messages import SEALED_BYTES_MAX
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.sealing import Sealing
from cipherward_threshold.group.ceremony.transcript import (
    TOO_FEW_DEALERS,
    TOO_FEW_ENROLLED,
    TOO_FEW_READY,
    Completed,
    Failed,
    LogEntry,
    Transcript,
)
from cipherward_threshold.group.curve import ZERO, G, octets, read_scalar
from cipherward_threshold.group.errors import (
    MessageRefused,
    NoShare,
    NotEnoughShares,
    ShareRejected,
    WrongPurpose,
)
from cipherward_threshold.group.keys import OPENING
from cipherward_threshold.group.opening import make_opening_share, verify_opening_share
from cipherward_threshold.group.polynomials import lagrange_at_zero
from cipherward_threshold.group.tdh2 import Label, encapsulate, make_share, verify_slot
from cipherward_threshold.group.testing import Rehearsal, silent

NewPlan = Callable[..., Plan]
NewSealing = Callable[[bytes], Sealing]
Opens = Callable[..., bool]
ALL = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def honest(new_plan: NewPlan, new_sealing: NewSealing) -> Rehearsal:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run()
    return rehearsal


def test_any_threshold_of_members_opens_what_was_made_under_their_key(
    honest: Rehearsal, opens: Opens
) -> None:
    assert honest.ready == ALL
    assert honest.refused == []
    for names in combinations(ALL, 3):
        assert opens(honest, names)
    with pytest.raises(NotEnoughShares):
        opens(honest, ("a", "b"))


def test_the_shares_are_of_the_public_key(honest: Rehearsal) -> None:
    total = ZERO
    for factor, name in zip(lagrange_at_zero([1, 2, 3]), "abc", strict=True):
        total = total + factor * read_scalar(honest.share(name))
    assert octets(G * total) == honest.key.public_key
    points = tuple(octets(G * read_scalar(honest.share(name))) for name in ALL)
    assert points == honest.key.points


def test_the_key_carries_the_plans_names(honest: Rehearsal) -> None:
    key, plan = honest.key, honest.plan
    assert (key.chain_id, key.purpose, key.key_epoch) == (
        plan.chain_id,
        plan.purpose,
        plan.key_epoch,
    )
    assert (key.sharing, key.threshold, len(key.points)) == (1, 3, 4)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_alliances_of_other_sizes_make_a_key(
    new_plan: NewPlan, new_sealing: NewSealing, opens: Opens, count: int
) -> None:
    names = [f"m{number}" for number in range(count)]
    rehearsal = Rehearsal(new_plan(names), new_sealing)
    rehearsal.run()
    assert opens(rehearsal, names[-rehearsal.plan.threshold :])


@pytest.mark.slow
def test_a_deal_of_the_largest_alliance_fits_a_transaction(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    names = [f"m{number:02}" for number in range(32)]
    rehearsal = Rehearsal(new_plan(names), new_sealing)
    rehearsal.run(until=phases.DEAL)
    ((_, body),) = rehearsal.owed("m00")
    assert len(body) == 22 * 48 + 32 * (2 + 1_136 + 64)
    assert len(body) < 60_000 < 65_536
    assert SEALED_BYTES_MAX >= 1_136 + 64


def test_windows_close_with_the_last_that_may_speak(honest: Rehearsal) -> None:
    heights = {entry.kind: entry.height for entry in honest.log}
    assert heights == {"enrol": 11, "deal": 12, "complain": 13, "extract": 14, "ready": 15}
    assert honest.transcript.start == 10


def test_the_log_keeps_no_sealed_part(honest: Rehearsal) -> None:
    for entry in honest.log:
        if entry.kind == phases.DEAL:
            assert entry.body == honest.deals[entry.sender][: 3 * 48]


@pytest.mark.parametrize(
    "lag", [{"b": 1}, {"a": 2, "c": 2}, {"a": 1, "b": 2, "c": 0, "d": 1}, {"d": 2}]
)
def test_windows_that_close_late_give_the_same_key_as_windows_that_close_early(
    new_plan: NewPlan, new_sealing: NewSealing, lag: dict[str, int]
) -> None:
    """Everybody speaks within every window, some of them blocks later."""
    plan = new_plan()
    early = Rehearsal(plan, new_sealing)
    early.run()
    late = Rehearsal(plan, new_sealing, seeds=early.seeds)

    def slowly(phase: str, name: str, said: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        into = late.height + 1 - late.transcript.opened
        return said if into >= lag.get(name, 0) else []

    late.run(slowly)
    assert late.height > early.height
    assert late.key.public_key == early.key.public_key
    assert late.transcript.outcome == early.transcript.outcome


def test_a_member_that_never_enrols_has_no_share_and_the_others_do(
    new_plan: NewPlan, new_sealing: NewSealing, opens: Opens
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run(silent("d"))
    assert rehearsal.ready == ("a", "b", "c")
    assert len(rehearsal.key.points) == 4
    assert opens(rehearsal, "abc")
    assert all(rehearsal.parts("d")[dealer] == b"" for dealer in "abc")
    with pytest.raises(NoShare):
        rehearsal.share("d")
    # its absence was waited for once: nobody waits again for whom the others cannot reach
    assert {e.kind: e.height for e in rehearsal.log} == {
        "enrol": 11, "deal": 14, "complain": 15, "extract": 16, "ready": 17,
    }  # fmt: skip


def test_a_slow_dealer_is_left_out_and_still_gets_a_share(
    new_plan: NewPlan, new_sealing: NewSealing, opens: Opens
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run(silent("b", phases.DEAL))
    assert rehearsal.transcript.facts.qualified == (1, 3, 4)
    assert rehearsal.ready == ALL
    assert opens(rehearsal, "abd")


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (phases.ENROL, TOO_FEW_ENROLLED),
        (phases.DEAL, TOO_FEW_DEALERS),
        (phases.READY, TOO_FEW_READY),
    ],
)
def test_too_few_members_fail_the_ceremony(
    new_plan: NewPlan, new_sealing: NewSealing, phase: str, reason: str
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run(silent("ab", phase))
    assert rehearsal.transcript.outcome == Failed(reason)
    assert rehearsal.transcript.phase == phases.OVER
    assert rehearsal.transcript.awaited == ()
    assert [rehearsal.owed(name) for name in ALL] == [[], [], [], []]


def test_nobody_saying_anything_fails_the_ceremony_at_its_first_deadline(
    new_plan: NewPlan,
) -> None:
    transcript = Transcript(new_plan(), 10)
    assert (transcript.phase, transcript.deadline, transcript.awaited) == ("enrol", 13, ALL)
    transcript.advance(13)
    assert transcript.outcome is None
    transcript.advance(14)
    assert transcript.outcome == Failed(TOO_FEW_ENROLLED)


def test_a_window_is_over_at_its_deadline_whenever_somebody_looks(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    """The next window begins after the deadline, not at the block in which it is noticed."""
    found = list[tuple[str, int]]()
    for look in (14, 15, 16):
        rehearsal = Rehearsal(new_plan(), new_sealing)
        rehearsal.run(silent("d"), until=phases.DEAL)  # three have enrolled, at height 11
        transcript = Transcript.restore(rehearsal.plan, 10, rehearsal.log)
        assert (transcript.phase, transcript.deadline) == (phases.ENROL, 13)
        transcript.advance(look)
        found.append((transcript.phase, transcript.deadline))
    assert found == [(phases.DEAL, 16)] * 3


def test_early_late_repeated_and_foreign_messages_leave_no_trace(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run(until=phases.DEAL)
    transcript, opened = rehearsal.transcript, rehearsal.transcript.opened
    ((_, deal),) = rehearsal.owed("a")
    key = transcript.facts.enrolled[1]
    for height, sender, kind, body in [
        (opened - 1, "a", "deal", deal),  # in the block that closed the window before
        (opened, "z", "deal", deal),
        (opened, "", "deal", deal),
        (opened, "a", "enrol", key),  # late
        (opened, "a", "complain", b""),  # early
        (opened, "a", "study", deal),
        (opened, "a", "deal", b""),
        (opened, "a", "deal", deal[:-1]),
        (opened, "a", "deal", deal + b"\0"),
        (opened, "a", "deal", deal[:144]),
        (opened, "a", "deal", deal[48:]),
    ]:
        before = transcript.copy()
        with pytest.raises(MessageRefused):
            transcript.feed(height, sender, kind, body)
        assert same(transcript, before)
    transcript.feed(opened, "a", "deal", deal)
    after = transcript.copy()
    with pytest.raises(MessageRefused):
        transcript.feed(opened, "a", "deal", deal)
    assert same(transcript, after)
    with pytest.raises(MessageRefused):  # the window is over: one dealer is not enough
        transcript.feed(opened + 3, "b", "deal", deal)
    assert transcript.outcome == Failed(TOO_FEW_DEALERS)
    with pytest.raises(MessageRefused):
        transcript.feed(opened + 4, "b", "deal", deal)


def same(one: Transcript, other: Transcript) -> bool:
    """Return whether nobody can tell two transcripts apart."""
    return seen(one) == seen(other)


def seen(transcript: Transcript) -> tuple[object, ...]:
    return (
        transcript.phase,
        transcript.opened,
        transcript.deadline,
        transcript.awaited,
        transcript.outcome,
        transcript.facts,
        list(transcript.facts.deals),  # their order counts
    )


def test_a_message_of_one_ceremony_is_refused_in_another_of_the_same_members(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    """The same seed in two ceremonies: only the session tells them apart."""
    one = Rehearsal(new_plan(), new_sealing)
    other = Rehearsal(new_plan(purpose=OPENING), new_sealing, seeds=one.seeds)
    for rehearsal in (one, other):
        rehearsal.run(until=phases.DEAL)
    ((_, foreign),) = one.owed("a")
    ((_, own),) = other.owed("a")
    assert foreign[:144] != own[:144]
    other.run(
        lambda phase, name, said: [("deal", foreign)] if (phase, name) == ("deal", "a") else said
    )
    # nobody could open a part that was sealed in another place: all complained, and it is out
    assert {receiver: about for receiver, about in other.transcript.facts.complaints.items()} == {
        1: (1,), 2: (1,), 3: (1,), 4: (1,),
    }  # fmt: skip
    assert other.transcript.facts.qualified == (2, 3, 4)


def test_a_proof_of_one_ceremony_is_refused_in_another(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    one = Rehearsal(new_plan(), new_sealing)
    one.run(until=phases.READY)
    other = Rehearsal(new_plan(), new_sealing)
    other.run(until=phases.READY)
    ((kind, proof),) = one.owed("a")
    with pytest.raises(MessageRefused):
        other.transcript.feed(other.height + 1, "a", kind, proof)
    with pytest.raises(MessageRefused):  # nor does it prove another member's share
        one.transcript.feed(one.height + 1, "b", kind, proof)
    one.transcript.feed(one.height + 1, "a", kind, proof)


def test_record_and_opening_keys_come_from_two_ceremonies_and_never_meet(
    honest: Rehearsal, new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    opening = Rehearsal(new_plan(purpose=OPENING), new_sealing, seeds=honest.seeds)
    opening.run()
    assert opening.key.public_key != honest.key.public_key
    assert opening.share("a") != honest.share("a")
    label = Label(honest.plan.chain_id, b"r", "a", 1)
    slot = verify_slot(honest.key, label, encapsulate(honest.key, label)[0])
    with pytest.raises(WrongPurpose):
        verify_slot(opening.key, label, slot.octets)
    with pytest.raises(WrongPurpose):
        make_share(opening.key, 1, opening.share("a"), slot, b"o")
    base = octets(G)
    share = make_opening_share(opening.key, 1, opening.share("a"), base, b"o")
    with pytest.raises(WrongPurpose):
        verify_opening_share(honest.key, base, share, b"o", index=1)
    with pytest.raises(ShareRejected):  # in neither form does it pass for the other's
        verify_opening_share(
            opening.key,
            base,
            make_share(honest.key, 1, honest.share("a"), slot, b"o"),
            b"o",
            index=1,
        )


def test_a_copy_goes_on_apart(honest: Rehearsal, new_plan: NewPlan) -> None:
    transcript = Transcript(new_plan(), 10)
    copied = transcript.copy()
    copied.feed(11, "a", phases.ENROL, secrets.token_bytes(1_216))
    assert transcript.awaited == ALL
    assert copied.awaited == ("b", "c", "d")
    assert same(honest.transcript.copy(), honest.transcript)


def test_a_log_restores_the_transcript_at_every_length(honest: Rehearsal) -> None:
    fed = Transcript(honest.plan, 10)
    for count, entry in enumerate(honest.log):
        restored = Transcript.restore(honest.plan, 10, honest.log[:count])
        assert same(restored, fed)
        body = honest.deals[entry.sender] if entry.kind == phases.DEAL else entry.body
        assert fed.feed(entry.height, entry.sender, entry.kind, body) == entry.body
    assert same(Transcript.restore(honest.plan, 10, honest.log), fed)
    assert isinstance(fed.outcome, Completed)


def test_a_log_that_no_transcript_made_is_refused(honest: Rehearsal) -> None:
    swapped = [honest.log[4], *honest.log[:4]]
    doubled = [honest.log[0], *honest.log]
    stranger = [LogEntry(11, "z", phases.ENROL, honest.log[0].body)]
    for log in (swapped, doubled, stranger):
        with pytest.raises(MessageRefused):
            Transcript.restore(honest.plan, 10, log)
