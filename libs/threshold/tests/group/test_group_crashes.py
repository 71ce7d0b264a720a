"""Members that crash at any point and come back with nothing but their seed and the log."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.messages import deal_body, read_deal, sealed_part
from cipherward_threshold.group.ceremony.participant import Participant
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.sealing import Sealing, part_place
from cipherward_threshold.group.ceremony.seeds import Secrets, sealing_secret
from cipherward_threshold.group.ceremony.transcript import Transcript
from cipherward_threshold.group.errors import (
    KeyShareRejected,
    MessageRefused,
    NoShare,
    OctetsRejected,
    PlanRejected,
    SeedRejected,
)
from cipherward_threshold.group.testing import Meddling, Messages, Rehearsal

NewPlan = Callable[..., Plan]
NewSealing = Callable[[bytes], Sealing]


def empty_part(plan: Plan) -> Meddling:
    """Dealer "a" sends nothing to "c", and answers when it is asked."""

    def meddle(phase: str, name: str, said: Messages) -> Messages:
        if (phase, name) != (phases.DEAL, "a") or not said:
            return said
        deal = read_deal(plan, said[0][1])
        return [(phase, deal_body(deal.commitments, [*deal.sealed[:2], b"", deal.sealed[3]]))]

    return meddle


def hidden_points(plan: Plan) -> Meddling:
    return lambda phase, name, said: [] if (phase, name) == (phases.EXTRACT, "b") else said


def honest(plan: Plan) -> Meddling:
    return lambda phase, name, said: said


@pytest.mark.parametrize("trouble", [honest, empty_part, hidden_points])
def test_members_that_crash_before_every_step_make_the_same_key(
    new_plan: NewPlan, new_sealing: NewSealing, trouble: Callable[[Plan], Meddling]
) -> None:
    plan = new_plan()
    steady = Rehearsal(plan, new_sealing)
    steady.run()
    crashing = Rehearsal(plan, new_sealing, seeds=steady.seeds, forgetful=True)
    crashing.run(trouble(plan))
    assert crashing.key == steady.key
    assert crashing.ready == steady.ready
    # a rebuilding closes with the last share that it needs: what comes after is not needed
    assert {kind for _, kind, _ in crashing.refused} <= {phases.REBUILD}
    assert [crashing.share(name) for name in "abcd"] == [steady.share(name) for name in "abcd"]


def test_a_message_sent_again_after_a_crash_is_refused_and_nothing_more_is_owed(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run()
    for count, entry in enumerate(rehearsal.log, start=1):
        transcript = Transcript.restore(rehearsal.plan, 10, rehearsal.log[:count])
        participant = rehearsal.participant(entry.sender)
        if transcript.phase == entry.kind:
            assert participant.owed(transcript, rehearsal.parts(entry.sender)) == []
        with pytest.raises(MessageRefused):
            transcript.feed(entry.height, entry.sender, entry.kind, entry.body)


def test_a_deal_made_twice_has_the_same_shares(new_plan: NewPlan, new_sealing: NewSealing) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing, forgetful=True)
    rehearsal.run(until=phases.DEAL)
    plan = rehearsal.plan
    bodies = [rehearsal.owed("a")[0][1] for _ in range(2)]
    assert bodies[0] != bodies[1]  # the sealing is random
    deals = [read_deal(plan, body) for body in bodies]
    assert deals[0].kept == deals[1].kept
    key = new_sealing(sealing_secret(rehearsal.seeds["b"], plan.session))
    place = part_place(plan, "a", "b")
    parts = [key.open(sealed_part(plan, body, "b"), place) for body in bodies]
    assert parts[0] == parts[1]
    assert len(parts[0]) == 64


def test_two_replicas_with_one_seed_say_the_same(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    seed = rehearsal.seeds["a"]
    for phase in (phases.ENROL, phases.COMPLAIN, phases.EXTRACT, phases.READY):
        rehearsal.run(until=phase)
        key = new_sealing(sealing_secret(seed, rehearsal.plan.session))
        replica = Participant(rehearsal.plan, "a", seed, key)
        said = replica.owed(rehearsal.transcript, rehearsal.parts("a"))
        assert said == rehearsal.owed("a")
        assert said[0][0] == phase


def test_a_dealer_with_another_seed_reveals_nothing_of_a_deal_that_is_not_its_own(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    """A leaving dealer has no sealing key in the log that would give its loss away."""
    before = Rehearsal(new_plan(), new_sealing)
    before.run()
    plan = Plan.resharing(
        before.key,
        ceremony=secrets.token_bytes(16),
        holders=before.plan.members,
        ready=before.ready,
        members=("b", "c", "d"),
        window=3,
    )
    held = {name: before.share(name) for name in "abcd"}
    rehearsal = Rehearsal(plan, new_sealing, start=100, old_shares=held)

    def meddle(phase: str, name: str, said: Messages) -> Messages:
        if (phase, name) == (phases.DEAL, "a"):
            deal = read_deal(plan, said[0][1])
            return [(phase, deal_body(deal.commitments, [b"", *deal.sealed[1:]]))]
        return said

    rehearsal.run(meddle, until=phases.ANSWER)
    assert rehearsal.transcript.awaited == ("a",)
    seed = secrets.token_bytes(32)
    key = new_sealing(sealing_secret(seed, plan.session))
    lost = Participant(plan, "a", seed, key, held["a"])
    # its free term is the same old share: the rest of the deal tells the seeds apart
    assert lost.owed(rehearsal.transcript, {}) == []
    assert len(rehearsal.owed("a")) == 1


def test_a_share_is_had_only_once_the_key_is_made(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    for phase in (phases.ENROL, phases.DEAL, phases.COMPLAIN, phases.EXTRACT):
        rehearsal.run(until=phase)
        with pytest.raises(NoShare):
            rehearsal.share("a")
    rehearsal.run(until=phases.READY)
    assert len(rehearsal.share("a")) == 32


def test_secrets_differ_by_seed_session_and_member(new_plan: NewPlan) -> None:
    seed, one, other = secrets.token_bytes(32), new_plan(), new_plan()
    made = [
        Secrets(one, "a", seed),
        Secrets(one, "b", seed),
        Secrets(other, "a", seed),
        Secrets(one, "a", secrets.token_bytes(32)),
    ]
    drawn = [[int(c) for p in one.polynomials(None) for c in p] for one in made]
    assert all(len(coefficients) == 6 for coefficients in drawn)
    assert len({value for coefficients in drawn for value in coefficients}) == 24
    nonces = [one.nonces(kind, 2, said) for one in made for kind in "xy" for said in (b"", b"s")]
    assert len({int(nonce) for pair in nonces for nonce in pair}) == 32
    assert seed.hex() not in repr(made[0])
    assert repr(seed) not in repr(made[0])


def test_a_participant_out_of_place_is_refused(new_plan: NewPlan, new_sealing: NewSealing) -> None:
    plan, seed = new_plan(), secrets.token_bytes(32)
    key = new_sealing(sealing_secret(seed, plan.session))
    for stranger in ("z", ""):
        with pytest.raises(PlanRejected):
            Participant(plan, stranger, seed, key)
    with pytest.raises(SeedRejected):
        Participant(plan, "a", seed[:-1], key)
    with pytest.raises(SeedRejected):
        sealing_secret(seed + b"\0", plan.session)
    with pytest.raises(KeyShareRejected):
        Participant(plan, "a", seed, key, bytes(32))


def test_a_body_that_is_no_deal_has_no_parts(new_plan: NewPlan, new_sealing: NewSealing) -> None:
    rehearsal = Rehearsal(new_plan(), new_sealing)
    rehearsal.run(until=phases.DEAL)
    ((_, body),) = rehearsal.owed("a")
    for bad in (b"", body[:-1], body + b"\0", body[:144]):
        with pytest.raises(OctetsRejected):
            sealed_part(rehearsal.plan, bad, "b")
    with pytest.raises(OctetsRejected):
        sealed_part(rehearsal.plan, body, "z")
