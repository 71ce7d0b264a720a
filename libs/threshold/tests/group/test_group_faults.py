"""Ceremonies with members that lie, hide or lose things: no key is bent, no share comes out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from cipherward_threshold.group import domains
from cipherward_threshold.group.ceremony import phases
from cipherward_threshold.group.ceremony.messages import (
    Extraction,
    complaint_body,
    deal_body,
    extraction_body,
    read_deal,
    read_extraction,
    read_shares,
    shares_body,
)
from cipherward_threshold.group.ceremony.plan import Plan
from cipherward_threshold.group.ceremony.proofs import H, prove_extraction
from cipherward_threshold.group.ceremony.sealing import Sealing, part_place
from cipherward_threshold.group.ceremony.seeds import Secrets, sealing_secret
from cipherward_threshold.group.ceremony.transcript import (
    NOT_REBUILT,
    TOO_FEW_DEALERS,
    Failed,
    Transcript,
)
from cipherward_threshold.group.curve import (
    IDENTITY,
    G,
    Scalar,
    hash_to_scalar,
    msm,
    octets,
    random_scalar,
    read_point,
    read_scalars,
)
from cipherward_threshold.group.encoding import frame
from cipherward_threshold.group.errors import MessageRefused, NoShare
from cipherward_threshold.group.polynomials import evaluate
from cipherward_threshold.group.testing import Messages, Rehearsal

NewPlan = Callable[..., Plan]
NewSealing = Callable[[bytes], Sealing]
Opens = Callable[..., bool]
Begin = Callable[[], Rehearsal]
ALL = ("a", "b", "c", "d")


@pytest.fixture
def begin(new_plan: NewPlan, new_sealing: NewSealing) -> Begin:
    return lambda: Rehearsal(new_plan(), new_sealing)


def noise() -> tuple[Scalar, Scalar]:
    return random_scalar(), random_scalar()


@dataclass
class BadDealer:
    """Member "a", which sends wrong parts to `victims`, and answers for them or not."""

    rehearsal: Rehearsal
    sealing: NewSealing
    victims: Sequence[str]
    answers: bool = True
    junk: bool = False
    said: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def __call__(self, phase: str, name: str, said: Messages) -> Messages:
        if name != "a" or not said:
            return said
        if phase == phases.DEAL:
            return [(phase, self._deal(said[0][1]))]
        if phase == phases.ANSWER and not self.answers:
            asked = read_shares(self.rehearsal.plan, said[0][1])
            return [(phase, shares_body({receiver: noise() for receiver in asked}))]
        return said

    def _deal(self, body: bytes) -> bytes:
        plan, deal = self.rehearsal.plan, read_deal(self.rehearsal.plan, body)
        sealed = list(deal.sealed)
        mine = self.sealing(secrets.token_bytes(96))
        for victim in self.victims:
            index = plan.members.index(victim)
            key = self.rehearsal.transcript.facts.enrolled[index + 1]
            wrong = mine.seal(octets(*noise()), key, part_place(plan, "a", victim))
            sealed[index] = b"junk" if self.junk else wrong
        return deal_body(deal.commitments, sealed)


@pytest.mark.parametrize("answers", [True, False])
@pytest.mark.parametrize("junk", [True, False])
def test_a_bad_deal_is_complained_about_and_answered_or_left_out(
    begin: Begin, new_sealing: NewSealing, opens: Opens, answers: bool, junk: bool
) -> None:
    rehearsal = begin()
    rehearsal.run(BadDealer(rehearsal, new_sealing, "c", answers, junk))
    facts = rehearsal.transcript.facts
    assert facts.complaints == {1: (), 2: (), 3: (1,), 4: ()}
    assert facts.qualified == ((1, 2, 3, 4) if answers else (2, 3, 4))
    assert facts.answers.keys() == ({1} if answers else set())
    assert rehearsal.ready == ALL
    assert opens(rehearsal, "bcd")
    assert {(sender, kind) for sender, kind, _ in rehearsal.refused} == (
        set() if answers else {("a", phases.ANSWER)}
    )


def test_two_bad_dealers_that_answer_nobody_fail_the_ceremony(begin: Begin) -> None:
    rehearsal = begin()

    def meddle(phase: str, name: str, said: Messages) -> Messages:
        if phase == phases.COMPLAIN and name == "d":
            return [(phase, complaint_body([1, 2]))]
        return [] if phase == phases.ANSWER else said

    rehearsal.run(meddle)
    assert rehearsal.transcript.outcome == Failed(TOO_FEW_DEALERS)


def test_a_member_with_a_wrong_part_publishes_none_for_a_rebuilding(
    begin: Begin, new_sealing: NewSealing
) -> None:
    """It slept when it should have complained: what it has would be refused."""
    rehearsal = begin()
    bad = BadDealer(rehearsal, new_sealing, "c")

    def meddle(phase: str, name: str, said: Messages) -> Messages:
        if (phase, name) in {(phases.COMPLAIN, "c"), (phases.EXTRACT, "a")}:
            return []
        return bad(phase, name, said)

    rehearsal.run(meddle, until=phases.REBUILD)
    assert rehearsal.owed("c") == []
    rehearsal.run(meddle)
    assert rehearsal.refused == []
    assert rehearsal.ready == ("a", "b", "d")


def test_a_revealed_share_is_of_the_complainant_only(begin: Begin, new_sealing: NewSealing) -> None:
    rehearsal = begin()
    rehearsal.run(BadDealer(rehearsal, new_sealing, "cd"))
    (answered,) = rehearsal.transcript.facts.answers.values()
    assert set(answered) == {3, 4}


def test_as_many_complaints_as_the_threshold_put_a_dealer_out_and_it_reveals_nothing(
    begin: Begin, opens: Opens
) -> None:
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: (
            [(phase, complaint_body([1]))] if phase == phases.COMPLAIN and name != "a" else said
        )
    )
    assert not rehearsal.transcript.facts.answers
    assert rehearsal.transcript.facts.qualified == (2, 3, 4)
    assert not any(entry.kind == phases.ANSWER for entry in rehearsal.log)
    assert opens(rehearsal, "bcd")


def test_an_answer_to_as_many_complaints_as_the_threshold_is_refused(begin: Begin) -> None:
    """Dealer "a" is out, and would answer beside "b", whose turn it is."""
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: (
            [(phase, complaint_body([1, 2] if name == "c" else [1]))]
            if phase == phases.COMPLAIN and name != "a"
            else said
        ),
        until=phases.ANSWER,
    )
    assert rehearsal.transcript.awaited == ("b",)
    seed, plan = Secrets(rehearsal.plan, "a", rehearsal.seeds["a"]), rehearsal.plan
    polynomials = seed.polynomials(None)
    revealed = {r: tuple(evaluate(p, r) for p in polynomials) for r in (2, 3, 4)}
    with pytest.raises(MessageRefused):
        rehearsal.transcript.feed(rehearsal.height + 1, "a", phases.ANSWER, shares_body(revealed))
    assert plan.threshold == len(revealed)


def test_a_false_complaint_costs_its_author_only(begin: Begin, opens: Opens) -> None:
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: (
            [
                (phase, bytes([1, 2, 3, 9])),  # there is no ninth dealer
                (phase, complaint_body([1, 2, 3])),
            ]
            if (phase, name) == (phases.COMPLAIN, "d")
            else said
        )
    )
    facts = rehearsal.transcript.facts
    assert facts.qualified == (1, 2, 3, 4)
    assert {receiver for revealed in facts.answers.values() for receiver in revealed} == {4}
    assert len(rehearsal.refused) == 1
    assert opens(rehearsal, "abc")


@pytest.mark.parametrize("body", [bytes([2, 1]), bytes([1, 1]), bytes([0]), bytes([5])])
def test_a_complaint_out_of_form_is_refused(begin: Begin, body: bytes) -> None:
    rehearsal = begin()
    rehearsal.run(until=phases.COMPLAIN)
    with pytest.raises(MessageRefused):
        rehearsal.transcript.feed(rehearsal.height + 1, "a", phases.COMPLAIN, body)


def test_an_answer_answers_every_complaint_and_no_other(
    begin: Begin, new_sealing: NewSealing
) -> None:
    rehearsal = begin()
    rehearsal.run(BadDealer(rehearsal, new_sealing, "cd"), until=phases.ANSWER)
    ((_, body),) = rehearsal.owed("a")
    half = len(body) // 2
    swapped = bytes([3]) + body[half + 1 :] + bytes([4]) + body[1:half]
    more = bytes([2]) + bytes(64) + body
    for bad in (body[:half], body[half:], body[half:] + body[:half], body[:-1], b"", swapped, more):
        with pytest.raises(MessageRefused):
            rehearsal.transcript.feed(rehearsal.height + 1, "a", phases.ANSWER, bad)
    rehearsal.transcript.feed(rehearsal.height + 1, "a", phases.ANSWER, body)


def test_a_dealer_that_hides_its_points_is_rebuilt_so_it_bends_no_key(
    begin: Begin, new_plan: NewPlan, new_sealing: NewSealing, opens: Opens
) -> None:
    honest = begin()
    honest.run()
    hidden = Rehearsal(honest.plan, new_sealing, seeds=honest.seeds)
    late = (phases.EXTRACT, phases.REBUILD, phases.READY)
    hidden.run(lambda phase, name, said: [] if name == "a" and phase in late else said)
    assert hidden.transcript.facts.missing == (1,)
    assert hidden.key.public_key == honest.key.public_key
    assert hidden.key.points == honest.key.points
    assert hidden.ready == ("b", "c", "d")
    assert opens(hidden, "bcd")


def test_a_rebuilding_closes_as_soon_as_enough_shares_are_known(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: (
            [] if (phase, name) in {(phases.EXTRACT, "a"), (phases.REBUILD, "d")} else said
        )
    )
    heights = {entry.kind: entry.height for entry in rehearsal.log}
    assert heights[phases.REBUILD] + 1 == heights[phases.READY]
    assert set(rehearsal.transcript.facts.rebuilt) == {1, 2, 3}


def test_answered_shares_count_for_a_rebuilding(begin: Begin, new_sealing: NewSealing) -> None:
    rehearsal = begin()
    bad = BadDealer(rehearsal, new_sealing, "c")

    def meddle(phase: str, name: str, said: Messages) -> Messages:
        if (phase, name) in {(phases.EXTRACT, "a"), (phases.REBUILD, "c"), (phases.REBUILD, "d")}:
            return []
        return bad(phase, name, said)

    rehearsal.run(meddle)
    assert set(rehearsal.transcript.facts.known(1)) == {1, 2, 3}
    assert rehearsal.ready == ALL


def test_a_dealer_that_nobody_can_rebuild_fails_the_ceremony(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: (
            []
            if (phase, name) == (phases.EXTRACT, "a") or (phase == phases.REBUILD and name in "ab")
            else said
        )
    )
    assert rehearsal.transcript.outcome == Failed(NOT_REBUILT)


def test_wrong_shares_for_a_rebuilding_are_refused(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: [] if (phase, name) == (phases.EXTRACT, "a") else said,
        until=phases.REBUILD,
    )
    ((_, right),) = rehearsal.owed("b")
    ((_, other),) = rehearsal.owed("c")
    there = rehearsal.height + 1
    own = Secrets(rehearsal.plan, "b", rehearsal.seeds["b"]).polynomials(None)
    mine = tuple(evaluate(polynomial, 2) for polynomial in own)  # of a dealer that is not missing
    for bad in (
        shares_body({1: noise()}),
        shares_body({2: mine}),
        right + shares_body({2: mine}),
        right + right,
        other,
        b"",
        right[:-1],
        bytes([2]) + right[1:],
    ):
        with pytest.raises(MessageRefused):
            rehearsal.transcript.feed(there, "b", phases.REBUILD, bad)
    rehearsal.transcript.feed(there, "b", phases.REBUILD, right)


def test_points_of_another_polynomial_are_refused_whatever_they_prove(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(until=phases.EXTRACT)
    plan, facts, there = rehearsal.plan, rehearsal.transcript.facts, rehearsal.height + 1
    shown, hidden = Secrets(plan, "a", rehearsal.seeds["a"]).polynomials(None)
    bent = [random_scalar(), *shown[1:]]
    proven = prove_extraction(plan, 1, [bent, hidden], noise())
    honest = prove_extraction(plan, 1, [shown, hidden], noise())
    points = (G * bent[0], *honest.points[1:])
    attempts = [
        proven,
        Extraction(points, honest.challenge, honest.responses),
        Extraction(honest.points, honest.challenge, noise()),
        Extraction(honest.points, random_scalar(), honest.responses),
        prove_extraction(plan, 2, [shown, hidden], noise()),
    ]
    for extraction in attempts:
        with pytest.raises(MessageRefused):
            rehearsal.transcript.feed(there, "a", phases.EXTRACT, extraction_body(extraction))
    assert not facts.extracted
    rehearsal.transcript.feed(there, "a", phases.EXTRACT, extraction_body(honest))


def test_points_that_move_the_key_along_the_hiding_base_are_refused(begin: Begin) -> None:
    """A_k + d H in place of A_k has no known logarithm to G, and must not be proven."""
    rehearsal = begin()
    rehearsal.run(until=phases.EXTRACT)
    ((_, body),) = rehearsal.owed("a")
    honest = read_extraction(rehearsal.plan, body)
    moved = (honest.points[0] + H * random_scalar(), *honest.points[1:])
    wrong = extraction_body(Extraction(moved, honest.challenge, honest.responses))
    with pytest.raises(MessageRefused):
        rehearsal.transcript.feed(rehearsal.height + 1, "a", phases.EXTRACT, wrong)


@pytest.mark.parametrize("phase", [phases.DEAL, phases.EXTRACT])
def test_points_out_of_form_are_refused(begin: Begin, phase: str) -> None:
    rehearsal = begin()
    rehearsal.run(until=phase)
    ((_, body),) = rehearsal.owed("a")
    rest = body[48:]
    for bad in (
        body[:48] + body[96:],
        octets(IDENTITY) + rest,
        bytes([body[0] ^ 0x80]) + body[1:],
        bytes(48) + rest,
        body + body[:48],
        octets(G) + body,
        b"",
    ):
        with pytest.raises(MessageRefused):
            rehearsal.transcript.feed(rehearsal.height + 1, "a", phase, bad)
    rehearsal.transcript.feed(rehearsal.height + 1, "a", phase, body)


def test_every_group_of_octets_of_an_extraction_counts(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(until=phases.EXTRACT)
    ((_, body),) = rehearsal.owed("a")
    for at in range(0, len(body), 16):
        bad = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        with pytest.raises(MessageRefused):
            rehearsal.transcript.feed(rehearsal.height + 1, "a", phases.EXTRACT, bad)


def test_a_member_proves_its_own_share_or_is_not_ready(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(
        lambda phase, name, said: (
            [(phase, octets(*noise())), (phase, b""), (phase, bytes(65))]
            if (phase, name) == (phases.READY, "d")
            else said
        )
    )
    assert rehearsal.ready == ("a", "b", "c")
    assert len(rehearsal.refused) == 3 * rehearsal.plan.window  # in every block again
    assert {sender for sender, _, _ in rehearsal.refused} == {"d"}


def test_a_sealed_part_for_a_member_that_has_not_enrolled_is_refused(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(lambda _, name, said: [] if name == "d" else said, until=phases.DEAL)
    ((_, body),) = rehearsal.owed("a")
    deal = read_deal(rehearsal.plan, body)
    there = rehearsal.height + 1
    extra = deal_body(deal.commitments, [*deal.sealed[:3], b"x"])
    too_long = deal_body(deal.commitments, [bytes(1_281), *deal.sealed[1:]])
    for bad in (extra, too_long):
        with pytest.raises(MessageRefused):
            rehearsal.transcript.feed(there, "a", phases.DEAL, bad)
    rehearsal.transcript.feed(there, "a", phases.DEAL, body)


def test_a_key_to_which_nothing_seals_stops_no_dealer(begin: Begin, opens: Opens) -> None:
    """A member enrols with octets that are no key; it gets no part, and only it has no share."""
    rehearsal = begin()

    def meddle(phase: str, name: str, said: Messages) -> Messages:
        if name != "d":
            return said
        return [(phase, b"\xff" * 1_216)] if phase == phases.ENROL else []

    rehearsal.run(meddle)
    assert rehearsal.ready == ("a", "b", "c")
    assert rehearsal.parts("d") == dict.fromkeys("abc", b"")
    assert opens(rehearsal, "abc")


@pytest.mark.parametrize("body", [b"", bytes(1_215), bytes(1_217)])
def test_a_sealing_key_of_another_length_is_refused(begin: Begin, body: bytes) -> None:
    rehearsal = begin()
    with pytest.raises(MessageRefused):
        rehearsal.transcript.feed(11, "a", phases.ENROL, body)


def test_a_member_asleep_in_the_complaint_window_after_a_bad_deal_has_no_share(
    begin: Begin, new_sealing: NewSealing, opens: Opens
) -> None:
    rehearsal = begin()
    bad = BadDealer(rehearsal, new_sealing, "c")
    rehearsal.run(
        lambda phase, name, said: (
            [] if (phase, name) == (phases.COMPLAIN, "c") else bad(phase, name, said)
        )
    )
    assert rehearsal.ready == ("a", "b", "d")
    with pytest.raises(NoShare):
        rehearsal.share("c")
    assert opens(rehearsal, "abd")


def test_a_member_without_its_parts_says_nothing_so_that_nobody_publishes_its_share(
    begin: Begin, opens: Opens
) -> None:
    """Its key opens nothing: more deals are bad than dealers may be faulty, so the fault is its."""
    rehearsal = begin()
    rehearsal.run(until=phases.COMPLAIN)
    nothing = rehearsal.participant("d").owed(rehearsal.transcript, {})
    assert nothing == []
    two_bad = {dealer: part for dealer, part in rehearsal.parts("d").items() if dealer in "cd"}
    assert rehearsal.participant("d").owed(rehearsal.transcript, two_bad) == []
    one_bad = rehearsal.parts("d") | {"a": b""}
    complaint = rehearsal.participant("d").owed(rehearsal.transcript, one_bad)
    assert complaint == [(phases.COMPLAIN, bytes([1]))]
    rehearsal.run(lambda _, name, said: [] if name == "d" else said)
    assert not rehearsal.transcript.facts.answers
    assert rehearsal.ready == ("a", "b", "c")
    assert opens(rehearsal, "abc")


def test_a_member_that_lost_its_seed_after_enrolling_says_nothing(
    begin: Begin, new_sealing: NewSealing, opens: Opens
) -> None:
    rehearsal = begin()
    rehearsal.run(until=phases.DEAL)
    again = Rehearsal(
        rehearsal.plan, new_sealing, seeds={**rehearsal.seeds, "d": secrets.token_bytes(32)}
    )
    again.transcript, again.height, again.log = (
        rehearsal.transcript,
        rehearsal.height,
        rehearsal.log,
    )
    again.run()
    assert {entry.kind for entry in again.log if entry.sender == "d"} == {phases.ENROL}
    assert again.ready == ("a", "b", "c")
    with pytest.raises(NoShare):
        again.share("d")
    assert opens(again, "abc")


def test_a_lone_member_never_publishes_its_own_key(
    new_plan: NewPlan, new_sealing: NewSealing
) -> None:
    rehearsal = Rehearsal(new_plan(["a"]), new_sealing)
    rehearsal.run(until=phases.COMPLAIN)
    assert rehearsal.participant("a").owed(rehearsal.transcript, {}) == []


def test_sealing_keys_are_of_one_ceremony(new_plan: NewPlan) -> None:
    """Deals stay on the chain for ever: no later key opens them, nor an earlier one later deals."""
    seed = secrets.token_bytes(32)
    one, other = new_plan(), new_plan()
    assert sealing_secret(seed, one.session) == sealing_secret(seed, one.session)
    assert sealing_secret(seed, one.session) != sealing_secret(seed, other.session)
    assert len(sealing_secret(seed, one.session)) == 96


def test_a_part_opens_in_its_own_place_only(begin: Begin) -> None:
    """Dealer "a" passes on what "b" sealed to "c": another dealer's part is no part of its deal."""
    rehearsal = begin()
    rehearsal.run(until=phases.DEAL)
    rehearsal.block({"b": rehearsal.owed("b")})
    stolen = read_deal(rehearsal.plan, rehearsal.deals["b"]).sealed[2]
    deal = read_deal(rehearsal.plan, rehearsal.owed("a")[0][1])
    sealed = [*deal.sealed[:2], stolen, deal.sealed[3]]
    rehearsal.block(
        {
            "a": [(phases.DEAL, deal_body(deal.commitments, sealed))],
            "c": rehearsal.owed("c"),
            "d": rehearsal.owed("d"),
        }
    )
    assert rehearsal.owed("c") == [(phases.COMPLAIN, bytes([1]))]
    assert rehearsal.owed("d") == [(phases.COMPLAIN, b"")]


def test_commitments_hide_the_key_until_all_deals_are_in(begin: Begin) -> None:
    """What stands in the log before the extraction fits every key: Pedersen's second base."""
    rehearsal = begin()
    rehearsal.run(until=phases.EXTRACT)
    shown, hidden = Secrets(rehearsal.plan, "a", rehearsal.seeds["a"]).polynomials(None)
    commitments = rehearsal.transcript.facts.deals[1]
    assert commitments == tuple(msm([G, H], [a, b]) for a, b in zip(shown, hidden, strict=True))
    assert all(G * a != c for a, c in zip(shown, commitments, strict=True))


def test_an_extractions_proof_takes_its_fields_in_this_order(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(until=phases.EXTRACT)
    plan, commitments = rehearsal.plan, rehearsal.transcript.facts.deals[2]
    extraction = read_extraction(plan, rehearsal.owed("b")[0][1])
    challenge, (one, two) = extraction.challenge, extraction.responses
    first, second, weight = G * one, H * two, challenge
    for point, commitment in zip(extraction.points, commitments, strict=True):
        first = first - point * weight
        second = second - (commitment - point) * weight
        weight = weight * challenge
    shown = octets(*commitments), octets(*extraction.points), octets(first, second)
    assert challenge == hash_to_scalar(domains.EXTRACTION_PROOF, plan.session, 2, *shown)


def test_a_proof_of_a_share_takes_its_fields_in_this_order(begin: Begin) -> None:
    rehearsal = begin()
    rehearsal.run(until=phases.READY)
    challenge, response = read_scalars(rehearsal.owed("b")[0][1], 2)
    key = rehearsal.transcript.facts.key
    assert key is not None
    holder = read_point(key.points[1])
    shown = octets(holder, G * response - holder * challenge)
    session = rehearsal.plan.session
    expected = hash_to_scalar(domains.READY_PROOF, session, key.digest, 2, shown)
    assert challenge == expected


def test_a_part_is_sealed_in_a_place_of_session_dealer_and_receiver(new_plan: NewPlan) -> None:
    plan = new_plan()
    assert part_place(plan, "a", "b") == frame(domains.DEAL_PLACE, plan.session, "a", "b")


def test_a_share_that_does_not_fit_the_logs_key_is_none(begin: Begin) -> None:
    """A log is restored without its proofs; what is spoilt on the way is noticed at the end."""
    rehearsal = begin()
    rehearsal.run()
    spoilt = [
        replace(entry, body=octets(*(G * random_scalar() for _ in range(3))) + entry.body[144:])
        if (entry.kind, entry.sender) == (phases.EXTRACT, "b")
        else entry
        for entry in rehearsal.log
    ]
    transcript = Transcript.restore(rehearsal.plan, 10, spoilt)
    with pytest.raises(NoShare):
        rehearsal.participant("a").share(transcript, rehearsal.parts("a"))
